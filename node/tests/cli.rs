//! The command line beside `replay` and `table`: `stress`, `topology`, help, and what is refused.

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
    assert!(report["total"]["speedup_over_cachedb"].is_f64());
    let placed = |threads: &str| report["placement"][threads].as_array().unwrap().len();
    assert_eq!(placed("workers"), placed("data_pool"));
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
fn what_a_kind_does_not_have_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let json_file = folder.path().join("report.json");
    let mut arguments = vec!["stress", "--kind", "mainnet-like", "--kind", "erc20", "--transactions", "10"];
    arguments.extend(["--conflict-percent", "20", "--clusters", "3", "--repeat", "1"]);
    arguments.extend(["--json", json_file.to_str().unwrap()]);
    let output = citius(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report = read(&json_file);
    let names = [0, 1].map(|index| report["workloads"][index]["name"].as_str().unwrap());
    let expected = [
        "mainnet-like/tx=10/accounts=20/blocks=1/seed=1",
        "erc20/tx=10/accounts=20/blocks=1/conflict=20/seed=1",
    ];
    assert_eq!(names, expected);
    assert_eq!(report["workloads"][0]["matches"], json!(true));
}

#[test]
fn one_block_is_a_stream_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let json_file = folder.path().join("report.json");
    let arguments = ["stress", "--kind", "erc20", "--transactions", "10", "--repeat", "1", "--stream"];
    let output = citius(&[&arguments[..], &["--json", json_file.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report = read(&json_file);
    let streams = report["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 1, "{report:#}");
    assert_eq!(streams[0]["dirs"], json!([report["workloads"][0]["dir"]]));
    for field in ["serial_ns", "parallel_ns", "cachedb_ns", "serial_cpu_ns", "parallel_cpu_ns"] {
        assert!(streams[0][field].as_u64().unwrap() > 0, "{field}: {report:#}");
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("not counted: sender recovery (unsigned)"), "{stdout}");
    assert!(stdout.contains("over the faster of serial and CacheDB"), "{stdout}");
}

#[test]
fn many_threads_are_summed_up_in_ranges() {
    let arguments =
        ["stress", "--kind", "erc20", "--transactions", "10", "--repeat", "1", "--threads", "200"];
    let output = citius(&arguments);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let line =
        stdout.lines().find(|line| line.starts_with("200 threads")).unwrap_or_else(|| panic!("{stdout}"));
    assert!(line.len() < 120, "{line}");
}

#[test]
fn hash_bench_reports_every_way_of_the_processor() {
    let folder = tempfile::tempdir().unwrap();
    let [json_file, kept] = ["report.json", "calibrations.json"].map(|name| folder.path().join(name));
    let mut arguments =
        vec!["hash-bench", "--devices", "none", "--sizes", "0,200", "--messages", "9", "--repeat", "1"];
    arguments.extend(["--threads", "2"]);
    arguments.extend(["--json", json_file.to_str().unwrap(), "--calibrations", kept.to_str().unwrap()]);
    let output = citius(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("over scalar") && stdout.contains("trie mix"), "{stdout}");
    let report = read(&json_file);
    let calibrations = report["calibrations"].as_array().unwrap();
    assert!(!calibrations.is_empty());
    // Two lengths, the mix, and the lengths one by one.
    let results = report["results"].as_array().unwrap();
    assert_eq!(results.len(), 5 * (calibrations.len() + 1), "the twin is not calibrated");
    assert!(results.iter().all(|result| result["mhash_per_s"].as_f64().unwrap() > 0.0));
    assert_eq!(results[0]["backend"], json!("scalar"));
    assert_eq!(read(&kept)["calibrations"].as_array().unwrap().len(), calibrations.len());
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
    let cases: [(&[&str], &str); 17] = [
        (&[], "Usage"),
        (&["replay"], "DIR"),
        (&["replay", "no-such-folder"], "no-such-folder"),
        (&["replay", ".", "--threads", "0"], "'--threads <N>': expected at least 1"),
        (&["replay", ".", "--threads", "20000"], "'--threads <N>': expected at most 8192"),
        (&["stress", "--threads", "two"], "'--threads <N>': expected a whole number"),
        (&["stress", "--repeat", "0"], "'--repeat <R>': expected at least 1"),
        (&["stress", "--conflict-percent", "300"], "expected at most 100"),
        (&["replay", ".", "--strategy", "fast"], "fast"),
        (&["stress", "--kind", "erc-20"], "erc-20"),
        (&["stress", "--conflict-percent", "101"], "101"),
        (&["stress", "--json", "no-such-folder/report.json"], "no-such-folder"),
        (&["topology", "--profile", "no-such-profile"], "no-such-profile"),
        (&["table", "--blocks", "no-such-folder"], "no-such-folder"),
        (&["hash-bench", "--sizes", "32,x"], "expected a whole number"),
        (&["hash-bench", "--calibrations", "."], ".: "),
        (&["table", "--shrink", "0"], "'--shrink <N>': expected at least 1"),
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
    for arguments in [
        &["--help"][..],
        &["hash-bench", "--help"],
        &["replay", "--help"],
        &["stress", "--help"],
        &["table", "--help"],
        &["topology", "--help"],
    ] {
        let output = citius(arguments);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains("Examples:\n  citius "), "{arguments:?}");
    }
}
