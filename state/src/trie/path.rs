//! Paths through a trie: keys nibble by nibble, and their hex-prefix encoding ([Yellow Paper, appendix C][yp]).
//!
//! [yp]: https://ethereum.github.io/yellowpaper/paper.pdf

/// The nibble of a key at a place.
#[inline]
pub(crate) fn nibble(key: &[u8], at: usize) -> u8 {
    let byte = key[at / 2];
    if at.is_multiple_of(2) { byte >> 4 } else { byte & 0xf }
}

/// How many nibbles two keys share from a place on.
pub(crate) fn common_nibbles(one: &[u8], other: &[u8], from: usize) -> usize {
    let end = 2 * one.len().min(other.len());
    let mut at = from;
    while at < end {
        if at.is_multiple_of(2) && one[at / 2] == other[at / 2] {
            at += 2;
        } else if nibble(one, at) == nibble(other, at) {
            at += 1;
        } else {
            break;
        }
    }
    at - from
}

/// A path as nodes hold it: the hex-prefix encoding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HexPrefix<'a> {
    bytes: &'a [u8],
}

impl<'a> HexPrefix<'a> {
    /// The path in these bytes, of which there must be at least one.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether it leads to a value.
    pub(crate) fn is_leaf(self) -> bool {
        self.bytes[0] & 0x20 != 0
    }

    fn is_odd(self) -> bool {
        self.bytes[0] & 0x10 != 0
    }

    pub(crate) fn len(self) -> usize {
        2 * (self.bytes.len() - 1) + usize::from(self.is_odd())
    }

    #[inline]
    pub(crate) fn at(self, index: usize) -> u8 {
        nibble(self.bytes, index + 2 - usize::from(self.is_odd()))
    }

    /// How many of its nibbles a key has from a place on.
    pub(crate) fn matches(self, key: &[u8], from: usize) -> usize {
        let odd = usize::from(self.is_odd());
        if from % 2 != odd {
            // Only where a key ends before another does: paths to keys of one length are aligned as the keys are.
            let len = self.len().min((2 * key.len()).saturating_sub(from));
            return (0..len).find(|at| self.at(*at) != nibble(key, from + at)).unwrap_or(len);
        }
        let Some(rest) = key.get(from.div_ceil(2)..) else { return 0 };
        if odd == 1 && self.bytes[0] & 0xf != key[from / 2] & 0xf {
            return 0;
        }
        let own = &self.bytes[1..];
        if rest.len() >= own.len() && rest[..own.len()] == *own {
            return odd + 2 * own.len();
        }
        let bytes = own.iter().zip(rest).take_while(|(one, other)| one == other).count();
        let half = match (own.get(bytes), rest.get(bytes)) {
            (Some(one), Some(other)) => usize::from(one >> 4 == other >> 4),
            _ => 0,
        };
        odd + 2 * bytes + half
    }

    pub(crate) fn nibbles(self) -> impl Iterator<Item = u8> + 'a {
        (0..self.len()).map(move |index| self.at(index))
    }
}

/// Bytes of the hex-prefix encoding of so many nibbles.
pub(crate) fn hex_prefix_len(nibbles: usize) -> usize {
    nibbles / 2 + 1
}

/// Writes the hex-prefix encoding of a key's nibbles from a place to its end, or to `end`.
pub(crate) fn write_key_tail(target: &mut [u8], key: &[u8], from: usize, end: usize, is_leaf: bool) {
    let flag = if is_leaf { 0x20 } else { 0 };
    let count = end - from;
    if end.is_multiple_of(2) {
        // Bytes of the encoding are bytes of the key.
        let bytes = &key[from.div_ceil(2)..end / 2];
        target[0] = if count.is_multiple_of(2) { flag } else { flag | 0x10 | nibble(key, from) };
        target[1..=bytes.len()].copy_from_slice(bytes);
        return;
    }
    write_nibbles(target, (from..end).map(|at| nibble(key, at)), count, is_leaf);
}

/// Writes the hex-prefix encoding of `count` nibbles.
pub(crate) fn write_nibbles(
    target: &mut [u8],
    mut nibbles: impl Iterator<Item = u8>,
    count: usize,
    is_leaf: bool,
) {
    let flag = if is_leaf { 0x20 } else { 0 };
    let mut next = || nibbles.next().unwrap_or_default();
    target[0] = if count.is_multiple_of(2) { flag } else { flag | 0x10 | next() };
    for byte in &mut target[1..hex_prefix_len(count)] {
        *byte = next() << 4 | next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_prefix_is_that_of_the_yellow_paper() {
        let cases: [(&[u8], bool, &[u8]); 5] = [
            (&[1, 2, 3, 4, 5], false, &[0x11, 0x23, 0x45]),
            (&[0, 1, 2, 3, 4, 5], false, &[0x00, 0x01, 0x23, 0x45]),
            (&[0, 0xf, 1, 0xc, 0xb, 8], true, &[0x20, 0x0f, 0x1c, 0xb8]),
            (&[0xf, 1, 0xc, 0xb, 8], true, &[0x3f, 0x1c, 0xb8]),
            (&[], true, &[0x20]),
        ];
        for (nibbles, is_leaf, encoded) in cases {
            let mut target = [0; 8];
            write_nibbles(&mut target, nibbles.iter().copied(), nibbles.len(), is_leaf);
            let len = hex_prefix_len(nibbles.len());
            assert_eq!(&target[..len], encoded);
            let path = HexPrefix::new(&target[..len]);
            assert_eq!((path.len(), path.is_leaf()), (nibbles.len(), is_leaf));
            assert!(path.nibbles().eq(nibbles.iter().copied()));
        }
    }

    #[test]
    fn a_keys_tail_is_its_nibbles() {
        let key = [0x01, 0x23, 0x45, 0x67];
        for from in 0..=8 {
            for end in from..=8 {
                let (mut one, mut other) = ([0xee; 6], [0xee; 6]);
                write_key_tail(&mut one, &key, from, end, true);
                write_nibbles(&mut other, (from..end).map(|at| nibble(&key, at)), end - from, true);
                let len = hex_prefix_len(end - from);
                assert_eq!(one[..len], other[..len], "{from}..{end}");
                assert_eq!(HexPrefix::new(&one[..len]).matches(&key, from), end - from);
                let mut differs = key;
                if end > from {
                    differs[(end - 1) / 2] ^= if (end - 1) % 2 == 0 { 0x10 } else { 1 };
                    assert_eq!(HexPrefix::new(&one[..len]).matches(&differs, from), end - from - 1);
                    assert_eq!(common_nibbles(&key, &differs, from), end - from - 1);
                }
            }
        }
    }
}
