//! The TrieTests of `ethereum/tests`, from the folder that `CITIUS_ETHEREUM_TESTS` names.

use crate::naive::{self, Map};
use alloy_primitives::{B256, hex, keccak256};
use citius_hashing::Hasher;
use citius_state::trie::Trie;
use serde_json::Value;
use std::{env, fs::File, io::Read, path::Path};

/// Files of the archive: text and bytes of each.
fn files(folder: &Path) -> Vec<(String, Value)> {
    let archive = File::open(folder.join("TrieTests.tar.zst")).unwrap();
    let mut archive = tar::Archive::new(zstd::Decoder::new(archive).unwrap());
    let mut files = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        if path.ends_with(".json") {
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            files.push((path, serde_json::from_str(&text).unwrap()));
        }
    }
    files
}

fn bytes(text: &str) -> Vec<u8> {
    match text.strip_prefix("0x") {
        Some(digits) => hex::decode(digits).unwrap(),
        None => text.as_bytes().to_vec(),
    }
}

/// A key, and its value unless it is deleted.
type OwnWrite = (Vec<u8>, Option<Vec<u8>>);

/// The writes of a test in order: a list of pairs, or a map whose order is not to matter.
fn writes(input: &Value) -> (Vec<OwnWrite>, bool) {
    let value = |value: &Value| value.as_str().map(bytes);
    match input {
        Value::Array(pairs) => {
            let pair = |pair: &Value| (bytes(pair[0].as_str().unwrap()), value(&pair[1]));
            (pairs.iter().map(pair).collect(), true)
        }
        Value::Object(map) => (map.iter().map(|(key, of)| (bytes(key), value(of))).collect(), false),
        other => panic!("{other}"),
    }
}

fn root_one_by_one(writes: &[OwnWrite], asks_often: bool) -> B256 {
    let hasher = Hasher::cpu();
    let mut trie = Trie::new();
    for (key, value) in writes {
        trie.write(&[(key.as_slice(), value.as_deref())]).unwrap();
        if asks_often {
            trie.root(&hasher);
        }
    }
    trie.root(&hasher)
}

#[test]
fn official_tries_have_their_roots() {
    let Some(folder) = env::var_os("CITIUS_ETHEREUM_TESTS") else {
        eprintln!("skipped: TrieTests, since CITIUS_ETHEREUM_TESTS is not set");
        return;
    };
    let mut tests = 0;
    for (path, file) in files(Path::new(&folder)) {
        if path.ends_with("trietestnextprev.json") {
            eprintln!("skipped: {path}: it asks for neighbours of keys, which no root depends on");
            continue;
        }
        let is_secure = path.to_lowercase().contains("secure");
        for (name, test) in file.as_object().unwrap() {
            let (mut writes, is_ordered) = writes(&test["in"]);
            if is_secure {
                for (key, _) in &mut writes {
                    *key = keccak256(&*key).to_vec();
                }
            }
            let expected: B256 = test["root"].as_str().unwrap().parse().unwrap();
            assert_eq!(root_one_by_one(&writes, false), expected, "{path} {name}");
            assert_eq!(root_one_by_one(&writes, true), expected, "{path} {name}");
            let borrowed: Vec<(&[u8], Option<&[u8]>)> =
                writes.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
            let mut at_once = Trie::new();
            at_once.write(&borrowed).unwrap();
            assert_eq!(at_once.root(&Hasher::cpu()), expected, "{path} {name} at once");
            if !is_ordered {
                writes.reverse();
                assert_eq!(root_one_by_one(&writes, false), expected, "{path} {name} backwards");
            }
            let mut map = Map::new();
            for (key, value) in writes {
                match value {
                    Some(value) => map.insert(key, value),
                    None => map.remove(&key),
                };
            }
            assert_eq!(naive::root(&map), expected, "{path} {name}: the definition");
            tests += 1;
        }
    }
    println!("{tests} official tries");
    assert!(tests > 10);
}
