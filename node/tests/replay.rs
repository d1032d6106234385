//! `citius replay` on blocks that the tests make themselves.

mod common;

use common::{ETHER, Fixture, NUMBER, Wallet, citius, read, replay};
use serde_json::{Value, json};
use std::{fs, path::Path};

fn as_str(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_valid_block_matches_and_its_result_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, packed) = (folder.path().join("in/1"), folder.path().join("in/20"));
    Fixture::valid().write(&plain, false);
    Fixture::valid().write(&packed, true);
    let out = folder.path().join("out");
    let (code, report) = replay(&[as_str(&folder.path().join("in")), "--out", as_str(&out)]);
    assert_eq!(code, 0, "{report:#}");
    for (entry, name) in report["blocks"].as_array().unwrap().iter().zip(["1", "20"]) {
        assert_eq!(entry["dir"], json!(name));
        assert_eq!(entry["matches"], json!(true), "{entry:#}");
        assert_eq!(entry["number"], json!(NUMBER));
        assert_eq!((&entry["txs"], &entry["gas"]), (&json!(3), &json!(63_000)));
        assert_eq!(
            (&entry["error"], &entry["error_tx"], &entry["mismatch"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
        for field in
            ["serial_ns", "parallel_ns", "cachedb_ns", "serial_cpu_ns", "parallel_cpu_ns", "recover_ns"]
        {
            assert!(entry[field].is_u64(), "{field}: {entry:#}");
        }
        let [execute, repeated, commit] =
            ["execute_ns", "repeated_ns", "commit_ns"].map(|field| entry[field].as_u64().unwrap());
        assert!(execute > repeated && commit > 0, "{entry:#}");
        let cold = ["parked", "parks", "reads_waited_for", "keys_asked_ahead"].map(|field| &entry[field]);
        assert_eq!(cold, [&json!(0); 4], "nothing is cold in memory: {entry:#}");
        assert_eq!(read(&out.join(format!("{name}.json"))), Fixture::valid().expected.unwrap());
    }
    assert_eq!(report["total"]["txs"], json!(6));
}

#[test]
fn a_corrupted_record_is_a_mismatch_and_exit_code_1() {
    let corruptions: [(&str, Value); 4] = [
        ("/receipts/1/gasUsed", json!(21_001)),
        ("/receipts/2/status", json!(false)),
        ("/receipts/0/logsHash", json!(format!("0x{}", "00".repeat(32)))),
        ("/post_state_diff", json!({})),
    ];
    for (pointer, value) in corruptions {
        let folder = tempfile::tempdir().unwrap();
        let mut fixture = Fixture::valid();
        *fixture.expected.as_mut().unwrap().pointer_mut(pointer).unwrap() = value;
        fixture.write(folder.path(), false);
        let (code, report) = replay(&[as_str(folder.path())]);
        assert_eq!(code, 1, "{pointer}");
        assert_eq!(report["blocks"][0]["matches"], json!(false));
        assert!(report["blocks"][0]["mismatch"].as_str().unwrap().contains("expected.json"), "{report:#}");
    }
}

#[test]
fn a_header_that_disagrees_is_a_mismatch() {
    for (field, value) in [
        ("gasUsed", json!("0x1")),
        ("logsBloom", json!(format!("0x{}", "01".repeat(256)))),
        ("receiptsRoot", json!(format!("0x{}", "01".repeat(32)))),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut fixture = Fixture::valid();
        fixture.block[field] = value;
        fixture.write(folder.path(), false);
        let (code, report) = replay(&[as_str(folder.path())]);
        assert_eq!((code, &report["blocks"][0]["matches"]), (1, &json!(false)), "{field}");
    }
}

#[test]
fn a_record_that_contradicts_itself_is_noted_and_still_executed() {
    let wrong = json!(format!("0x{}", "01".repeat(32)));
    for (field, note) in [
        ("hash", "the hash of the header"),
        ("stateRoot", "the hash of the header"),
        ("withdrawalsRoot", "the root of the withdrawals"),
        ("transactionsRoot", "the root of the transactions"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut fixture = Fixture::valid();
        fixture.write(folder.path(), false);
        let (_, report) = replay(&[as_str(folder.path())]);
        assert_eq!(report["blocks"][0]["record_note"], Value::Null);

        fixture.block[field] = wrong.clone();
        fixture.write(folder.path(), false);
        let (code, report) = replay(&[as_str(folder.path())]);
        assert_eq!(code, 0, "{report:#}");
        let noted = report["blocks"][0]["record_note"].as_str().unwrap();
        assert!(noted.starts_with(note) && noted.contains("the file says"), "{noted}");
        let output = citius(&["replay", as_str(folder.path()), "--repeat", "1"]);
        assert!(String::from_utf8_lossy(&output.stdout).contains("its record was changed: "));
    }
}

#[test]
fn an_unpacked_file_wins_over_the_packed_one() {
    let folder = tempfile::tempdir().unwrap();
    Fixture::valid().write(folder.path(), true);
    let mut expected = Fixture::valid().expected.unwrap();
    expected["receipts"][0]["gasUsed"] = json!(1);
    fs::write(folder.path().join("expected.json"), expected.to_string()).unwrap();
    assert_eq!(replay(&[as_str(folder.path())]).0, 1);
}

#[test]
fn a_refused_block_is_reported_alike_and_is_no_mismatch() {
    let folder = tempfile::tempdir().unwrap();
    Fixture::with_nonce_gap().write(&folder.path().join("in/1"), false);
    let out = folder.path().join("out");
    for strategy in ["auto", "serial", "optimistic", "partitioned"] {
        let (code, report) =
            replay(&[as_str(&folder.path().join("in")), "--strategy", strategy, "--out", as_str(&out)]);
        let entry = &report["blocks"][0];
        assert_eq!(code, 0, "{report:#}");
        assert_eq!((&entry["matches"], &entry["mismatch"]), (&json!(true), &Value::Null));
        assert_eq!(entry["error_tx"], json!(2));
        assert!(entry["error"].as_str().unwrap().contains("nonce"), "{entry:#}");
        assert!(entry["serial_ns"].is_u64());
        assert!(!out.join("1.json").exists(), "a refused block has no result");
        let total = &report["total"];
        assert_eq!(
            (&total["txs"], &total["executed"]["txs"], &total["refused"]),
            (&json!(3), &json!(0), &json!(1))
        );
        assert_eq!((&total["speedup"], &total["speedup_over_cachedb"]), (&Value::Null, &Value::Null));
    }
}

#[test]
fn a_refused_block_tells_what_ran() {
    let folder = tempfile::tempdir().unwrap();
    Fixture::with_nonce_gap().write(&folder.path().join("1"), false);
    for (strategy, ran, threads, reason) in [
        ("auto", "serial", 1, "gas beyond"),
        ("serial", "serial", 1, "named by the caller"),
        ("optimistic", "optimistic", 3, "named by the caller"),
    ] {
        let (_, report) = replay(&[as_str(folder.path()), "--strategy", strategy, "--threads", "3"]);
        let entry = &report["blocks"][0];
        assert_eq!((&entry["strategy"], &entry["threads"]), (&json!(ran), &json!(threads)), "{entry:#}");
        assert!(entry["reason"].as_str().unwrap().contains(reason), "{entry:#}");
        assert!(entry["executions"].as_u64().unwrap() >= 3, "two valid ones and the refused one: {entry:#}");
        assert!(entry["max_in_flight"].as_u64().unwrap() >= 1, "{entry:#}");
    }
}

#[test]
fn a_refused_block_has_no_rates() {
    let folder = tempfile::tempdir().unwrap();
    Fixture::with_nonce_gap().write(&folder.path().join("1"), false);
    Fixture::valid().write(&folder.path().join("2"), false);
    let output = citius(&["replay", as_str(folder.path()), "--repeat", "1"]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let line = |start: &str| stdout.lines().find(|line| line.starts_with(start)).unwrap();
    let cells: Vec<&str> = line("1 ").split_whitespace().collect();
    assert_eq!(cells[..5], ["1", "3", "-", "refused", "1"], "{stdout}");
    assert_eq!(cells[5..12], ["-"; 7], "{stdout}");
    assert!(
        line("total: ").starts_with("total: 1 blocks and 1 refused, which count no further, 3 transactions")
    );
}

#[test]
fn an_earlier_result_of_a_block_refused_now_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (block, out) = (folder.path().join("1"), folder.path().join("out"));
    Fixture::valid().write(&block, false);
    assert_eq!(replay(&[as_str(&block), "--out", as_str(&out)]).0, 0);
    assert!(out.join("1.json").is_file());
    Fixture::with_nonce_gap().write(&block, false);
    assert_eq!(replay(&[as_str(&block), "--out", as_str(&out)]).1["total"]["refused"], json!(1));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
}

#[test]
fn a_report_that_is_not_written_leaves_the_old_one_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let mut fixture = Fixture::valid();
    fixture.block["gasLimit"] = json!("no number");
    fixture.write(&folder.path().join("1"), false);
    let arguments =
        ["replay", as_str(&folder.path().join("1")), "--json", as_str(&report)].map(str::to_owned);
    for old in [None, Some("old")] {
        if let Some(old) = old {
            fs::write(&report, old).unwrap();
        }
        let output = citius(&arguments.each_ref().map(String::as_str));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr.contains("report.json: not written") && stderr.contains("gasLimit"), "{stderr}");
        assert_eq!(stderr.contains("earlier run"), old.is_some(), "{stderr}");
        assert_eq!(fs::read_to_string(&report).ok().as_deref(), old);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1 + usize::from(old.is_some()));
    }
}

#[test]
fn a_report_says_where_the_threads_are() {
    let folder = tempfile::tempdir().unwrap();
    Fixture::valid().write(&folder.path().join("7"), false);
    let (_, report) = replay(&[as_str(folder.path()), "--threads", "3"]);
    let cores = report["placement"]["data_pool"].as_array().unwrap().len();
    assert!((1..=3).contains(&cores), "{report:#}");
    for (threads, count) in [("workers", 3), ("data_pool", cores)] {
        let reports = report["placement"][threads].as_array().unwrap();
        assert_eq!(reports.len(), count, "{report:#}");
        for one in reports {
            for check in ["core", "pages"] {
                assert!(["verified", "skipped", "wrong"].contains(&one[check]["outcome"].as_str().unwrap()));
            }
        }
    }
    for field in ["profile", "repeat", "blocks", "streams", "total"] {
        assert!(!report[field].is_null(), "{field}");
    }
}

/// Block `NUMBER`, and its child, whose own file knows an account that the first one does not.
fn consecutive(nonce_gap: bool) -> [Fixture; 2] {
    let first = if nonce_gap { Fixture::with_nonce_gap() } else { Fixture::valid() };
    let (bob, dave) = (Wallet::new(2), Wallet::new(4));
    let txs = [(bob, bob.transfer(1, dave.address(), 5)), (dave, dave.transfer(0, bob.address(), 1))];
    // What is listed of bob must not count: the stream knows better.
    let pre_state = [(bob.address(), 1, 0), (dave.address(), ETHER, 0)];
    let second = Fixture::new(NUMBER + 1, first.hash(), &txs, &pre_state);
    [first, second]
}

#[test]
fn consecutive_blocks_run_as_one_stream() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = consecutive(false);
    // Given in the wrong order, with a block between them that belongs to no stream.
    second.write(&folder.path().join("b"), false);
    Fixture { block: other_block(), ..Fixture::valid() }.write(&folder.path().join("c"), false);
    first.write(&folder.path().join("a"), false);
    let out = folder.path().join("out");
    let dirs: Vec<String> =
        ["b", "c", "a"].iter().map(|dir| as_str(&folder.path().join(dir)).to_owned()).collect();
    let (code, report) = replay(&[&dirs[0], &dirs[1], &dirs[2], "--stream", "--out", as_str(&out)]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["streams"].as_array().unwrap().len(), 1);
    let stream = &report["streams"][0];
    assert_eq!(stream["dirs"], json!(["a", "b"]));
    assert!(stream["serial_ns"].is_u64() && stream["parallel_ns"].is_u64());
    let names: Vec<&Value> = report["blocks"].as_array().unwrap().iter().map(|entry| &entry["dir"]).collect();
    assert_eq!(names, ["b", "c", "a"]);
    assert!(report["blocks"].as_array().unwrap().iter().all(|entry| entry["matches"] == json!(true)));

    assert_eq!(read(&out.join("a.json")), first.expected.unwrap());
    // The second block's changes alone, from what the first one left.
    let diff = &read(&out.join("b.json"))["post_state_diff"];
    let bob = &diff[format!("{:#x}", Wallet::new(2).address())];
    let balance = ETHER - 2 * 21_000 * common::GAS_PRICE - 6 - 5 + 1;
    assert_eq!((&bob["balance"], &bob["nonce"]), (&json!(format!("{balance:#x}")), &json!(2)));
    assert_eq!(diff.as_object().unwrap().len(), 3, "bob, dave and the miner: {diff:#}");
}

fn other_block() -> Value {
    let mut block = Fixture::valid().block;
    block["hash"] = json!(format!("0x{}", "77".repeat(32)));
    block
}

#[test]
fn blocks_behind_a_refused_one_carry_its_error() {
    let folder = tempfile::tempdir().unwrap();
    for (fixture, name) in consecutive(true).iter().zip(["a", "b"]) {
        fixture.write(&folder.path().join(name), false);
    }
    let (code, report) = replay(&[as_str(folder.path()), "--stream"]);
    assert_eq!(code, 0, "{report:#}");
    let (first, second) = (&report["blocks"][0], &report["blocks"][1]);
    assert_eq!((&first["error_tx"], &second["error_tx"]), (&json!(2), &Value::Null));
    assert_eq!(first["error"], second["error"]);
    assert_eq!(second["matches"], json!(true));
    assert_eq!((&second["strategy"], &second["threads"]), (&json!("none"), &json!(0)));
    assert!(second["reason"].as_str().unwrap().starts_with("not executed: block 13500000"), "{second:#}");
    assert_eq!(["executions", "aborts", "max_in_flight"].map(|field| &second[field]), [&json!(0); 3]);
    assert_eq!(first["strategy"], json!("optimistic"));
}

#[test]
fn bad_input_is_named_and_exits_with_2() {
    type Case = (&'static str, fn(&mut Fixture), &'static [&'static str]);
    let cases: [Case; 12] = [
        ("root", |f| f.block = json!([]), &["block.json: holds an array of 0 items: expected an object"]),
        ("null", |f| f.pre_state = Value::Null, &["pre_state.json: holds null: expected an object"]),
        (
            "London",
            |f| f.block["baseFeePerGas"] = Value::Null,
            &["block.json", "`baseFeePerGas` is missing", "from London on"],
        ),
        (
            "Shanghai",
            |f| (f.block["number"], f.block["timestamp"]) = (json!("0x1036641"), json!("0x6437306f")),
            &["block.json", "`withdrawalsRoot` is missing", "from Shanghai on"],
        ),
        (
            "gas",
            |f| f.block["transactions"][1]["gas"] = json!("0xq"),
            &["block.json", "transactions[1].gas", "\"0xq\""],
        ),
        ("hash", |f| f.block["transactions"][0]["nonce"] = json!("0x9"), &["transactions[0].hash"]),
        ("type", |f| f.block["transactions"][2]["type"] = json!("0x7e"), &["transactions[2].type", "0x7e"]),
        (
            "from",
            |f| f.block["transactions"][0]["from"] = json!(format!("0x{}", "01".repeat(20))),
            &["transactions[0].from", "0x0101010101010101010101010101010101010101"],
        ),
        ("number", |f| f.block["number"] = Value::Null, &["block.json", "`number`", "missing"]),
        (
            "balance",
            |f| f.pre_state = json!({(format!("0x{}", "01".repeat(20))): {"nonce": 1}}),
            &["pre_state.json", "balance"],
        ),
        ("hashes", |f| f.block_hashes = json!({"x": "0x"}), &["block_hashes.json", "decimal"]),
        ("expected", |f| f.expected = Some(json!({"receipts": []})), &["expected.json", "post_state_diff"]),
    ];
    for (name, corrupt, needles) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut fixture = Fixture::valid();
        corrupt(&mut fixture);
        fixture.write(folder.path(), false);
        let output = citius(&["replay", as_str(folder.path())]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {stderr}");
        for needle in needles {
            assert!(stderr.contains(needle), "{name}: no {needle} in {stderr}");
        }
    }
}

#[test]
fn the_table_says_what_it_leaves_out() {
    let folder = tempfile::tempdir().unwrap();
    Fixture::valid().write(&folder.path().join("7"), false);
    let output = citius(&["replay", as_str(folder.path()), "--repeat", "1", "--threads", "3"]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let line = stdout.lines().find(|line| line.starts_with("7 ")).unwrap_or_else(|| panic!("{stdout}"));
    assert!(line.ends_with("results equal: yes"), "{line}");
    for needle in
        ["profile ", "3 threads", "speed-up", "geometric mean", "worst", "not counted: sender recovery"]
    {
        assert!(stdout.contains(needle), "no {needle} in {stdout}");
    }
    assert!(output.stderr.is_empty(), "no progress where stderr is no terminal");
}
