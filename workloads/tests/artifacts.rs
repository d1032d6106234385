//! The artifacts are what the contracts compile to. Needs node and `contracts/node_modules` (`npm ci` there).
//!
//! A harness of its own, of one test: it decides when it runs whether the compiler is at hand, and if not, the test
//! counts as ignored (with `cargo test`) or skipped (with nextest), never as passed.

use std::{
    path::Path,
    process::{Command, ExitCode},
};

const NAME: &str = "artifacts_are_what_the_contracts_compile_to";

/// Flags of the test protocol that are followed by a value.
const VALUE_FLAGS: [&str; 6] =
    ["--format", "--test-threads", "--skip", "--color", "--logfile", "--shuffle-seed"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let missing = missing_tool();
    if !is_chosen(&arguments) {
        return ExitCode::SUCCESS;
    }
    if has("--list") {
        // nextest asks for all tests, then for the ignored ones.
        if !has("--ignored") || missing.is_some() {
            println!("{NAME}: test");
        }
        return ExitCode::SUCCESS;
    }
    if let Some(missing) = missing {
        let is_forced = has("--ignored") || has("--include-ignored");
        println!("test {NAME} ... {}: {missing}", if is_forced { "FAILED" } else { "ignored, SKIPPED" });
        return if is_forced { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let status = Command::new("sh").arg(contracts().join("check.sh")).status().expect("sh runs");
    println!("test {NAME} ... {}", if status.success() { "ok" } else { "FAILED" });
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether no filter is given, or one that matches.
fn is_chosen(arguments: &[String]) -> bool {
    let is_value = |index: usize| index > 0 && VALUE_FLAGS.contains(&arguments[index - 1].as_str());
    let mut filters = (0..arguments.len())
        .filter(|index| !arguments[*index].starts_with('-') && !is_value(*index))
        .map(|index| arguments[index].as_str())
        .peekable();
    filters.peek().is_none() || filters.any(|filter| NAME.contains(filter))
}

fn contracts() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/contracts"))
}

fn missing_tool() -> Option<&'static str> {
    let has_node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    if !has_node {
        Some("node is not installed")
    } else if !contracts().join("node_modules/solc").is_dir() {
        Some("solc is not installed: run `npm ci` in workloads/contracts")
    } else {
        None
    }
}
