//! The trie as the Yellow Paper's appendix D defines it: a function of the whole map, without any state of its own.

use alloy_primitives::{B256, keccak256};
use std::collections::BTreeMap;

/// Keys (of any length) and values.
pub(crate) type Map = BTreeMap<Vec<u8>, Vec<u8>>;

pub(crate) fn root(map: &Map) -> B256 {
    let pairs: Vec<(Vec<u8>, &[u8])> =
        map.iter().map(|(key, value)| (nibbles(key), value.as_slice())).collect();
    keccak256(node(&pairs, 0))
}

fn nibbles(key: &[u8]) -> Vec<u8> {
    key.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).collect()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    alloy_rlp::encode(bytes)
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let payload: Vec<u8> = items.concat();
    let mut out = Vec::new();
    alloy_rlp::Header { list: true, payload_length: payload.len() }.encode(&mut out);
    out.extend(payload);
    out
}

fn hex_prefix(nibbles: &[u8], is_leaf: bool) -> Vec<u8> {
    let flag = if is_leaf { 2 } else { 0 };
    let mut all = if nibbles.len() % 2 == 1 { vec![flag + 1] } else { vec![flag, 0] };
    all.extend(nibbles);
    all.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A node's RLP; of no pairs, the empty string's.
fn node(pairs: &[(Vec<u8>, &[u8])], depth: usize) -> Vec<u8> {
    let Some((first, value)) = pairs.first() else { return string(&[]) };
    if pairs.len() == 1 {
        return list(&[string(&hex_prefix(&first[depth..], true)), string(value)]);
    }
    let shared = (depth..first.len())
        .take_while(|at| pairs.iter().all(|(key, _)| key.get(*at) == Some(&first[*at])))
        .count();
    if shared > 0 {
        let path = hex_prefix(&first[depth..depth + shared], false);
        return list(&[string(&path), item(pairs, depth + shared)]);
    }
    let mut items: Vec<Vec<u8>> = (0..16)
        .map(|nibble| {
            let below: Vec<(Vec<u8>, &[u8])> =
                pairs.iter().filter(|(key, _)| key.get(depth) == Some(&nibble)).cloned().collect();
            item(&below, depth + 1)
        })
        .collect();
    items.push(string(if first.len() == depth { value } else { &[] }));
    list(&items)
}

fn item(pairs: &[(Vec<u8>, &[u8])], depth: usize) -> Vec<u8> {
    let rlp = node(pairs, depth);
    if rlp.len() < 32 { rlp } else { string(keccak256(rlp).as_slice()) }
}
