//! The command line beside `replay`: `stress`, `topology`, help, and what is refused.

mod common;

use common::{citius, read};
use serde_json::{Value, json};

#[test]
fn stress_reports_each_workload() {
    let folder = tempfile::tempdir().unwrap();
    let json_file = folder.path().join("report.json");
    let output = citius(&[
        "stress",
        "--kind",
        "erc20",
        "--transactions",
        "50",
        "--conflict-percent",
        "20",
        "--seed",
        "7",
        "--repeat",
        "1",
        "--json",
        json_file.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("results equal: yes"));
    let report = read(&json_file);
    let entry = &report["workloads"][0];
    assert_eq!(
        (&entry["conflict_percent"], &entry["seed"], &entry["txs"]),
        (&json!(20), &json!(7), &json!(50))
    );
    assert!(entry["name"].as_str().unwrap().starts_with("erc20"));
    assert_eq!(entry["matches"], json!(true));
    assert_eq!(report["total"]["txs"], json!(50));
}

#[test]
fn stress_runs_blocks_as_one_stream() {
    let folder = tempfile::tempdir().unwrap();
    let json_file = folder.path().join("report.json");
    for stream in [true, false] {
        let mut arguments = vec!["stress", "--kind", "amm-clusters", "--transactions", "20", "--blocks", "3"];
        arguments.extend([
            "--repeat",
            "1",
            "--strategy",
            "optimistic",
            "--json",
            json_file.to_str().unwrap(),
        ]);
        if stream {
            arguments.push("--stream");
        }
        let output = citius(&arguments);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let report = read(&json_file);
        let numbers: Vec<&Value> =
            report["workloads"].as_array().unwrap().iter().map(|entry| &entry["number"]).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert_eq!(report["streams"].as_array().unwrap().len(), usize::from(stream));
    }
}

#[test]
fn topology_prints_a_tree_and_json() {
    let synthetic = ["topology", "--synthetic", "pack:2 [numa(memory=64GB)] core:16 pu:1"];
    let tree = citius(&synthetic);
    assert_eq!(tree.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&tree.stdout).contains("worker 0"));
    let json = citius(&[&synthetic[..], &["--json"]].concat());
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(report["plan"]["workers"].as_array().unwrap().len() > 1);
}

#[test]
fn bad_usage_exits_with_2_and_says_why() {
    let cases: [(&[&str], &str); 9] = [
        (&[], "Usage"),
        (&["replay"], "DIR"),
        (&["replay", "no-such-folder"], "no-such-folder"),
        (&["replay", ".", "--threads", "0"], "--threads"),
        (&["replay", ".", "--strategy", "fast"], "fast"),
        (&["stress", "--kind", "erc-20"], "erc-20"),
        (&["stress", "--conflict-percent", "101"], "101"),
        (&["stress", "--json", "no-such-folder/report.json"], "no-such-folder"),
        (&["topology", "--profile", "no-such-profile"], "no-such-profile"),
    ];
    for (arguments, needle) in cases {
        let output = citius(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr.contains(needle), "{arguments:?}: {stderr}");
    }
}

#[test]
fn help_shows_examples() {
    for arguments in [&["--help"][..], &["replay", "--help"], &["stress", "--help"], &["topology", "--help"]]
    {
        let output = citius(arguments);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains("Examples:\n  citius "), "{arguments:?}");
    }
}
