//! The official Ethereum fixtures: state tests (each alone, and inside a generated block), block tests (whole chains of
//! blocks) and transaction tests.
//!
//! The fixtures are archives in the folder that `CITIUS_ETHEREUM_TESTS` names; without it every suite counts as
//! ignored (with `cargo test`) or skipped (with nextest), never as passed. By default a sample of the cases runs,
//! chosen by the hash of their names; `CITIUS_LONG=1` runs all, and `CITIUS_CASE=<part of a name>` those that match:
//!
//! ```text
//! CITIUS_ETHEREUM_TESTS=<folder> CITIUS_CASE=randomStatetest1 cargo test -p citius-engine --test official
//! ```
//!
//! Cases that differ for a reason stand in `exceptions.toml`. One that passes all the same fails its suite.

mod archive;
mod block_fixture;
mod blocks;
mod case;
mod chain;
mod contracts;
mod decoded;
mod exceptions;
mod fixture;
mod header;
mod machines;
mod mixed;
mod neighbours;
mod networks;
#[path = "../common/oracle.rs"]
mod oracle;
mod refusals;
mod root;
mod selection;
mod state;
mod suite;
mod tally;
mod transactions;
mod ways;

use selection::Selection;
use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};
use tally::Tally;

/// One archive of fixtures.
struct Suite {
    name: &'static str,
    archive: &'static str,
    /// The default run takes one of so many cases.
    sampling: u64,
    run: fn(&Path, &Selection) -> Result<Tally, archive::ArchiveError>,
}

const SUITES: [Suite; 7] = [
    Suite {
        name: "general_state_tests_hold",
        archive: "GeneralStateTests.tar.zst",
        sampling: 8,
        run: state::run,
    },
    Suite { name: "legacy_state_tests_hold", archive: "LegacyTests.tar.zst", sampling: 12, run: state::run },
    Suite { name: "pectra_state_tests_hold", archive: "eest-pectra.tar.zst", sampling: 4, run: state::run },
    Suite { name: "osaka_state_tests_hold", archive: "eest-osaka.tar.zst", sampling: 2, run: state::run },
    Suite { name: "block_tests_hold", archive: "BlockchainTests.tar.zst", sampling: 8, run: blocks::run },
    Suite { name: "legacy_block_tests_hold", archive: "LegacyTests.tar.zst", sampling: 8, run: blocks::run },
    Suite {
        name: "transaction_tests_hold",
        archive: "TransactionTests.tar.zst",
        sampling: 1,
        run: transactions::run,
    },
];

/// Names the folder with the archives.
const FOLDER: &str = "CITIUS_ETHEREUM_TESTS";

/// Flags of the test protocol that are followed by a value.
const VALUE_FLAGS: [&str; 6] =
    ["--format", "--test-threads", "--skip", "--color", "--logfile", "--shuffle-seed"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let folder = std::env::var_os(FOLDER).map(PathBuf::from);
    let chosen: Vec<&Suite> = SUITES.iter().filter(|suite| is_chosen(suite.name, &arguments)).collect();
    if has("--list") {
        // nextest asks for all tests, then for the ignored ones.
        for suite in chosen.iter().filter(|_| !has("--ignored") || folder.is_none()) {
            println!("{}: test", suite.name);
        }
        return ExitCode::SUCCESS;
    }
    let is_forced = has("--ignored") || has("--include-ignored");
    println!("\nrunning {} tests", chosen.len());
    let mut is_ok = true;
    for suite in chosen {
        let verdict = match &folder {
            Some(folder) => Some(suite.run_in(folder)),
            None if is_forced => Some(false),
            None => None,
        };
        is_ok &= verdict != Some(false);
        println!(
            "test {} ... {}",
            suite.name,
            match verdict {
                Some(true) => "ok".into(),
                Some(false) => "FAILED".into(),
                None => format!("ignored, SKIPPED: {FOLDER} is not set"),
            }
        );
    }
    if is_ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Suite {
    /// Whether all cases passed that were to run.
    fn run_in(&self, folder: &Path) -> bool {
        let selection = Selection::from_environment(self.sampling);
        let start = Instant::now();
        let tally = match (self.run)(&folder.join(self.archive), &selection) {
            Ok(tally) => tally,
            Err(error) => {
                println!("{}: {error}: {:?}", self.name, error.source());
                return false;
            }
        };
        println!("{}: {selection}, {:.1} s", self.name, start.elapsed().as_secs_f64());
        print!("{tally}");
        // A suite that ran nothing has shown nothing, unless a case of another one was asked for.
        let is_empty = tally.run() == 0 && !matches!(selection, Selection::Named(_));
        tally.failures.is_empty() && !is_empty
    }
}

/// Whether no filter is given, or one that matches.
fn is_chosen(name: &str, arguments: &[String]) -> bool {
    let is_value = |index: usize| index > 0 && VALUE_FLAGS.contains(&arguments[index - 1].as_str());
    let is_exact = arguments.iter().any(|argument| argument == "--exact");
    let mut filters = (0..arguments.len())
        .filter(|index| !arguments[*index].starts_with('-') && !is_value(*index))
        .map(|index| arguments[index].as_str())
        .peekable();
    filters.peek().is_none()
        || filters.any(|filter| if is_exact { name == filter } else { name.contains(filter) })
}
