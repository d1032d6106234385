//! `--limits`: what perfect scheduling would make of blocks, generated and recorded.

mod common;

use citius_engine::{
    Block, BlockError, Engine, EngineConfig, EntryTrace, ExecuteOptions, ExecutionError, StrategyChoice,
    WorkerPool, chain::ChainSpec,
};
use citius_node::recorded::{RecordedBlock, block_folders};
use citius_state::StateReader;
use common::{ETHER, Fixture, MINER, NUMBER, Wallet, citius, corpus, read, replay};
use revm::context::result::InvalidTransaction;
use serde_json::{Value, json};
use std::{collections::BTreeSet, env, num::NonZeroUsize, sync::Arc};

const LANES: [&str; 4] = ["2", "4", "16", "unlimited"];

fn stress(arguments: &[&str]) -> (String, Value) {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let output =
        citius(&[&["stress", "--repeat", "1", "--json", json.to_str().unwrap()], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    (String::from_utf8_lossy(&output.stdout).into_owned(), read(&json))
}

/// Bounds of 100 transactions of one kind, with and without the chains of senders.
fn bounds(kind: &str) -> (Value, [[f64; 4]; 2]) {
    let (_, report) = stress(&["--kind", kind, "--transactions", "100", "--limits"]);
    let limits = report["workloads"][0]["limits"].clone();
    check(&limits);
    let of = |which: &str| LANES.map(|lanes| limits[which][lanes].as_f64().unwrap());
    let bounds = [of("with_sender_chains"), of("without_sender_chains")];
    (limits, bounds)
}

/// What holds of any block's limits.
fn check(limits: &Value) {
    for which in ["with_sender_chains", "without_sender_chains"] {
        let bounds = LANES.map(|lanes| limits[which][lanes].as_f64().unwrap());
        for (bound, most) in bounds.iter().zip([2.0, 4.0, 16.0, f64::INFINITY]) {
            assert!(*bound >= 1.0 && *bound <= most.min(bounds[3]) + 1e-9, "{limits:#}");
        }
    }
    let unlimited = |which: &str| limits[which]["unlimited"].as_f64().unwrap();
    assert!(unlimited("with_sender_chains") <= unlimited("without_sender_chains") + 1e-9, "{limits:#}");
    for share in ["heaviest_share", "heaviest_gas_share"] {
        assert!((0.0..=1.0).contains(&limits[share].as_f64().unwrap()), "{limits:#}");
    }
    assert!(limits["longest_sender_chain"].as_u64() <= limits["longest_chain"].as_u64(), "{limits:#}");
}

#[test]
fn independent_transfers_can_be_spread_and_a_chain_cannot() {
    let (limits, [with, _]) = bounds("transfers-independent");
    assert!(with[0] > 1.8 && with[2] > 4.0, "{limits:#}");
    assert_eq!(limits["longest_chain"], json!(1));
    let (limits, [with, without]) = bounds("mint-rush");
    assert!(with[3] < 1.5 && without[3] < 1.5, "{limits:#}");
    assert_eq!(limits["longest_chain"], json!(100));
}

#[test]
fn a_fan_out_of_one_sender_is_bound_by_its_chain_alone() {
    let (limits, [with, without]) = bounds("transfers-one-to-many");
    assert_eq!((&limits["longest_chain"], &limits["longest_sender_chain"]), (&json!(100), &json!(100)));
    assert!(with[3] < 1.5 && without[0] > 1.8, "{limits:#}");
}

#[test]
fn a_streams_blocks_have_limits_of_their_own_and_a_total() {
    let arguments = ["--kind", "erc20", "--transactions", "60", "--blocks", "3", "--stream", "--limits"];
    let (text, report) = stress(&arguments);
    let entries = report["workloads"].as_array().unwrap();
    assert_eq!(entries.len(), 3);
    entries.iter().for_each(|entry| check(&entry["limits"]));
    let total = &report["total"]["limits"];
    for which in ["with_sender_chains", "without_sender_chains"] {
        for kind in ["total", "geomean"] {
            let bounds = entries.iter().map(|entry| entry["limits"][which]["4"].as_f64().unwrap());
            let (least, most) =
                bounds.fold((f64::MAX, 0.0_f64), |(least, most), bound| (least.min(bound), most.max(bound)));
            let bound = total[which][kind]["4"].as_f64().unwrap();
            assert!((least - 1e-9..=most + 1e-9).contains(&bound), "{total:#}");
        }
    }
    let last: Vec<&str> = text.lines().rev().take(2).collect();
    assert!(last[0].starts_with("geometric mean ") && last[1].starts_with("total "), "{text}");
    assert_eq!(text.matches("longest chain").count(), 1, "{text}");
}

#[test]
fn without_the_flag_there_are_no_limits() {
    let (text, report) = stress(&["--kind", "erc20", "--transactions", "20"]);
    assert_eq!(report["workloads"][0]["limits"], Value::Null);
    assert_eq!(report["total"]["limits"], Value::Null);
    assert!(!text.contains("limits:"), "{text}");
}

#[test]
fn a_refused_block_has_no_limits() {
    let folder = tempfile::tempdir().unwrap();
    Fixture::valid().write(&folder.path().join("valid"), false);
    Fixture::with_nonce_gap().write(&folder.path().join("gap"), false);
    let (code, report) = replay(&[folder.path().to_str().unwrap(), "--limits"]);
    assert_eq!(code, 0, "{report:#}");
    let blocks = report["blocks"].as_array().unwrap();
    let of = |dir: &str| &blocks.iter().find(|block| block["dir"] == json!(dir)).unwrap()["limits"];
    assert_eq!(of("gap"), &Value::Null);
    check(of("valid"));
    assert_eq!(of("valid")["longest_sender_chain"], json!(2));
    let output = citius(&["replay", "--repeat", "1", "--limits", folder.path().to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().rfind(|line| line.starts_with("gap ")).unwrap();
    assert!(line.split_whitespace().skip(2).all(|cell| cell == "-"), "{text}");
}

#[test]
fn blocks_before_a_refused_one_of_their_stream_have_limits() {
    let folder = tempfile::tempdir().unwrap();
    let first = Fixture::valid();
    // Its nonce is used.
    let bob = Wallet::new(2);
    let again = [(bob, bob.transfer(0, MINER, 1))];
    let second = Fixture::new(NUMBER + 1, first.hash(), &again, &[(bob.address(), ETHER, 0)]);
    for (fixture, name) in [&first, &second].into_iter().zip(["a", "b"]) {
        fixture.write(&folder.path().join(name), false);
    }
    let (code, report) = replay(&[folder.path().to_str().unwrap(), "--stream", "--limits"]);
    let [first, second] = &report["blocks"].as_array().unwrap()[..] else { panic!("{report:#}") };
    assert_eq!((code, report["streams"].as_array().unwrap().len()), (0, 1), "{report:#}");
    assert!(second["error"].is_string() && second["limits"].is_null(), "{report:#}");
    check(&first["limits"]);
}

#[test]
fn recorded_blocks_have_limits() {
    let Some(corpus) = corpus() else { return };
    let folders = block_folders(&[corpus]).unwrap();
    let some: Vec<&str> = folders.iter().step_by(9).map(|folder| folder.to_str().unwrap()).collect();
    let (code, report) = replay(&[&some, &["--limits"][..]].concat());
    assert_eq!(code, 0, "{report:#}");
    for block in report["blocks"].as_array().unwrap() {
        check(&block["limits"]);
    }
}

#[test]
fn a_recorded_transaction_does_the_same_when_only_what_it_needs_was_done() {
    let Some(corpus) = corpus() else { return };
    let recovery = rayon::ThreadPoolBuilder::new().build().unwrap();
    let chain = ChainSpec::mainnet();
    let workers = WorkerPool::unpinned(NonZeroUsize::MIN).unwrap();
    let engine = Engine::new(chain.clone(), workers, EngineConfig::default());
    let step = if env::var_os("CITIUS_LONG").is_some() { 1 } else { 3 };
    let (mut kept, mut left_out, mut lacking) = (0, 0, 0);
    for folder in block_folders(&[corpus]).unwrap().iter().step_by(step) {
        let recorded = RecordedBlock::load(folder).unwrap();
        let block = Arc::new(recorded.recover(&chain, &recovery).unwrap());
        let reader: Arc<dyn StateReader> = Arc::new(recorded.pre_state);
        let trace = engine.trace(&reader, &[Arc::clone(&block)], 0).unwrap().remove(0);
        let closures = closures(&trace.entries);
        for (entry, closure) in trace.entries.iter().zip(&closures) {
            let Some(index) = entry.transaction else { continue };
            let mut alone = Block::clone(&block);
            let needed: Vec<usize> =
                closure.iter().filter_map(|needed| trace.entries[*needed].transaction).collect();
            (kept, left_out) = (kept + needed.len(), left_out + index - needed.len());
            alone.transactions =
                needed.iter().chain([&index]).map(|index| block.transactions[*index].clone()).collect();
            let options = ExecuteOptions { strategy: StrategyChoice::Serial, ..ExecuteOptions::default() };
            let outcome = engine.execute_block(Arc::clone(&reader), Arc::new(alone), &options);
            let outcome = match outcome {
                Ok(outcome) => outcome,
                // Of what the needed ones need in turn, a debit can use up what a payment that is not needed would
                // have filled up again: so it is for one of 16,791 recorded transactions.
                Err(ExecutionError::Refused(BlockError::InvalidTransaction {
                    error: InvalidTransaction::LackOfFundForMaxFee { .. },
                    ..
                })) => {
                    lacking += 1;
                    continue;
                }
                Err(error) => panic!("{}, {index}: {error}", recorded.name),
            };
            let (ours, theirs) = (outcome.transactions.last().unwrap(), &trace.outcome.transactions[index]);
            assert_eq!(ours.result, theirs.result, "{}, transaction {index} after {needed:?}", recorded.name);
        }
    }
    assert!(kept > 0 && left_out > 0, "{kept} needed, {left_out} not");
    assert!(lacking < 3, "{lacking} lack funds");
}

/// What each entry needs, and what these need, and so on.
fn closures(entries: &[EntryTrace]) -> Vec<BTreeSet<usize>> {
    let mut closures: Vec<BTreeSet<usize>> = Vec::with_capacity(entries.len());
    for entry in entries {
        let further = entry.needs.iter().flat_map(|needed| &closures[*needed]);
        closures.push(further.chain(&entry.needs).copied().collect());
    }
    closures
}
