//! `table`, and that the table in the README is one that it printed.

mod common;

use common::{Fixture, MINER, NUMBER, Wallet, citius, read};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Output};

/// As short a run as there is: the figures tell nothing.
const SHORT: [&str; 7] = ["table", "--shrink", "500", "--repeat", "1", "--threads", "2"];

/// The cells of the one Markdown table in a text, without the rule below its header.
fn cells(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = lines.map(|line| line.split(" | ").map(str::to_owned).collect::<Vec<_>>());
    rows.filter(|row| !row[0].starts_with("---")).collect()
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Two blocks that follow one another, each of one transfer.
fn write_blocks(folder: &Path) {
    let (alice, bob) = (Wallet::new(1), Wallet::new(2).address());
    let first = Fixture::new(
        NUMBER,
        MINER.into_word(),
        &[(alice, alice.transfer(0, bob, 1))],
        &[(alice.address(), u64::MAX, 0)],
    );
    let second = Fixture::new(
        NUMBER + 1,
        first.hash(),
        &[(alice, alice.transfer(1, bob, 1))],
        &[(alice.address(), u64::MAX - 21_000 * 100 - 1, 1), (bob, 1, 0)],
    );
    first.write(&folder.join("first"), false);
    second.write(&folder.join("second"), false);
}

#[test]
fn the_table_has_the_rows_and_columns_of_the_one_in_the_readme() {
    let folder = tempfile::tempdir().unwrap();
    write_blocks(folder.path());
    let json_file = folder.path().join("table.json");
    let (blocks, json_path) = (folder.path().to_str().unwrap(), json_file.to_str().unwrap());
    let arguments = [&SHORT[..], &["--blocks", blocks, "--json", json_path]].concat();
    let printed = cells(&stdout(&citius(&arguments)));

    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let (_, behind) = readme.split_once("<!-- table: printed by `").expect("the table's place is marked");
    let (table, _) = behind.split_once("<!-- end of table -->").expect("and its end");
    let shown = cells(table);
    let names = |rows: &[Vec<String>]| rows.iter().map(|row| row[0].clone()).collect::<Vec<_>>();
    assert_eq!(shown[0], printed[0], "the header");
    assert_eq!(names(&shown), names(&printed));
    for row in shown.iter().chain(&printed) {
        assert_eq!(row.len(), printed[0].len(), "{row:?}");
    }

    check_gains(&printed, &read(&json_file));
}

/// The figures of every row, and that the printed ones are those of the JSON.
fn check_gains(printed: &[Vec<String>], report: &Value) {
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len() + 1, printed.len());
    for (row, cells) in rows.iter().zip(&printed[1..]) {
        let has_several = row["blocks"].as_u64().unwrap() > 1;
        assert_eq!(row["stream_over_faster"].is_f64(), has_several, "{row:#}");
        for (column, field) in [
            (4, "serial_over_cachedb"),
            (5, "parallel_over_faster"),
            (6, "stream_over_faster"),
            (7, "cpu"),
            (8, "bound_on_2_lanes"),
        ] {
            let shown = row[field].as_f64().map_or_else(|| "-".to_owned(), |gain| format!("{gain:.2}x"));
            assert_eq!(shown, cells[column], "{field}: {row:#}");
        }
        let is_empty = row["blocks"] == json!(0);
        assert_eq!(row["cpu"].is_null(), is_empty, "only small blocks were recorded: {row:#}");
        let bound = row["bound_on_2_lanes"].as_f64();
        assert!(bound.map_or(is_empty, |bound| (1.0..=2.0).contains(&bound)), "{row:#}");
    }
}

#[test]
fn recorded_blocks_are_optional_and_their_records_checked() {
    let folder = tempfile::tempdir().unwrap();
    let printed = cells(&stdout(&citius(&SHORT)));
    assert!(printed.len() > 10 && !printed.iter().any(|row| row[0].starts_with("recorded")), "{printed:?}");

    let mut wrong = Fixture::valid();
    wrong.expected.as_mut().unwrap()["receipts"][0]["gasUsed"] = json!(1);
    wrong.write(&folder.path().join("wrong"), false);
    let output = citius(&[&SHORT[..], &["--blocks", folder.path().to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("\nwrong: does not match: expected.json"), "{stdout}");
}
