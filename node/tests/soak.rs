//! `citius soak`: blocks over a state on disk that does not fit in the memory that it may take.

mod common;

use common::citius;
use serde_json::Value;
use std::{fs, path::Path};

/// Nearly no memory, no reorganisations, and pages read by threads.
const SMALL: &str = "\
name = 'small'
description = 'hardly any memory'
[memory]
trie_nodes_mib = 1
flat_cache_mib = 1
page_cache_mib = 1
[storage]
io_backend = 'blocking'
[history]
reorg_depth_blocks = 1
";

/// The exit code and the report, if there is one, with what went to stderr.
fn soak(folder: &Path, profile: &str, more: &[&str]) -> (i32, Value, String) {
    let (profile_file, json) = (folder.join("profile.toml"), folder.join("soak.json"));
    fs::write(&profile_file, profile).unwrap();
    let _ = fs::remove_file(&json);
    let state = folder.join("state");
    let mut arguments =
        vec!["soak", "--datadir", state.to_str().unwrap(), "--profile", profile_file.to_str().unwrap()];
    arguments.extend(["--json", json.to_str().unwrap(), "--threads", "2"]);
    arguments.extend(more);
    let output = citius(&arguments);
    let report = fs::read(&json).map(|json| serde_json::from_slice(&json).unwrap()).unwrap_or_default();
    (output.status.code().unwrap(), report, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn count(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("{name} in {report}"))
}

#[test]
fn blocks_over_a_state_on_disk_come_to_what_they_do_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = ["--blocks", "4", "--transactions", "300", "--accounts", "40000", "--checkpoint-every", "1"];
    let (code, report, stderr) = soak(folder.path(), SMALL, &blocks);
    assert_eq!((code, &report["matches"]), (0, &Value::Bool(true)), "{report}\n{stderr}");
    assert_eq!(report["backend"], "blocking");
    assert_eq!(report["profile"]["name"], "small");
    let blocks = report["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 4);
    for block in blocks {
        assert!(count(block, "page_reads") > 0 && count(block, "gas") > 0, "{block}");
    }
    let parked: u64 = blocks.iter().map(|block| count(block, "parked")).sum();
    assert!(parked > 0, "{report}");
    assert!(count(&report, "evicted_nodes") > 0, "{report}");
    assert_eq!(count(&report, "journal_syncs"), 4, "one for each block");
    // All of it would take ten.
    assert!(count(&report, "node_bytes") < 5 << 20, "{report}");
    // The import makes two or three.
    assert!(count(&report, "checkpoint") > 5, "{report}");

    // What is there is a store like any other.
    let state = folder.path().join("state");
    let verified = citius(&["state", "verify", "--datadir", state.to_str().unwrap(), "--json"]);
    assert_eq!(verified.status.code(), Some(0));
    let stats = citius(&["state", "stats", "--datadir", state.to_str().unwrap(), "--json"]);
    let stats: Value = serde_json::from_slice(&stats.stdout).unwrap();
    assert_eq!(count(&stats, "last_block"), count(&blocks[3], "number"), "{stats}");

    // And nothing is written over it.
    let (code, report, stderr) = soak(folder.path(), SMALL, &[]);
    assert_eq!((code, report), (2, Value::Null));
    assert!(stderr.contains("expected an empty directory"), "{stderr}");
}

#[test]
fn a_journal_past_the_profiles_budget_is_refused_with_both_sizes() {
    let folder = tempfile::tempdir().unwrap();
    // Three segments, of blocks that no checkpoint takes since a reorganisation may reach them all.
    let profile = SMALL.replace("reorg_depth_blocks = 1", "reorg_depth_blocks = 100").replace(
        "io_backend = 'blocking'",
        "io_backend = 'blocking'\njournal_segment_mib = 1\njournal_mib = 3",
    );
    let (code, report, stderr) =
        soak(folder.path(), &profile, &["--blocks", "20", "--transactions", "1500", "--accounts", "4000"]);
    assert_eq!((code, report), (2, Value::Null), "{stderr}");
    assert!(stderr.contains("budget is 3145728") && stderr.contains("4194304 bytes"), "{stderr}");
}
