use super::table::Table;
use crate::hashing::HashResult;
use citius_hashing::{Calibration, SizeClass};
use serde::Serialize;

/// From how many messages in a batch a device pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Crossover {
    /// The device's name.
    pub device: String,
    /// The size class: the most permutations that one of its messages takes.
    pub blocks: usize,
    /// Bytes of each message.
    pub len: usize,
    /// Messages; `None` if it never pays.
    pub messages: Option<u64>,
}

/// What `hash-bench` prints: speeds, costs by size class, and from where devices pay. `backends` are the names, in the
/// order of the calibrations.
#[must_use]
pub fn hash_text(
    backends: &[&str],
    results: &[HashResult],
    calibrations: &[Calibration],
    crossovers: &[Crossover],
) -> String {
    let mut speeds = Table::default();
    speeds.row(["messages", "Mhash/s", "ns a permutation", "over scalar", "backend"].map(String::from));
    for result in results {
        speeds.row([
            result.load.clone(),
            format!("{:.2}", result.mhash_per_s),
            format!("{:.1}", result.ns_per_permutation),
            format!("{:.2}x", result.ratio_to_first),
            result.backend.clone(),
        ]);
    }

    let mut costs = Table::default();
    costs.row(["backend", "blocks", "fixed µs", "ns a message", "GB/s", ""].map(String::from));
    for (backend, calibration) in backends.iter().zip(calibrations) {
        for (class, cost) in SizeClass::ALL.into_iter().zip(calibration.costs) {
            // A byte a nanosecond is a gigabyte a second.
            let bandwidth = match cost.per_byte_ns {
                0.0 => "-".into(),
                per_byte => format!("{:.2}", 1.0 / per_byte),
            };
            costs.row([
                (*backend).to_owned(),
                class.to_string(),
                format!("{:.2}", cost.fixed_ns / 1e3),
                format!("{:.2}", cost.per_message_ns),
                bandwidth,
                String::new(),
            ]);
        }
    }

    let mut pays = Table::default();
    pays.row(["device", "blocks", "bytes a message", "pays from messages", ""].map(String::from));
    for crossover in crossovers {
        let from = crossover.messages.map_or("never".into(), |messages| messages.to_string());
        pays.row([
            crossover.device.clone(),
            crossover.blocks.to_string(),
            crossover.len.to_string(),
            from,
            String::new(),
        ]);
    }

    let mut lines = speeds.lines();
    lines.push(
        "\ncalibration: a batch takes what is fixed, so much a message, and its bytes at this speed".into(),
    );
    lines.extend(costs.lines());
    if crossovers.is_empty() {
        lines.push("\nno devices: every batch is for the processor".into());
    } else {
        lines.push(String::new());
        lines.extend(pays.lines());
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use citius_hashing::Cost;

    #[test]
    fn what_is_never_and_what_is_nothing_is_said() {
        let cost = Cost { fixed_ns: 1_500.0, per_message_ns: 28.0, per_byte_ns: 0.0 };
        let calibration = Calibration { identity: "x".into(), costs: [cost; 4] };
        let crossover = |messages| Crossover { device: "gpu".into(), blocks: 1, len: 32, messages };
        let text = |crossovers: &[Crossover]| {
            hash_text(&["avx512"], &[], std::slice::from_ref(&calibration), crossovers)
        };
        assert!(text(&[]).contains("no devices"));
        assert!(text(&[]).contains("avx512        1      1.50         28.00     -\n"), "{}", text(&[]));
        let both = text(&[crossover(None), crossover(Some(700))]);
        assert!(both.contains("never\n") && both.contains("700\n") && !both.contains("no devices"), "{both}");
    }
}
