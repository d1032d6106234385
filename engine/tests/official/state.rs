use crate::{
    archive::{self, ArchiveError, Entry},
    case::Case,
    exceptions::Exceptions,
    fixture::{Post, StateTest, StateTests},
    machines::Machines,
    mixed,
    selection::{Selection, seed},
    tally::Tally,
};
use revm::primitives::hardfork::SpecId;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

/// Runs the state tests of an archive: each case alone against the fixture, and inside a generated block serially,
/// in parallel and by the oracle.
pub(crate) fn run(path: &Path, selection: &Selection) -> Result<Tally, ArchiveError> {
    let exceptions = Exceptions::of_archive(path);
    let workers = archive::fold_files(
        path,
        || (Machines::new(), Tally::default()),
        |(machines, tally), entry| run_file(entry, selection, &exceptions, machines, tally),
    )?;
    let mut tally = Tally::default();
    for (_, part) in workers {
        tally.merge(part);
    }
    if selection.is_complete() {
        tally.failures.extend(exceptions.unmatched());
    }
    Ok(tally)
}

fn run_file(
    entry: Entry,
    selection: &Selection,
    exceptions: &Exceptions,
    machines: &mut Machines,
    tally: &mut Tally,
) {
    let Entry { path, bytes } = entry;
    // The block tests beside the legacy state tests are of another format.
    if path.contains("/BlockchainTests/") {
        return;
    }
    let tests: StateTests = match serde_json::from_slice(&bytes) {
        Ok(tests) => tests,
        Err(error) => return tally.failures.push(format!("{path}: {error}")),
    };
    for (test_name, test) in &tests {
        for (fork, posts) in &test.post {
            for post in posts {
                let indexes = post.indexes;
                let name = format!(
                    "{path}::{test_name}::{fork}[data {}, gas {}, value {}]",
                    indexes.data, indexes.gas, indexes.value
                );
                if !selection.takes(&name) {
                    continue;
                }
                match spec_of(fork) {
                    Ok(spec) => run_case(name, spec, test, post, exceptions, machines, tally),
                    Err(reason) => tally.skip(reason),
                }
            }
        }
    }
}

fn run_case(
    name: String,
    spec: SpecId,
    test: &StateTest,
    post: &Post,
    exceptions: &Exceptions,
    machines: &mut Machines,
    tally: &mut Tally,
) {
    let run = || {
        let case = Case::new(name.clone(), spec, test, post)?;
        case.check_alone(machines)?;
        mixed::check(&case, machines).map_err(|reason| format!("in a block of seed {}: {reason}", seed(&name)))
    };
    let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    });
    tally.record(&name, result, exceptions.find(&name));
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
