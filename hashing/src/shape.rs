use citius_kernels::block_count;
use std::{array, fmt};

/// Messages of like cost: those that take at most as many permutations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SizeClass {
    /// One block: keys, addresses, most leaves.
    Blocks1,
    /// Two.
    Blocks2,
    /// Three or four: full branches of the state trie.
    Blocks4,
    /// Five to eight. Longer messages count as several of these.
    Blocks8,
}

impl SizeClass {
    /// All of them, the shortest first.
    pub const ALL: [Self; 4] = [Self::Blocks1, Self::Blocks2, Self::Blocks4, Self::Blocks8];

    /// The most permutations that one of its messages takes.
    #[must_use]
    pub const fn blocks_max(self) -> usize {
        1 << self as usize
    }

    /// The class of a message, and as how many of its messages it counts.
    pub(crate) fn of(len: usize) -> (Self, u64) {
        match block_count(len) {
            1 => (Self::Blocks1, 1),
            2 => (Self::Blocks2, 1),
            3 | 4 => (Self::Blocks4, 1),
            blocks => (Self::Blocks8, blocks.div_ceil(8) as u64),
        }
    }
}

impl fmt::Display for SizeClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.blocks_max())
    }
}

/// What a batch consists of, as far as its time depends on that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchShape {
    pub(crate) messages: [u64; 4],
    pub(crate) bytes: [u64; 4],
}

impl BatchShape {
    /// The shape of a batch of messages of these lengths.
    pub fn of(lengths: impl IntoIterator<Item = usize>) -> Self {
        let mut shape = Self::default();
        for len in lengths {
            let (class, messages) = SizeClass::of(len);
            shape.messages[class as usize] += messages;
            shape.bytes[class as usize] += len as u64;
        }
        shape
    }

    /// Messages and bytes of each class that it has any of.
    pub(crate) fn classes(&self) -> impl Iterator<Item = (SizeClass, f64, f64)> {
        let all: [_; 4] = array::from_fn(|index| {
            (SizeClass::ALL[index], self.messages[index] as f64, self.bytes[index] as f64)
        });
        all.into_iter().filter(|(_, messages, _)| *messages > 0.0)
    }
}
