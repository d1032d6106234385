//! What of [RLP](https://ethereum.org/en/developers/docs/data-structures-and-encoding/rlp/) trie nodes are made of.
//!
//! Nodes are written and patched in place, byte by byte; everything else that is RLP goes through `alloy-rlp`.

/// Bytes of a string item.
pub(crate) fn string_len(bytes: &[u8]) -> usize {
    match bytes {
        [byte] if *byte < 0x80 => 1,
        _ => header_len(bytes.len()) + bytes.len(),
    }
}

/// Bytes of the header of so many bytes.
#[inline]
pub(crate) fn header_len(payload: usize) -> usize {
    match payload {
        0..=55 => 1,
        56..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xff_ffff => 4,
        _ => 5,
    }
}

/// Writes a string item, and says how many bytes it took.
pub(crate) fn write_string(target: &mut [u8], bytes: &[u8]) -> usize {
    if let [byte] = bytes
        && *byte < 0x80
    {
        target[0] = *byte;
        return 1;
    }
    let header = write_header(target, 0x80, bytes.len());
    target[header..header + bytes.len()].copy_from_slice(bytes);
    header + bytes.len()
}

/// Writes a list's header, and says how many bytes it took.
pub(crate) fn write_list_header(target: &mut [u8], payload: usize) -> usize {
    write_header(target, 0xc0, payload)
}

fn write_header(target: &mut [u8], offset: u8, payload: usize) -> usize {
    if payload <= 55 {
        target[0] = offset + payload as u8;
        return 1;
    }
    let bytes = (payload as u32).to_be_bytes();
    let len = header_len(payload) - 1;
    target[0] = offset + 55 + len as u8;
    target[1..=len].copy_from_slice(&bytes[4 - len..]);
    len + 1
}

/// An item's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes of the header itself, 0 for a byte that stands for itself.
    pub(crate) len: usize,
    /// Bytes that follow it.
    pub(crate) payload: usize,
    pub(crate) is_list: bool,
}

impl Header {
    /// Bytes of the whole item.
    pub(crate) fn total(self) -> usize {
        self.len + self.payload
    }
}

/// The header of the item at the beginning of some bytes; `None` if it is not canonical or leaves them.
pub(crate) fn header(bytes: &[u8]) -> Option<Header> {
    let first = *bytes.first()?;
    let (is_list, base) = match first {
        ..0x80 => return Some(Header { len: 0, payload: 1, is_list: false }),
        0x80..0xc0 => (false, 0x80),
        0xc0.. => (true, 0xc0),
    };
    let short = usize::from(first - base);
    let header = if short <= 55 {
        Header { len: 1, payload: short, is_list }
    } else {
        let len = short - 55;
        let digits = bytes.get(1..=len)?;
        if digits[0] == 0 || len > 4 {
            return None;
        }
        let payload = digits.iter().fold(0_usize, |sum, digit| sum << 8 | usize::from(*digit));
        if payload <= 55 {
            return None;
        }
        Header { len: len + 1, payload, is_list }
    };
    let is_single = !is_list && header.payload == 1 && bytes.get(1).is_some_and(|byte| *byte < 0x80);
    (header.total() <= bytes.len() && !is_single).then_some(header)
}

/// The first item of some bytes, and the bytes behind it.
pub(crate) fn split(bytes: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let header = header(bytes)?;
    let (item, rest) = bytes.split_at(header.total());
    Some((header, &item[header.len..], rest))
}
