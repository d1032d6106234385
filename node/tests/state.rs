//! `citius state`.

mod common;

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_trie::{
    TrieAccount,
    root::{state_root_unhashed, storage_root_unhashed},
};
use common::citius;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The same state as a genesis file, a leaf file and a packed one; and its root.
fn files(folder: &Path) -> ([PathBuf; 3], B256) {
    let mut alloc = serde_json::Map::new();
    let mut lines = Vec::new();
    let mut accounts = BTreeMap::new();
    for index in 0..500_u64 {
        let address = Address::left_padding_from(&(index * 0x9e37_79b9).to_be_bytes());
        let code = if index % 5 == 0 { vec![0x60, index as u8] } else { Vec::new() };
        let slots = (0..index % 9).map(|slot| (U256::from(slot), U256::from(slot * index)));
        let slots: BTreeMap<U256, U256> = slots.collect();
        let storage: serde_json::Map<_, _> = slots
            .iter()
            .map(|(slot, value)| (B256::from(*slot).to_string(), json!(B256::from(*value))))
            .collect();
        let mut entry =
            json!({"balance": U256::from(index), "nonce": format!("{index:#x}"), "storage": storage});
        if !code.is_empty() {
            entry["code"] = json!(alloy_primitives::hex::encode_prefixed(&code));
        }
        alloc.insert(address.to_string(), entry.clone());
        entry["address"] = json!(address);
        if index % 10 == 0 && !code.is_empty() {
            entry.as_object_mut().unwrap().remove("code");
            entry["codeHash"] = json!(keccak256(&code));
        }
        lines.push(entry.to_string());
        let slots = slots.into_iter().filter(|(_, value)| !value.is_zero());
        let storage_root = storage_root_unhashed(slots.map(|(slot, value)| (B256::from(slot), value)));
        let code_hash = keccak256(&code);
        accounts.insert(
            address,
            TrieAccount { nonce: index, balance: U256::from(index), storage_root, code_hash },
        );
    }
    lines.rotate_left(123);
    let genesis = json!({"config": {"chainId": 7}, "gasLimit": "0x1", "difficulty": "0x0", "alloc": alloc});
    let paths = ["genesis.json", "leaves.jsonl", "leaves.jsonl.zst"].map(|name| folder.join(name));
    fs::write(&paths[0], serde_json::to_string_pretty(&genesis).unwrap()).unwrap();
    fs::write(&paths[1], lines.join("\n")).unwrap();
    fs::write(&paths[2], zstd::encode_all(lines.join("\n").as_bytes(), 1).unwrap()).unwrap();
    (paths, state_root_unhashed(accounts))
}

#[test]
fn every_form_of_a_state_has_its_root() {
    let folder = tempfile::tempdir().unwrap();
    let (paths, root) = files(folder.path());
    for path in &paths {
        for threads in ["1", "3"] {
            let output = citius(&["state", "root", path.to_str().unwrap(), "--threads", threads]);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{stderr}");
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{root}\n"));
            assert!(output.stderr.is_empty(), "no progress where stderr is no terminal: {stderr}");
        }
    }
}

#[test]
fn build_says_what_it_took() {
    let folder = tempfile::tempdir().unwrap();
    let (paths, root) = files(folder.path());
    let arguments = ["state", "build", paths[1].to_str().unwrap(), "--threads", "2"];
    let output = citius(&[&arguments[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let built: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&built["root"], &built["accounts"]), (&json!(root), &json!(500)));
    let slots = (0..500_u64).flat_map(|index| (0..index % 9).map(move |slot| slot * index));
    assert_eq!(built["slots"], json!(slots.filter(|value| *value > 0).count()));
    assert_eq!(built["threads"], json!(2));
    for field in ["nodes_hashed", "node_bytes", "memory_bytes", "seal_ns", "total_ns", "leaves_per_second"] {
        assert!(built[field].as_u64().unwrap() > 0, "{field}: {built:#}");
    }
    let text = String::from_utf8(citius(&arguments).stdout).unwrap();
    for needle in [&format!("root     {root}"), "accounts 500", "2 threads", "leaves/s"] {
        assert!(text.contains(needle), "no {needle} in {text}");
    }
}

#[test]
fn what_is_wrong_with_a_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leaves");
    let account =
        |byte: u8, balance: &str| json!({"address": Address::repeat_byte(byte), "balance": balance});
    let cases = [
        (vec![account(1, "0x1"), account(2, "0xq")], "leaves:2: field `balance` is \"0xq\""),
        (
            vec![account(1, "0x1"), account(2, "0x1"), account(1, "0x1")],
            "leaves:3: field `address` is 0x0101",
        ),
        (vec![account(1, "0x1"), json!(7)], "leaves:2: holds 7"),
    ];
    for (lines, needle) in cases {
        fs::write(&path, lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")).unwrap();
        let output = citius(&["state", "build", path.to_str().unwrap()]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(needle), "{needle}: {stderr}");
    }
    let output = citius(&["state", "root", "no-such-file"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-file: cannot be read"));
}

#[test]
fn what_is_proven_can_be_checked_against_the_root_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (paths, root) = files(folder.path());
    let root = root.to_string();
    let of = |index: u64| Address::left_padding_from(&(index * 0x9e37_79b9).to_be_bytes()).to_string();
    let absent = Address::repeat_byte(0xee).to_string();
    let proof_file = folder.path().join("proof.json");
    let check = |proof: &Value, root: &str| {
        fs::write(&proof_file, proof.to_string()).unwrap();
        let output = citius(&["state", "check-proof", "--root", root, proof_file.to_str().unwrap()]);
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    for (address, slots) in
        [(of(8), ["0x3", "7", "100"]), (of(0), ["0", "1", "2"]), (absent, ["0", "1", "2"])]
    {
        let mut arguments = vec!["state", "prove", paths[1].to_str().unwrap(), "--address", &address];
        arguments.extend(slots.iter().flat_map(|slot| ["--slot", slot]));
        let output = citius(&arguments);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let proof: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(proof["storageProof"].as_array().unwrap().len(), 3);
        let (code, said) = check(&proof, &root);
        assert_eq!((code, said.starts_with("proven: account ")), (0, true), "{said}");
        assert_eq!(check(&json!({"jsonrpc": "2.0", "id": 1, "result": &proof}), &root).0, 0);
        assert_eq!(check(&proof, &B256::repeat_byte(1).to_string()).0, 1, "another root");
        for (pointer, value) in [
            ("/nonce", json!("0x123")),
            ("/balance", json!("0x123")),
            ("/storageProof/0/value", json!("0x123")),
            ("/accountProof", json!([])),
        ] {
            let mut wrong = proof.clone();
            *wrong.pointer_mut(pointer).unwrap() = value;
            let (code, said) = check(&wrong, &root);
            assert_eq!((code, said.starts_with("not proven: ")), (1, true), "{pointer}: {said}");
        }
    }
    let value = citius(&["state", "prove", paths[0].to_str().unwrap(), "--address", &of(8), "--slot", "3"]);
    let value: Value = serde_json::from_slice(&value.stdout).unwrap();
    assert_eq!((&value["nonce"], &value["storageProof"][0]["value"]), (&json!("0x8"), &json!("0x18")));
}

#[test]
fn what_is_no_proof_is_bad_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proof.json");
    for (text, needle) in [("{", "EOF"), ("{}", "missing field"), (r#"{"result": {}}"#, "missing field")] {
        fs::write(&file, text).unwrap();
        let output =
            citius(&["state", "check-proof", "--root", &B256::ZERO.to_string(), file.to_str().unwrap()]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("proof.json: no proof") && stderr.contains(needle), "{text}: {stderr}");
    }
    for (arguments, needle) in [
        (&["state", "check-proof", "--root", "0x12", "proof.json"][..], "--root"),
        (&["state", "prove", "genesis.json", "--address", "0x12"], "--address"),
        (
            &["state", "prove", "genesis.json", "--address", &format!("{}", Address::ZERO), "--slot", "x"],
            "--slot",
        ),
    ] {
        let output = citius(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(needle), "{arguments:?}");
    }
}

#[test]
fn help_shows_examples() {
    for command in ["", "build", "root", "prove", "check-proof"] {
        let arguments = ["state", command, "--help"].into_iter().filter(|argument| !argument.is_empty());
        let output = citius(&arguments.collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(0));
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("Examples:\n  citius state "),
            "{command:?}"
        );
    }
}
