//! Seeds of random tests: printed, and taken from the environment to replay. The tests of other rooms include this
//! file by its path.

use proptest::test_runner::{Config, RngSeed};
use std::{
    env, thread,
    time::{SystemTime, UNIX_EPOCH},
};

/// The configuration of a random test. Its seed is that of `CITIUS_SEED`, or a new one. Prints the command that replays
/// the test, which shows if it fails.
pub(crate) fn seeded(cases: u32) -> Config {
    let seed = match env::var("CITIUS_SEED") {
        Ok(text) => text.parse().expect("CITIUS_SEED is a number below 2^64"),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64,
    };
    let (package, binary) = (env!("CARGO_PKG_NAME"), env!("CARGO_CRATE_NAME"));
    let thread = thread::current();
    let test = thread.name().filter(|name| *name != "main").unwrap_or_default();
    println!("replay: CITIUS_SEED={seed} cargo nextest run -p {package} --test {binary} {test}");
    Config { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(seed), ..Config::default() }
}
