use crate::{
    archive::{ArchiveError, Entry},
    case::Case,
    exceptions::Tests,
    fixture::{Post, StateTest, StateTests},
    mixed,
    selection::{Selection, seed},
    suite::{self, Worker},
    tally::Tally,
};
use revm::primitives::hardfork::SpecId;
use std::path::Path;

/// Runs the state tests of an archive: each case alone against the fixture, and inside a generated block serially,
/// in parallel and by the oracle.
pub(crate) fn run(path: &Path, selection: &Selection) -> Result<Tally, ArchiveError> {
    suite::run(path, Tests::Others, selection, run_file)
}

fn run_file(worker: &mut Worker<'_>, entry: Entry) {
    let Entry { path, bytes } = entry;
    // The block tests beside the legacy state tests are of another format.
    if path.contains("/BlockchainTests/") {
        return;
    }
    let tests: StateTests = match serde_json::from_slice(&bytes) {
        Ok(tests) => tests,
        Err(error) => return worker.tally.failures.push(format!("{path}: {error}")),
    };
    for (test_name, test) in &tests {
        for (fork, posts) in &test.post {
            for post in posts {
                let indexes = post.indexes;
                let name = format!(
                    "{path}::{test_name}::{fork}[data {}, gas {}, value {}]",
                    indexes.data, indexes.gas, indexes.value
                );
                if !worker.selection.takes(&name) {
                    continue;
                }
                match spec_of(fork) {
                    Ok(spec) => run_case(worker, &name, spec, test, post),
                    Err(reason) => worker.tally.skip(reason),
                }
            }
        }
    }
}

fn run_case(worker: &mut Worker<'_>, name: &str, spec: SpecId, test: &StateTest, post: &Post) {
    worker.run(name, |machines| {
        let case = Case::new(name.into(), spec, test, post)?;
        case.check_alone(machines)?;
        if case.has_much_gas() {
            machines.shrink();
        }
        mixed::check(&case, machines).map_err(|reason| format!("in a block of seed {}: {reason}", seed(name)))
    });
}

/// The rules of a fork by the fixtures' name of it.
///
/// # Errors
///
/// Why cases of this fork are skipped.
pub(crate) fn spec_of(fork: &str) -> Result<SpecId, &'static str> {
    Ok(match fork {
        "Frontier" => SpecId::FRONTIER,
        "Homestead" => SpecId::HOMESTEAD,
        "EIP150" => SpecId::TANGERINE,
        "EIP158" => SpecId::SPURIOUS_DRAGON,
        "Byzantium" => SpecId::BYZANTIUM,
        "ConstantinopleFix" => SpecId::PETERSBURG,
        "Istanbul" => SpecId::ISTANBUL,
        "Berlin" => SpecId::BERLIN,
        "London" => SpecId::LONDON,
        "Paris" => SpecId::MERGE,
        "Shanghai" => SpecId::SHANGHAI,
        "Cancun" => SpecId::CANCUN,
        "Prague" => SpecId::PRAGUE,
        "Osaka" => SpecId::OSAKA,
        "Constantinople" => return Err("Constantinople with EIP-1283, which no mainnet block ever had"),
        _ => return Err("unknown fork"),
    })
}
