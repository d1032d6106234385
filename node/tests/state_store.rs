//! `citius state` over stores on disk.

mod common;

use alloy_primitives::{Address, B256, U256, hex, keccak256};
use alloy_trie::{
    KECCAK_EMPTY, TrieAccount,
    root::{state_root_unhashed, storage_root_unhashed},
};
use common::citius;
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

const HASH: B256 = B256::repeat_byte(0x77);

/// An account of a state for tests.
struct Entry {
    balance: U256,
    nonce: u64,
    code: Vec<u8>,
    slots: BTreeMap<U256, U256>,
}

fn entries() -> BTreeMap<Address, Entry> {
    let entry = |index: u64| {
        let code = if index % 5 == 1 { vec![index as u8 + 1; 40 * index as usize] } else { Vec::new() };
        let slots = if index == 7 { 1_000 } else { index % 9 };
        let slots = (0..slots).map(|slot| (U256::from(slot), U256::from(slot * 77 + index + 1))).collect();
        // Decimal digits that would be another number as hex.
        Entry { balance: U256::from(10_u64.pow(12) * index + 123), nonce: index, code, slots }
    };
    (0..300_u64)
        .map(|index| (Address::left_padding_from(&(index * 0x9e37_79b9).to_be_bytes()), entry(index)))
        .collect()
}

fn root_of(entries: &BTreeMap<Address, Entry>) -> B256 {
    state_root_unhashed(entries.iter().map(|(address, entry)| {
        let slots = entry.slots.iter().map(|(slot, value)| (B256::from(*slot), *value));
        let account = TrieAccount {
            nonce: entry.nonce,
            balance: entry.balance,
            storage_root: storage_root_unhashed(slots),
            code_hash: if entry.code.is_empty() { KECCAK_EMPTY } else { keccak256(&entry.code) },
        };
        (*address, account)
    }))
}

fn genesis(entries: &BTreeMap<Address, Entry>) -> String {
    let account = |entry: &Entry| {
        let storage: Map<_, _> = entry
            .slots
            .iter()
            .map(|(slot, value)| (B256::from(*slot).to_string(), json!(B256::from(*value))))
            .collect();
        json!({"balance": entry.balance, "nonce": format!("{:#x}", entry.nonce),
            "code": hex::encode_prefixed(&entry.code), "storage": storage})
    };
    let alloc: Map<_, _> =
        entries.iter().map(|(address, entry)| (address.to_string(), account(entry))).collect();
    json!({"config": {"chainId": 7}, "gasLimit": "0x1", "difficulty": "0x0", "alloc": alloc}).to_string()
}

/// An account as geth's dumps have it.
fn geth(address: &Address, entry: &Entry) -> Value {
    let storage: Map<_, _> = entry
        .slots
        .iter()
        .map(|(slot, value)| {
            (B256::from(*slot).to_string(), json!(hex::encode(value.to_be_bytes_trimmed_vec())))
        })
        .collect();
    let mut account = json!({"balance": entry.balance.to_string(), "nonce": entry.nonce, "root": B256::ZERO,
        "codeHash": keccak256(&entry.code), "address": address, "key": keccak256(address)});
    if !entry.code.is_empty() {
        account["code"] = json!(hex::encode_prefixed(&entry.code));
    }
    if !storage.is_empty() {
        account["storage"] = Value::Object(storage);
    }
    account
}

/// Runs `citius state`: its exit code, and what it printed.
fn state(arguments: &[&str]) -> (i32, String, String) {
    let output = citius(&[&["state"], arguments].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Runs it, and gives its JSON.
fn json_of(arguments: &[&str]) -> Value {
    let (code, stdout, stderr) = state(&[arguments, &["--json"]].concat());
    assert_eq!(code, 0, "{arguments:?}: {stderr}");
    serde_json::from_str(&stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_state_goes_from_a_file_to_a_store_to_a_snapshot_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let entries = entries();
    let root = root_of(&entries).to_string();
    let slots: usize = entries.values().map(|entry| entry.slots.len()).sum();
    let codes = entries.values().filter(|entry| !entry.code.is_empty()).count();
    let dump: Map<_, _> =
        entries.iter().map(|(address, entry)| (address.to_string(), geth(address, entry))).collect();
    let lines = entries.iter().map(|(address, entry)| geth(address, entry).to_string());
    let lines: Vec<String> = [json!({"root": root}).to_string()].into_iter().chain(lines).collect();
    fs::write(at("genesis.json"), genesis(&entries)).unwrap();
    fs::write(at("dump.json"), json!({"root": root, "accounts": dump}).to_string()).unwrap();
    fs::write(at("lines.json"), lines.join("\n")).unwrap();
    let hash = HASH.to_string();
    let block = ["--block", "9", "--block-hash", &hash];
    for (name, block) in [("genesis.json", &[][..]), ("dump.json", &block), ("lines.json", &block)] {
        let datadir = at(&format!("state of {name}"));
        let source = at(name);
        let arguments = ["import", text(&source), "--datadir", text(&datadir), "--root", &root];
        let imported = json_of(&[&arguments[..], block].concat());
        let counts = (&imported["root"], &imported["accounts"], &imported["slots"]);
        assert_eq!(counts, (&json!(root), &json!(entries.len()), &json!(slots)), "{name}");
        assert_eq!(imported["block"], json!(if block.is_empty() { 0 } else { 9 }), "{name}");
        if block.is_empty() {
            continue;
        }
        assert_eq!(imported["hash"], json!(HASH), "{name}");
        let again = json_of(&[&arguments[..], block].concat());
        assert_eq!(again["was_done"], json!(true), "{name}");
        let verified = json_of(&["verify", "--datadir", text(&datadir)]);
        assert_eq!((&verified["root"], &verified["codes"]), (&json!(root), &json!(codes)), "{name}");
        assert_eq!((&verified["slots"], &verified["lost"]), (&json!(slots), &json!(0)), "{name}");
    }
    let datadir = at("state of dump.json");
    let snapshot = at("snapshot");
    let export = ["export", "--datadir", text(&datadir), "--out", text(&snapshot), "--ranges", "5"];
    let exported = json_of(&export);
    let counts = (&exported["ranges"], &exported["kept"], &exported["accounts"], &exported["codes"]);
    assert_eq!(counts, (&json!(5), &json!(0), &json!(entries.len()), &json!(codes)));
    assert_eq!(json_of(&export)["kept"], json!(5));
    let copy = at("copy");
    let import = ["import", text(&snapshot), "--datadir", text(&copy), "--root", &root];
    let imported = json_of(&import);
    assert_eq!((&imported["root"], &imported["block"]), (&json!(root), &json!(9)));
    assert_eq!(json_of(&import)["was_done"], json!(true));
    assert_eq!(json_of(&["verify", "--datadir", text(&copy)])["accounts"], json!(entries.len()));
    let compacted = json_of(&["compact", "--datadir", text(&copy)]);
    assert_eq!(compacted["before"]["live_bytes"], compacted["after"]["live_bytes"]);
    let stats = json_of(&["stats", "--datadir", text(&copy)]);
    assert_eq!((&stats["root"], &stats["pending_blocks"]), (&json!(root), &json!(0)));
    // A page that rots is found.
    let mut pages = fs::read(copy.join("pages")).unwrap();
    let (live, _) = pages.as_chunks_mut::<4096>();
    live.iter_mut().skip(2).filter(|page| page[12] == 1).for_each(|page| page[2_000] ^= 1);
    fs::write(copy.join("pages"), pages).unwrap();
    let (code, stdout, _) = state(&["verify", "--datadir", text(&copy)]);
    assert!(code == 1 && stdout.starts_with("DAMAGED: page "), "{code}: {stdout}");
}

#[test]
fn a_profile_says_how_much_of_the_disk_a_store_may_take() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("genesis.json"), genesis(&entries())).unwrap();
    let profile = "name = 'small'\ndescription = 'small segments'\n[storage]\njournal_segment_mib = 1\n";
    fs::write(at("small.toml"), profile).unwrap();
    let journal_bytes = |datadir: &str, more: &[&str]| {
        let (source, datadir) = (at("genesis.json"), at(datadir));
        json_of(&[&["import", text(&source), "--datadir", text(&datadir)], more].concat());
        let stats = json_of(&[&["stats", "--datadir", text(&datadir)], more].concat());
        stats["journal_bytes"].as_u64().unwrap()
    };
    let small = at("small.toml");
    assert_eq!(journal_bytes("a", &["--profile", text(&small)]), 1 << 20);
    assert_eq!(journal_bytes("b", &[]), 64 << 20);
    let datadir = at("c");
    let (source, none) = (at("genesis.json"), at("none.toml"));
    let arguments = ["import", text(&source), "--datadir", text(&datadir), "--profile", text(&none)];
    let (code, _, stderr) = state(&arguments);
    assert!(code == 2 && stderr.contains("none.toml"), "{code}: {stderr}");
}

#[test]
fn what_cannot_be_imported_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let entries = entries();
    let genesis_file = at("genesis.json");
    fs::write(&genesis_file, genesis(&entries)).unwrap();
    let line = json!({"address": Address::repeat_byte(1), "balance": "0x1"}).to_string();
    let lines_file = at("lines.jsonl");
    fs::write(&lines_file, line).unwrap();
    let hashed = geth(&Address::repeat_byte(1), &entries[&Address::ZERO]);
    let mut without = hashed.clone();
    without.as_object_mut().unwrap().remove("address");
    let mut other_code = hashed;
    other_code["code"] = json!("0x01");
    for (name, account) in [("without", &without), ("other", &other_code)] {
        fs::write(at(name), format!("{{\"root\": \"{HASH}\"}}\n{account}\n")).unwrap();
    }
    let hash = HASH.to_string();
    let block = ["--block", "9", "--block-hash", &hash];
    let refused = |source: &Path, datadir: &str, more: &[&str]| {
        let datadir = at(datadir);
        let arguments = ["import", text(source), "--datadir", text(&datadir)];
        let (code, _, stderr) = state(&[&arguments[..], more].concat());
        assert_eq!(code, 2, "{stderr}");
        stderr
    };
    let stderr = refused(&lines_file, "a", &[]);
    assert!(stderr.contains("expected --block and --block-hash"), "{stderr}");
    let stderr = refused(&genesis_file, "b", &["--root", &hash]);
    assert!(stderr.contains("not 0x7777"), "{stderr}");
    for command in ["verify", "stats", "compact"] {
        let (code, _, stderr) = state(&[command, "--datadir", text(&at("b"))]);
        assert!(code == 2 && stderr.contains("citius state import --datadir"), "{stderr}");
        let (code, _, stderr) = state(&[command, "--datadir", text(folder.path())]);
        assert!(code == 2 && stderr.contains("holds no state"), "{stderr}");
    }
    let stderr = refused(&lines_file, "b", &block);
    assert!(stderr.contains("another source"), "{stderr}");
    json_of(&["import", text(&genesis_file), "--datadir", text(&at("b"))]);
    let stderr = refused(&lines_file, "b", &block);
    assert!(stderr.contains("holds a state already"), "{stderr}");
    let stderr = refused(&at("without"), "c", &block);
    assert!(stderr.contains("field `address` is missing"), "{stderr}");
    let stderr = refused(&at("other"), "d", &block);
    assert!(stderr.contains("field `codeHash`"), "{stderr}");
    fs::create_dir(at("empty")).unwrap();
    let stderr = refused(&at("empty"), "e", &[]);
    assert!(stderr.contains("no snapshot that is whole"), "{stderr}");
}

/// Three batches of lines, each a step; killed at any moment, the same command goes on.
#[test]
fn an_import_that_is_killed_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = at("leaves.jsonl");
    let mut lines = String::new();
    for index in 0..1_600_u64 {
        let address = Address::left_padding_from(&index.to_be_bytes());
        let code = index.to_be_bytes().repeat(3_000);
        let code = hex::encode_prefixed(code);
        lines.push_str(&json!({"address": address, "balance": "0x1", "code": code}).to_string());
        lines.push('\n');
    }
    fs::write(&source, lines).unwrap();
    let (_, root, _) = state(&["root", text(&source)]);
    let root = root.trim();
    let datadir = at("state");
    let hash = HASH.to_string();
    let arguments = ["state", "import", text(&source), "--datadir", text(&datadir), "--step", "1", "--json"];
    let more = ["--block", "9", "--block-hash", &hash, "--root", root];
    let mut halves = 0;
    for round in 0..4 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_citius"))
            .args(arguments)
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Until its first step, or a while more.
        let begun = fs::metadata(datadir.join("pages")).map_or(0, |pages| pages.len());
        while fs::metadata(datadir.join("pages")).map_or(0, |pages| pages.len()) <= begun + (1 << 20)
            && child.try_wait().unwrap().is_none()
        {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(20 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let (code, _, stderr) = state(&["verify", "--datadir", text(&datadir)]);
        halves += u32::from(code == 2 && stderr.contains("half imported"));
    }
    assert!(halves > 0, "it was never killed between its steps");
    let imported = json_of(&[&arguments[1..7], &more].concat());
    assert_eq!(imported["root"], json!(root));
    let verified = json_of(&["verify", "--datadir", text(&datadir)]);
    assert_eq!((&verified["accounts"], &verified["codes"]), (&json!(1_600), &json!(1_600)));
}
