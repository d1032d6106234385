//! How fast devices are, with the way there and back: a table. Compare ratios within one run alone.
//!
//!     cargo nextest run --release -p citius-device-host --test rates --run-ignored all --no-capture

mod common;

use citius_hashing::{Backend, device::DeviceBackend};
use common::{Batch, oracle, patient, targets, wait_until_ready};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::time::Instant;

const LENGTHS: [usize; 3] = [32, 136, 532];
const COUNTS: [usize; 5] = [1, 64, 1 << 10, 1 << 14, 1 << 18];
/// Samples of each, interleaved; the median counts.
const SAMPLES: usize = 5;
/// Messages of a sample, at least: smaller batches are repeated.
const MESSAGES_MIN: usize = 2048;

#[test]
#[ignore = "it measures, and takes a minute"]
fn rates() {
    table(&LENGTHS, &COUNTS, SAMPLES);
}

#[test]
fn rates_are_measured_on_right_digests() {
    table(&[32, 532], &[1, 100], 1);
}

fn table(lengths: &[usize], counts: &[usize], samples: usize) {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let backends: Vec<(String, DeviceBackend)> = targets()
        .iter()
        .map(|target| {
            let backend = target.start(None, patient());
            wait_until_ready(&backend);
            (format!("{} on {}", backend.name(), target.device.name), backend)
        })
        .collect();
    println!(
        "Mhash/s, median of {samples}; share of the driver's time in the round trip; `sha3` is one core here"
    );
    for &length in lengths {
        for &count in counts {
            let batch = Batch::new(&mut random, vec![length; count]);
            let repeat = if samples > 1 { MESSAGES_MIN.div_ceil(count) } else { 1 };
            let mut times: Vec<Vec<f64>> = vec![Vec::new(); backends.len() + 1];
            let mut order: Vec<usize> = (0..times.len()).collect();
            let before: Vec<_> = backends.iter().map(|(_, backend)| backend.counters()).collect();
            for _ in 0..samples {
                order.shuffle(&mut random);
                for &index in &order {
                    let start = Instant::now();
                    for _ in 0..repeat {
                        let digests = match backends.get(index) {
                            Some((_, backend)) => batch.hash(backend).unwrap(),
                            None => batch.ranges.iter().map(|r| oracle(&batch.arena[r.clone()])).collect(),
                        };
                        std::hint::black_box(&digests);
                        if samples == 1 {
                            batch.assert_digests(&digests, "measured");
                        }
                    }
                    times[index].push(start.elapsed().as_secs_f64() / repeat as f64);
                }
            }
            for (index, times) in times.iter_mut().enumerate() {
                times.sort_by(f64::total_cmp);
                let seconds = times[times.len() / 2];
                let rate = count as f64 / seconds / 1e6;
                let (name, share) = match backends.get(index) {
                    None => ("sha3", String::new()),
                    Some((name, backend)) => {
                        let (now, then) = (backend.counters(), before[index]);
                        let device = (now.device_ns - then.device_ns) as f64;
                        let trip = (now.round_trip_ns - then.round_trip_ns) as f64;
                        let copy = (now.copy_ns - then.copy_ns) as f64;
                        let shares = [device / (trip + copy), copy / (trip + copy)];
                        let [device, copy] = shares.map(|share| share * 100.0);
                        (name.as_str(), format!("driver {device:.0} %, copies {copy:.0} %"))
                    }
                };
                println!("{length:4} B x {count:6}  {rate:8.3}  {:9.1} us  {name}  {share}", seconds * 1e6);
            }
        }
    }
}
