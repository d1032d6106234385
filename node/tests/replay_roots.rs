//! State roots that `citius replay` and `citius stress` report.

mod common;

use alloy_primitives::B256;
use common::{Fixture, citius, read, replay};
use serde_json::{Value, json};
use std::path::Path;

const TIMES: [&str; 8] = [
    "root_ns",
    "root_cpu_ns",
    "e2e_ns",
    "e2e_cpu_ns",
    "seal_ns",
    "cachedb_e2e_ns",
    "cachedb_e2e_cpu_ns",
    "e2e_bound_ns",
];

fn as_str(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Replays one block.
fn entry_of(fixture: &Fixture) -> (i32, Value, Value) {
    let folder = tempfile::tempdir().unwrap();
    fixture.write(&folder.path().join("7"), false);
    let (code, report) = replay(&[as_str(folder.path()), "--threads", "2"]);
    (code, report["blocks"][0].clone(), report["total"]["roots"].clone())
}

#[test]
fn with_a_witness_the_root_is_held_against_the_header() {
    let fixture = Fixture::valid().with_witness();
    let (code, entry, total) = entry_of(&fixture);
    assert_eq!(
        (code, &entry["matches"], &entry["root_matches"]),
        (0, &json!(true), &json!(true)),
        "{entry:#}"
    );
    assert_eq!(entry["post_root"], fixture.block["stateRoot"]);
    assert!(entry["post_root"].as_str().unwrap().starts_with("0x"));
    for field in TIMES {
        assert!(entry[field].as_u64().is_some_and(|time| time > 0), "{field}: {entry:#}");
        assert!(total[field].as_u64().is_some_and(|time| time > 0), "{field}: {total:#}");
    }
    assert!(entry["nodes_hashed"].as_u64().unwrap() >= 4, "{entry:#}");
    assert_eq!((&total["blocks"], &total["compared_with_header"]), (&json!(1), &json!(1)));
    assert!(total["e2e_speedup_over_cachedb"].is_f64() && total["e2e_over_bound"].is_f64(), "{total:#}");
}

#[test]
fn without_a_witness_the_root_is_that_of_what_is_listed() {
    let fixture = Fixture::valid();
    let (code, entry, total) = entry_of(&fixture);
    assert_eq!(
        (code, &entry["matches"], &entry["root_matches"]),
        (0, &json!(true), &Value::Null),
        "{entry:#}"
    );
    assert_eq!(entry["post_root"], json!(fixture.root_after()));
    assert_eq!((&total["blocks"], &total["compared_with_header"]), (&json!(1), &json!(0)));
}

#[test]
fn a_wrong_root_is_a_mismatch() {
    let mut fixture = Fixture::valid().with_witness();
    fixture.block["stateRoot"] = json!(B256::repeat_byte(1));
    fixture.seal();
    let (code, entry, _) = entry_of(&fixture);
    assert_eq!((code, &entry["matches"], &entry["root_matches"]), (1, &json!(false), &json!(false)));
    let mismatch = entry["mismatch"].as_str().unwrap();
    assert!(
        mismatch.contains("state root is 0x") && mismatch.contains("the header says 0x0101"),
        "{mismatch}"
    );
}

#[test]
fn a_block_with_unknown_uncles_has_no_root_to_compare() {
    let mut fixture = Fixture::valid().with_witness();
    fixture.block["uncles"] = json!([B256::repeat_byte(7)]);
    let folder = tempfile::tempdir().unwrap();
    fixture.expected = None;
    fixture.write(folder.path(), false);
    let (_, report) = replay(&[as_str(folder.path())]);
    let entry = &report["blocks"][0];
    assert!(entry["post_root"].is_string(), "{entry:#}");
    assert_eq!(entry["root_matches"], Value::Null, "{entry:#}");
}

#[test]
fn a_witness_that_lacks_a_node_gives_no_root_and_is_a_mismatch() {
    let mut fixture = Fixture::valid().with_witness();
    let root = fixture.witness.as_ref().unwrap()["preStateRoot"].clone();
    let nodes = fixture.witness.as_mut().unwrap()["state"].as_array_mut().unwrap();
    assert_eq!(nodes.len(), 3, "a branch and two leaves");
    nodes.retain(|node| {
        let node: alloy_primitives::Bytes = serde_json::from_value(node.clone()).unwrap();
        json!(alloy_primitives::keccak256(node)) == root
    });
    let (code, entry, total) = entry_of(&fixture);
    assert_eq!(
        (code, &entry["matches"], &entry["root_matches"]),
        (1, &json!(false), &Value::Null),
        "{entry:#}"
    );
    assert_eq!((&entry["post_root"], &entry["root_ns"], &total), (&Value::Null, &json!(0), &Value::Null));
    let mismatch = entry["mismatch"].as_str().unwrap();
    assert!(
        mismatch.starts_with("no state root: ") && mismatch.contains("not in this witness"),
        "{mismatch}"
    );
}

#[test]
fn a_witness_that_is_none_is_named_and_exits_with_2() {
    type Case = (fn(&mut Value), &'static [&'static str]);
    let cases: [Case; 4] = [
        (|witness| witness["preStateRoot"] = Value::Null, &["witness.json", "`preStateRoot` is missing"]),
        (|witness| witness["state"][1] = json!("0xabc"), &["witness.json", "`state[1]`"]),
        (|witness| witness["state"] = json!([]), &["witness.json", "is not among the 0 nodes"]),
        (|witness| witness["branchHints"] = json!(7), &["witness.json", "`branchHints`"]),
    ];
    for (corrupt, needles) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut fixture = Fixture::valid().with_witness();
        corrupt(fixture.witness.as_mut().unwrap());
        fixture.write(folder.path(), false);
        let output = citius(&["replay", as_str(folder.path()), "--repeat", "1"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(needles.iter().all(|needle| stderr.contains(needle)), "{needles:?}: {stderr}");
    }
}

#[test]
fn a_refused_block_has_no_root() {
    let (code, entry, total) = entry_of(&Fixture::with_nonce_gap());
    assert_eq!(code, 0, "{entry:#}");
    assert_eq!((&entry["post_root"], &entry["root_matches"]), (&Value::Null, &Value::Null));
    assert!(TIMES.iter().all(|field| entry[*field] == json!(0)), "{entry:#}");
    assert_eq!(total, Value::Null);
}

#[test]
fn people_are_told_of_roots_in_short() {
    let folder = tempfile::tempdir().unwrap();
    Fixture::valid().with_witness().write(&folder.path().join("7"), false);
    let output = citius(&["replay", as_str(folder.path()), "--repeat", "1"]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    for needle in ["to root ms", "  to root  ", "over CacheDB and alloy-trie", "1 of 1 compared with headers"]
    {
        assert!(stdout.contains(needle), "no {needle} in {stdout}");
    }
}

#[test]
fn workloads_have_roots_block_by_block_and_as_streams() {
    let folder = tempfile::tempdir().unwrap();
    let json_file = folder.path().join("report.json");
    let mut arguments =
        vec!["stress", "--kind", "erc20", "--transactions", "30", "--blocks", "2", "--repeat"];
    arguments.extend(["1", "--threads", "2", "--json", as_str(&json_file)]);
    let mut roots = Vec::new();
    for stream in [&[][..], &["--stream"]] {
        let output = citius(&[&arguments[..], stream].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let report = read(&json_file);
        let blocks = report["workloads"].as_array().unwrap();
        for entry in blocks {
            assert_eq!(
                (&entry["matches"], &entry["root_matches"]),
                (&json!(true), &Value::Null),
                "{entry:#}"
            );
            assert_eq!(
                entry["cachedb_e2e_ns"],
                json!(0),
                "of no use where all of a state is there: {entry:#}"
            );
            assert!(entry["e2e_ns"].as_u64().unwrap() > 0, "{entry:#}");
        }
        roots.push(blocks.iter().map(|entry| entry["post_root"].clone()).collect::<Vec<_>>());
    }
    assert_eq!(roots[0], roots[1]);
    assert_ne!(roots[0][0], roots[0][1]);
}
