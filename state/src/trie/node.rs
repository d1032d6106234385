//! Nodes as they lie in memory: a short head, references to the children, and the node's own RLP.
//!
//! ```text
//! leaf       kind u8 | stamp u8 | rlp_len u16 |                                                    RLP
//! account    kind u8 | stamp u8 | rlp_len u16 | storage root u32 | storage leaves u32 |            RLP
//! extension  kind u8 | stamp u8 | rlp_len u16 | child u32 |                                        RLP
//! branch     kind u8 | stamp u8 | rlp_len u16 | children u16 | inlined children u16 | child u32 .. RLP
//! ```
//!
//! Beside the kind (two bits) stand how often the node was written (two bits), and one bit that says that it was just read from where
//! it is stored. The stamp says when it was last written ([`Stamp`]).
//!
//! Numbers are little endian; a branch has as many references as children, lowest nibble first. The RLP is what is
//! hashed, proven and put into witnesses; a hash in it counts only while its child's reference is not *fresh*. A
//! node below 32 bytes stands in its parent's RLP ([Yellow Paper, appendix D][yp]) and in a place of its own.
//!
//! [yp]: https://ethereum.github.io/yellowpaper/paper.pdf

pub(crate) use super::child::{Child, ITEM_MAX, NodeRef};

use super::{arena::Arena, path::HexPrefix, rlp};

/// Children of a branch.
pub(crate) const WIDTH: usize = 16;
/// Bytes of a hash.
pub(crate) const HASH: usize = 32;
/// Bytes of a value at most.
pub const VALUE_BYTES_MAX: usize = 60_000;

const HEAD: usize = 4;
const ACCOUNT_HEAD: usize = HEAD + 8;
const EXTENSION_HEAD: usize = HEAD + 4;
const BRANCH_HEAD: usize = HEAD + 4;

/// An account's storage, as its leaf knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StorageRef {
    /// The root of its storage trie.
    pub(crate) root: NodeRef,
    /// How many slots it has, if nothing of it is blinded.
    pub(crate) leaves: u32,
}

/// What kind of node it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Leaf,
    Account,
    Extension,
    Branch,
}

/// The bits of a node's first byte: its kind; how often it was written; whether it was read and not written since.
const KIND: u8 = 0b11;
const OFTEN: u8 = 0b1100;
const OFTEN_ONCE: u8 = 0b100;
const READ: u8 = 0b1000_0000;

#[inline]
pub(crate) fn kind(node: &[u8]) -> Kind {
    match node[0] & KIND {
        0 => Kind::Leaf,
        1 => Kind::Account,
        2 => Kind::Extension,
        _ => Kind::Branch,
    }
}

#[inline]
fn u16_at(node: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([node[at], node[at + 1]])
}

#[inline]
fn u32_at(node: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([node[at], node[at + 1], node[at + 2], node[at + 3]])
}

#[inline]
fn head_len(node: &[u8]) -> usize {
    match kind(node) {
        Kind::Leaf => HEAD,
        Kind::Account => ACCOUNT_HEAD,
        Kind::Extension => EXTENSION_HEAD,
        Kind::Branch => BRANCH_HEAD + 4 * below_all(children(node)),
    }
}

#[inline]
fn rlp_len(node: &[u8]) -> usize {
    usize::from(u16_at(node, 2))
}

/// Bytes of a node in memory.
#[inline]
pub(crate) fn bytes_of(node: &[u8]) -> usize {
    head_len(node) + rlp_len(node)
}

/// A node's RLP.
#[inline]
pub(crate) fn rlp_of(node: &[u8]) -> &[u8] {
    let head = head_len(node);
    &node[head..head + rlp_len(node)]
}

fn payload(rlp: &[u8]) -> &[u8] {
    let Some(header) = rlp::header(rlp) else { panic!("a node in memory is a list") };
    &rlp[header.len..]
}

fn first_item(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some((_, item, rest)) = rlp::split(bytes) else { panic!("a node in memory has all its items") };
    (item, rest)
}

/// Path and value of a leaf.
pub(crate) fn leaf(node: &[u8]) -> (HexPrefix<'_>, &[u8]) {
    let (path, rest) = first_item(payload(rlp_of(node)));
    (HexPrefix::new(path), first_item(rest).0)
}

/// The storage of an account's leaf.
pub(crate) fn storage(node: &[u8]) -> Option<StorageRef> {
    (kind(node) == Kind::Account)
        .then(|| StorageRef { root: NodeRef::from_bits(u32_at(node, HEAD)), leaves: u32_at(node, HEAD + 4) })
}

/// Path and child of an extension.
pub(crate) fn extension(node: &[u8]) -> (HexPrefix<'_>, Child) {
    let (path, item) = first_item(payload(rlp_of(node)));
    (HexPrefix::new(path), Child::with_item(NodeRef::from_bits(u32_at(node, HEAD)), item))
}

/// Which children a branch has.
#[inline]
pub(crate) fn children(node: &[u8]) -> u16 {
    u16_at(node, HEAD)
}

#[inline]
fn inlined(node: &[u8]) -> u16 {
    u16_at(node, HEAD + 2)
}

#[inline]
fn place_of_ref(node: &[u8], nibble: u8) -> usize {
    BRANCH_HEAD + 4 * below(children(node), nibble)
}

/// How many bits are set below one.
#[inline]
fn below(mask: u16, nibble: u8) -> usize {
    if mask == u16::MAX {
        // The upper levels are full, and counting bits is not one instruction on every processor.
        return usize::from(nibble);
    }
    (mask & ((1 << nibble) - 1)).count_ones() as usize
}

#[inline]
fn below_all(mask: u16) -> usize {
    if mask == u16::MAX { WIDTH } else { mask.count_ones() as usize }
}

/// The nibbles and references of a branch's fresh children.
pub(crate) fn fresh_children(node: &[u8]) -> impl Iterator<Item = (u8, NodeRef)> {
    let mut mask = children(node);
    node[BRANCH_HEAD..head_len(node)].chunks_exact(4).filter_map(move |bytes| {
        let nibble = mask.trailing_zeros() as u8;
        mask &= mask - 1;
        let child = NodeRef::from_bits(u32_at(bytes, 0));
        child.is_fresh().then_some((nibble, child))
    })
}

/// Where a child of a branch is, or [`NodeRef::EMPTY`].
#[inline]
pub(crate) fn child_ref(node: &[u8], nibble: u8) -> NodeRef {
    if children(node) >> nibble & 1 == 0 {
        return NodeRef::EMPTY;
    }
    NodeRef::from_bits(u32_at(node, place_of_ref(node, nibble)))
}

/// Where a child's item begins in a branch's RLP.
#[inline]
fn item_start(node: &[u8], rlp: &[u8], nibble: u8) -> usize {
    let first = rlp[0];
    let header = if first <= 0xf7 { 1 } else { usize::from(first - 0xf7) + 1 };
    let inlined = inlined(node) & ((1 << nibble) - 1);
    let mut start = header + usize::from(nibble) + HASH * below(children(node), nibble);
    if inlined != 0 {
        // What is inlined is a list below 56 bytes: its first byte tells its length.
        start = header;
        for before in 0..nibble {
            start += match (children(node) >> before & 1, inlined >> before & 1) {
                (0, _) => 1,
                (_, 0) => ITEM_MAX,
                _ => 1 + usize::from(rlp[start] - 0xc0),
            };
        }
    }
    start
}

/// A child of a branch.
#[inline]
pub(crate) fn child(node: &[u8], nibble: u8) -> Child {
    let reference = child_ref(node, nibble);
    if reference == NodeRef::EMPTY {
        return Child::EMPTY;
    }
    let rlp = rlp_of(node);
    let start = item_start(node, rlp, nibble);
    let is_inlined = inlined(node) >> nibble & 1 != 0;
    let len = if is_inlined { 1 + usize::from(rlp[start] - 0xc0) } else { ITEM_MAX };
    Child::with_item(reference, &rlp[start..start + len])
}

/// The value of a branch, empty if it has none.
pub(crate) fn branch_value(node: &[u8]) -> &[u8] {
    let rlp = rlp_of(node);
    if rlp.last() == Some(&0x80) && children(node) == u16::MAX && inlined(node) == 0 {
        return &[];
    }
    let start = item_start(node, rlp, WIDTH as u8 - 1);
    let (_, rest) = child_item(node, rlp, start);
    first_item(rest).0
}

fn child_item<'a>(node: &[u8], rlp: &'a [u8], start: usize) -> (&'a [u8], &'a [u8]) {
    let last = WIDTH - 1;
    let len = match (children(node) >> last & 1, inlined(node) >> last & 1) {
        (0, _) => 1,
        (_, 0) => ITEM_MAX,
        _ => 1 + usize::from(rlp[start] - 0xc0),
    };
    rlp[start..].split_at(len)
}

/// When a node was last written: a period of time by its number, which comes round again. 0 if that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stamp(u8);

impl Stamp {
    /// Periods until a number comes round again.
    const ROUND: u64 = 255;

    /// The stamp of what is written in a period.
    pub(crate) fn of(period: u64) -> Self {
        Self((period % Self::ROUND) as u8 + 1)
    }

    /// Whether it is known to be that of a period before the last `periods` ones, of which `now` is the last.
    pub(crate) fn is_before(self, periods: u64, now: Self) -> bool {
        let age = (u64::from(now.0) + Self::ROUND - u64::from(self.0)) % Self::ROUND;
        self.0 != 0 && age >= periods
    }

    pub(crate) fn is_known(self) -> bool {
        self.0 != 0
    }
}

/// When a node was last written.
pub(crate) fn stamp(node: &[u8]) -> Stamp {
    Stamp(node[1])
}

/// Says when a node was last written.
pub(crate) fn set_stamp(node: &mut [u8], stamp: Stamp) {
    node[1] = stamp.0;
}

/// Takes note that a node is written, or made: `now`, unless it was just read; then it is what it was at `then`.
#[inline]
pub(crate) fn write_stamp(node: &mut [u8], now: Stamp, then: Stamp) {
    if node[0] & READ != 0 {
        node[0] &= !READ;
        node[1] = then.0;
        return;
    }
    if node[1] != 0 && node[1] != now.0 && node[0] & OFTEN != OFTEN {
        node[0] += OFTEN_ONCE;
    }
    node[1] = now.0;
}

/// Says that a node is as it was stored.
pub(crate) fn mark_read(node: &mut [u8]) {
    node[0] |= READ;
}

/// Says that a node is not as it was stored.
#[inline]
pub(crate) fn mark_written(node: &mut [u8]) {
    node[0] &= !READ;
}

/// Counts a node's writes down; whether there were none.
pub(crate) fn forget_write(node: &mut [u8]) -> bool {
    if node[0] & OFTEN == 0 {
        return true;
    }
    node[0] -= OFTEN_ONCE;
    false
}

fn begin(node: &mut [u8], kind: u8, rlp_len: usize) {
    assert!(rlp_len <= usize::from(u16::MAX), "a node's RLP of {rlp_len} bytes");
    node[0] = kind;
    node[1] = 0;
    node[2..4].copy_from_slice(&(rlp_len as u16).to_le_bytes());
}

/// Makes a leaf whose path is what `write_path` writes into `path_len` bytes.
pub(crate) fn make_leaf(
    arena: &mut Arena,
    path_len: usize,
    write_path: impl FnOnce(&mut [u8]),
    value: &[u8],
    storage: Option<StorageRef>,
) -> NodeRef {
    let place = arena.allocate(leaf_bytes(path_len, value, storage.is_some()));
    write_leaf(arena.bytes_mut(place), path_len, write_path, value, storage);
    place
}

fn leaf_payload(path_len: usize, value: &[u8]) -> usize {
    let path_item = if path_len == 1 { 1 } else { rlp::header_len(path_len) + path_len };
    path_item + rlp::string_len(value)
}

/// Bytes that a leaf takes in memory.
pub(crate) fn leaf_bytes(path_len: usize, value: &[u8], is_account: bool) -> usize {
    let payload = leaf_payload(path_len, value);
    let head = if is_account { ACCOUNT_HEAD } else { HEAD };
    head + rlp::header_len(payload) + payload
}

/// Writes a leaf, as [`make_leaf`] makes one, into a place that is large enough.
pub(crate) fn write_leaf(
    node: &mut [u8],
    path_len: usize,
    write_path: impl FnOnce(&mut [u8]),
    value: &[u8],
    storage: Option<StorageRef>,
) {
    let payload = leaf_payload(path_len, value);
    let rlp_len = rlp::header_len(payload) + payload;
    let head = if storage.is_some() { ACCOUNT_HEAD } else { HEAD };
    begin(node, if storage.is_some() { 1 } else { 0 }, rlp_len);
    if let Some(storage) = storage {
        node[HEAD..HEAD + 4].copy_from_slice(&storage.root.bits().to_le_bytes());
        node[HEAD + 4..HEAD + 8].copy_from_slice(&storage.leaves.to_le_bytes());
    }
    let rlp = &mut node[head..head + rlp_len];
    let mut at = rlp::write_list_header(rlp, payload);
    at += write_path_item(&mut rlp[at..], path_len, write_path);
    rlp::write_string(&mut rlp[at..], value);
}

/// Writes a path's item; a path of one byte is below 0x80 and stands for itself.
fn write_path_item(target: &mut [u8], len: usize, write_path: impl FnOnce(&mut [u8])) -> usize {
    if len == 1 {
        write_path(&mut target[..1]);
        return 1;
    }
    let header = rlp::header_len(len);
    if len <= 55 {
        target[0] = 0x80 + len as u8;
    } else {
        // As a list's header, but for the first byte.
        rlp::write_list_header(target, len);
        target[0] -= 0x40;
    }
    write_path(&mut target[header..header + len]);
    header + len
}

/// Makes an extension whose path is what `write_path` writes into `path_len` bytes.
pub(crate) fn make_extension(
    arena: &mut Arena,
    path_len: usize,
    write_path: impl FnOnce(&mut [u8]),
    child: &Child,
) -> NodeRef {
    let rlp_len = extension_rlp_len(path_len, child);
    let place = arena.allocate(EXTENSION_HEAD + rlp_len);
    let node = arena.bytes_mut(place);
    begin(node, 2, rlp_len);
    node[HEAD..HEAD + 4].copy_from_slice(&child.node.bits().to_le_bytes());
    write_extension(&mut node[EXTENSION_HEAD..EXTENSION_HEAD + rlp_len], path_len, write_path, child);
    place
}

/// Bytes of an extension's RLP.
pub(crate) fn extension_rlp_len(path_len: usize, child: &Child) -> usize {
    let path_item = if path_len == 1 { 1 } else { rlp::header_len(path_len) + path_len };
    let payload = path_item + child.item().len();
    rlp::header_len(payload) + payload
}

/// Writes an extension's RLP.
pub(crate) fn write_extension(
    rlp: &mut [u8],
    path_len: usize,
    write_path: impl FnOnce(&mut [u8]),
    child: &Child,
) {
    let path_item = if path_len == 1 { 1 } else { rlp::header_len(path_len) + path_len };
    let mut at = rlp::write_list_header(rlp, path_item + child.item().len());
    at += write_path_item(&mut rlp[at..], path_len, write_path);
    rlp[at..at + child.item().len()].copy_from_slice(child.item());
}

/// Makes a branch. It must have two children, or a child and a value.
pub(crate) fn make_branch(arena: &mut Arena, children: &[Child; WIDTH], value: &[u8]) -> NodeRef {
    let mut present = 0_u16;
    let mut inlined = 0_u16;
    for (nibble, child) in children.iter().enumerate() {
        present |= u16::from(!child.is_empty()) << nibble;
        inlined |= u16::from(!child.is_empty() && !child.is_hashed()) << nibble;
    }
    let rlp_len = branch_rlp_len(children, value);
    let refs = 4 * present.count_ones() as usize;
    let place = arena.allocate(BRANCH_HEAD + refs + rlp_len);
    let node = arena.bytes_mut(place);
    begin(node, 3, rlp_len);
    node[HEAD..HEAD + 2].copy_from_slice(&present.to_le_bytes());
    node[HEAD + 2..HEAD + 4].copy_from_slice(&inlined.to_le_bytes());
    let present = children.iter().filter(|child| !child.is_empty());
    for (place, child) in node[BRANCH_HEAD..BRANCH_HEAD + refs].chunks_exact_mut(4).zip(present) {
        place.copy_from_slice(&child.node.bits().to_le_bytes());
    }
    write_branch(&mut node[BRANCH_HEAD + refs..BRANCH_HEAD + refs + rlp_len], children, value);
    place
}

/// Whether it is a branch without a value, for all of whose children hashes stand.
pub(crate) fn is_plain_branch(node: &[u8]) -> bool {
    kind(node) == Kind::Branch
        && inlined(node) == 0
        && rlp_len(node) == plain_rlp_len(below_all(children(node))).0
        && rlp_of(node).last() == Some(&0x80)
}

/// Bytes of the RLP of a plain branch with so many children, and of its header.
fn plain_rlp_len(children: usize) -> (usize, usize) {
    let payload = WIDTH + 1 + HASH * children;
    (rlp::header_len(payload) + payload, payload)
}

/// Bytes that a plain branch takes in memory.
pub(crate) fn plain_branch_bytes(children: u16) -> usize {
    let count = children.count_ones() as usize;
    BRANCH_HEAD + 4 * count + plain_rlp_len(count).0
}

/// Writes a plain branch whose children, and their hashes, are put in later.
pub(crate) fn write_plain_branch(target: &mut [u8], present: u16) {
    let count = below_all(present);
    let (rlp_len, payload) = plain_rlp_len(count);
    begin(target, 3, rlp_len);
    target[HEAD..HEAD + 2].copy_from_slice(&present.to_le_bytes());
    target[HEAD + 2..HEAD + 4].fill(0);
    let rlp = &mut target[BRANCH_HEAD + 4 * count..];
    let mut at = rlp::write_list_header(rlp, payload);
    for nibble in 0..WIDTH {
        let is_there = present >> nibble & 1 != 0;
        rlp[at] = if is_there { 0xa0 } else { 0x80 };
        at += if is_there { ITEM_MAX } else { 1 };
    }
    rlp[at] = 0x80;
}

/// Writes a plain branch with the children of another one, but for those listed by nibble: these are new, and their hashes
/// are put in later, or they are gone.
pub(crate) fn write_remade(target: &mut [u8], old: &[u8], changes: &[(u8, NodeRef)]) {
    let mut present = children(old);
    for (nibble, child) in changes {
        present = present & !(1 << nibble) | u16::from(*child != NodeRef::EMPTY) << nibble;
    }
    let count = present.count_ones() as usize;
    let (rlp_len, payload) = plain_rlp_len(count);
    begin(target, 3, rlp_len);
    target[HEAD..HEAD + 2].copy_from_slice(&present.to_le_bytes());
    target[HEAD + 2..HEAD + 4].fill(0);
    let (refs, rlp) = target[BRANCH_HEAD..].split_at_mut(4 * count);
    let mut refs = refs.chunks_exact_mut(4);
    let mut at = rlp::write_list_header(rlp, payload);
    let old_rlp = rlp_of(old);
    let (mut old_ref, mut old_item) =
        (BRANCH_HEAD, old_rlp.len() - plain_rlp_len(below_all(children(old))).1);
    for nibble in 0..WIDTH {
        let was_there = children(old) >> nibble & 1 != 0;
        if present >> nibble & 1 == 0 {
            rlp[at] = 0x80;
            at += 1;
        } else {
            let place = refs.next().unwrap_or_default();
            match changes.iter().find(|(changed, _)| usize::from(*changed) == nibble) {
                Some((_, child)) => {
                    place.copy_from_slice(&child.bits().to_le_bytes());
                    rlp[at] = 0xa0;
                }
                None => {
                    place.copy_from_slice(&old[old_ref..old_ref + 4]);
                    rlp[at..at + ITEM_MAX].copy_from_slice(&old_rlp[old_item..old_item + ITEM_MAX]);
                }
            }
            at += ITEM_MAX;
        }
        old_ref += if was_there { 4 } else { 0 };
        old_item += if was_there { ITEM_MAX } else { 1 };
    }
    rlp[at] = 0x80;
}

fn branch_payload(children: &[Child; WIDTH], value: &[u8]) -> usize {
    children.iter().map(|child| child.item().len()).sum::<usize>() + rlp::string_len(value)
}

/// Bytes of a branch's RLP.
pub(crate) fn branch_rlp_len(children: &[Child; WIDTH], value: &[u8]) -> usize {
    let payload = branch_payload(children, value);
    rlp::header_len(payload) + payload
}

/// Writes a branch's RLP.
pub(crate) fn write_branch(rlp: &mut [u8], children: &[Child; WIDTH], value: &[u8]) {
    let mut at = rlp::write_list_header(rlp, branch_payload(children, value));
    for child in children {
        rlp[at..at + child.item().len()].copy_from_slice(child.item());
        at += child.item().len();
    }
    rlp::write_string(&mut rlp[at..], value);
}

/// Whether a branch has a child for which a hash stands.
pub(crate) fn has_hashed_child(node: &[u8], nibble: u8) -> bool {
    (children(node) & !inlined(node)) >> nibble & 1 != 0
}

/// The hash that stands for a child.
pub(crate) fn hash_of_child(node: &[u8], nibble: u8) -> [u8; HASH] {
    let (_, start) = places_of(node, nibble);
    let mut hash = [0; HASH];
    hash.copy_from_slice(&node[start..start + HASH]);
    hash
}

/// Where a child's reference and its hash are in a branch or extension, in bytes.
#[inline]
fn places_of(node: &[u8], nibble: u8) -> (usize, usize) {
    match kind(node) {
        Kind::Branch => {
            let rlp = rlp_of(node);
            (place_of_ref(node, nibble), head_len(node) + item_start(node, rlp, nibble) + 1)
        }
        Kind::Extension => (HEAD, bytes_of(node).saturating_sub(HASH)),
        Kind::Leaf | Kind::Account => panic!("a leaf has no child"),
    }
}

/// Puts another child in the place of one for which a hash stands, and gives back what was there.
#[inline]
pub(crate) fn exchange_child(
    node: &mut [u8],
    nibble: u8,
    child: NodeRef,
    hash: &[u8; HASH],
) -> (NodeRef, [u8; HASH]) {
    let (reference, start) = places_of(node, nibble);
    let old = NodeRef::from_bits(u32_at(node, reference));
    let mut old_hash = [0; HASH];
    old_hash.copy_from_slice(&node[start..start + HASH]);
    node[reference..reference + 4].copy_from_slice(&child.bits().to_le_bytes());
    node[start..start + HASH].copy_from_slice(hash);
    (old, old_hash)
}

/// Puts the hash of a fresh child in its place, and says that it is settled. A child that stands in its parent whole
/// has no hash.
#[inline]
pub(crate) fn settle_child(node: &mut [u8], nibble: u8, hash: Option<&[u8; HASH]>) {
    let (reference, start) = places_of(node, nibble);
    let child = NodeRef::from_bits(u32_at(node, reference)).settled();
    node[reference..reference + 4].copy_from_slice(&child.bits().to_le_bytes());
    if let Some(hash) = hash {
        node[start..start + HASH].copy_from_slice(hash);
    }
}
