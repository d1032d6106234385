//! Leaves and extensions outside of arenas, as their RLP.

use super::{
    node::{self, Child, HASH},
    path::{self, HexPrefix},
    rlp,
};
use alloy_primitives::B256;

/// A leaf of a trie whose key's first `depth` nibbles are above it.
pub(crate) fn leaf(key: &B256, depth: u8, value: &[u8]) -> Vec<u8> {
    let from = usize::from(depth);
    let mut encoded = [0; HASH + 1];
    let encoded = &mut encoded[..path::hex_prefix_len(2 * HASH - from)];
    path::write_key_tail(encoded, &key[..], from, 2 * HASH, true);
    let payload = rlp::string_len(encoded) + rlp::string_len(value);
    let mut out = vec![0; rlp::header_len(payload) + payload];
    let mut at = rlp::write_list_header(&mut out, payload);
    at += rlp::write_string(&mut out[at..], encoded);
    rlp::write_string(&mut out[at..], value);
    out
}

/// An extension.
pub(crate) fn extension(nibbles: &[u8], child: &Child) -> Vec<u8> {
    let path_len = path::hex_prefix_len(nibbles.len());
    let mut rlp = vec![0; node::extension_rlp_len(path_len, child)];
    node::write_extension(
        &mut rlp,
        path_len,
        |target| path::write_nibbles(target, nibbles.iter().copied(), nibbles.len(), false),
        child,
    );
    rlp
}

/// A leaf or extension with more nibbles before its path.
pub(crate) fn prefixed(above: &[u8], short: &[u8]) -> Vec<u8> {
    with_path(short, |own| above.iter().copied().chain(own.nibbles()).collect())
}

/// A leaf or extension with another path.
pub(crate) fn with_path(short: &[u8], path: impl FnOnce(HexPrefix<'_>) -> Vec<u8>) -> Vec<u8> {
    let parts = rlp::header(short).and_then(|header| rlp::split(&short[header.len..]));
    let Some((_, own, rest)) = parts else { panic!("a node is a list with a path") };
    let own = HexPrefix::new(own);
    let is_leaf = own.is_leaf();
    let nibbles = path(own);
    let mut encoded = vec![0; path::hex_prefix_len(nibbles.len())];
    path::write_nibbles(&mut encoded, nibbles.iter().copied(), nibbles.len(), is_leaf);
    let payload = rlp::string_len(&encoded) + rest.len();
    let mut out = vec![0; rlp::header_len(payload) + payload];
    let mut at = rlp::write_list_header(&mut out, payload);
    at += rlp::write_string(&mut out[at..], &encoded);
    out[at..].copy_from_slice(rest);
    out
}
