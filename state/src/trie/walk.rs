//! Ways through one arena's trie: to a value, and along the nodes that prove it.

use super::{
    arena::Arena,
    node::{self, Child, Kind},
    path::nibble,
    update::Blinded,
};

/// The node at a key's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// Nothing has this key.
    Absent,
    /// The value, and the whole node if it is a leaf.
    Value { value: &'a [u8], leaf: Option<&'a [u8]> },
}

/// Looks a key up below `child`, which is `depth` nibbles below the root. `visit` sees the RLP of each node on the
/// way that stands for itself (is no part of its parent).
///
/// # Errors
///
/// [`Blinded`] if the way leads through a node that is not there.
pub(crate) fn find<'a>(
    arena: &'a Arena,
    child: Child,
    depth: usize,
    key: &[u8],
    mut visit: impl FnMut(&'a [u8]),
) -> Result<Found<'a>, Blinded> {
    trace(arena, child, depth, key, |_, rlp| visit(rlp))
}

/// As [`find`]; `visit` is told how many nibbles stand above each node, too.
///
/// # Errors
///
/// [`Blinded`], as there.
pub(crate) fn trace<'a>(
    arena: &'a Arena,
    mut child: Child,
    mut depth: usize,
    key: &[u8],
    mut visit: impl FnMut(usize, &'a [u8]),
) -> Result<Found<'a>, Blinded> {
    loop {
        if child.is_empty() {
            return Ok(Found::Absent);
        }
        if child.node.is_blinded() {
            return Err(Blinded::at(key, depth));
        }
        let bytes = arena.bytes(child.node);
        if child.is_hashed() {
            visit(depth, node::rlp_of(bytes));
        }
        match node::kind(bytes) {
            Kind::Leaf | Kind::Account => {
                let (path, value) = node::leaf(bytes);
                let is_here = path.matches(key, depth) == path.len() && depth + path.len() == 2 * key.len();
                return Ok(if is_here { Found::Value { value, leaf: Some(bytes) } } else { Found::Absent });
            }
            Kind::Extension => {
                let (path, below) = node::extension(bytes);
                if path.matches(key, depth) < path.len() {
                    return Ok(Found::Absent);
                }
                depth += path.len();
                child = below;
            }
            Kind::Branch if depth == 2 * key.len() => {
                let value = node::branch_value(bytes);
                return Ok(if value.is_empty() { Found::Absent } else { Found::Value { value, leaf: None } });
            }
            Kind::Branch => {
                child = node::child(bytes, nibble(key, depth));
                depth += 1;
            }
        }
    }
}
