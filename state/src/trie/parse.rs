//! Nodes from outside: their RLP taken apart, with every liberty refused that the [Yellow Paper, appendix D][yp], does
//! not give, for keys of 32 bytes.
//!
//! [yp]: https://ethereum.github.io/yellowpaper/paper.pdf

use super::{
    node::{HASH, WIDTH},
    path::HexPrefix,
    rlp,
};

/// Nibbles of a key's hash.
pub(crate) const KEY_NIBBLES: usize = 64;

/// A node by its RLP. A branch has no value: keys are of one length.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
pub(crate) enum Parsed<'a> {
    Leaf { path: HexPrefix<'a>, value: &'a [u8] },
    Extension { path: HexPrefix<'a>, child: Item<'a> },
    Branch([Item<'a>; WIDTH]),
}

/// What stands in a node for a child.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Item<'a> {
    Empty,
    Hash(&'a [u8; HASH]),
    /// A node of less than 32 bytes, whole.
    Inlined(&'a [u8]),
}

/// Takes a node apart.
///
/// # Errors
///
/// What is wrong with it, if this is no node: no RLP, or not in its one canonical form; neither 2 nor 17 items; a path
/// that is none; an extension that extends nothing; a leaf or extension without value or child; a branch with
/// fewer than two children, or with a value.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed<'_>, &'static str> {
    let header = rlp::header(bytes).ok_or("it is not canonical RLP")?;
    if !header.is_list || header.total() != bytes.len() {
        return Err("it is not one RLP list");
    }
    let mut rest = &bytes[header.len..];
    let mut items: [(bool, &[u8], &[u8]); WIDTH + 1] = [(false, &[], &[]); WIDTH + 1];
    let mut count = 0;
    while !rest.is_empty() {
        let (item, payload, behind) = rlp::split(rest).ok_or("an item of it is not canonical RLP")?;
        *items.get_mut(count).ok_or("it has more than 17 items")? =
            (item.is_list, payload, &rest[..item.total()]);
        count += 1;
        rest = behind;
    }
    match count {
        2 => parse_short(items[0], items[1]),
        17 => parse_branch(&items),
        _ => Err("it has neither 2 nor 17 items"),
    }
}

fn parse_short<'a>(
    (path_is_list, path, _): (bool, &'a [u8], &'a [u8]),
    second: (bool, &'a [u8], &'a [u8]),
) -> Result<Parsed<'a>, &'static str> {
    let is_path = !path_is_list
        && path.first().is_some_and(|first| first & 0xc0 == 0 && (first & 0x10 != 0 || first & 0x0f == 0));
    if !is_path {
        return Err("its path is no hex-prefix encoding");
    }
    let path = HexPrefix::new(path);
    if path.len() > KEY_NIBBLES {
        return Err("its path is longer than 64 nibbles");
    }
    if path.is_leaf() {
        let (is_list, value, _) = second;
        if is_list || value.is_empty() {
            return Err("its value is no string, or empty");
        }
        return Ok(Parsed::Leaf { path, value });
    }
    if path.len() == 0 {
        return Err("it is an extension without a path");
    }
    match parse_item(second)? {
        Item::Empty => Err("it is an extension of nothing"),
        child => Ok(Parsed::Extension { path, child }),
    }
}

fn parse_branch<'a>(items: &[(bool, &'a [u8], &'a [u8]); WIDTH + 1]) -> Result<Parsed<'a>, &'static str> {
    let mut children = [Item::Empty; WIDTH];
    let mut count = 0;
    for (child, item) in children.iter_mut().zip(items) {
        *child = parse_item(*item)?;
        count += usize::from(!matches!(child, Item::Empty));
    }
    let (is_list, value, _) = items[WIDTH];
    if is_list || !value.is_empty() {
        return Err("it is a branch with a value, which no key of 32 bytes ends at");
    }
    if count < 2 {
        return Err("it is a branch with fewer than two children");
    }
    Ok(Parsed::Branch(children))
}

fn parse_item<'a>((is_list, payload, whole): (bool, &'a [u8], &'a [u8])) -> Result<Item<'a>, &'static str> {
    match (is_list, payload.len(), payload.first_chunk()) {
        (false, 0, _) => Ok(Item::Empty),
        (false, HASH, Some(hash)) => Ok(Item::Hash(hash)),
        (true, ..) if whole.len() < HASH => Ok(Item::Inlined(whole)),
        _ => Err("a child of it is neither a hash nor a node below 32 bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_node_is_refused_with_its_reason() {
        let cases: [(&[u8], &str); 11] = [
            (&[], "it is not canonical RLP"),
            (&[0x80], "it is not one RLP list"),
            (&[0xc2, 0x31, 0x01, 0x00], "it is not one RLP list"),
            (&[0xf8, 0x02, 0x31, 0x01], "it is not canonical RLP"),
            (&[0xc3, 0x31, 0x81, 0x01], "an item of it is not canonical RLP"),
            (&[0xc1, 0x31], "it has neither 2 nor 17 items"),
            (&[0xc2, 0x71, 0x01], "its path is no hex-prefix encoding"),
            (&[0xc2, 0x21, 0x01], "its path is no hex-prefix encoding"),
            (&[0xc2, 0x31, 0x80], "its value is no string, or empty"),
            (&[0xc2, 0x11, 0x80], "it is an extension of nothing"),
            (&[0xc3, 0x11, 0x81, 0x99], "a child of it is neither a hash nor a node below 32 bytes"),
        ];
        for (bytes, reason) in cases {
            assert_eq!(parse(bytes).unwrap_err(), reason, "{bytes:x?}");
        }
        let mut branch = [0x80; 18];
        branch[0] = 0xc0 + 17;
        assert_eq!(parse(&branch).unwrap_err(), "it is a branch with fewer than two children");
        assert!(matches!(parse(&[0xc2, 0x31, 0x01]), Ok(Parsed::Leaf { value: [1], .. })));
    }
}
