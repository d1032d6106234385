//! One command's messages, and that they lie where they may.

use super::Region;
use crate::device::MESSAGE_BYTES_MAX;
use thiserror::Error;

/// What a [`Packet::Hash`](super::Packet::Hash) asks for, checked against the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Messages, the first ones of the file's table.
    pub count: usize,
    /// Words of the arena in use, from its start.
    pub arena_words: usize,
}

/// A command that does not fit its file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JobError {
    /// More messages than the file holds, or none.
    #[error("count = {count}: expected 1 to {most}")]
    Count {
        /// As given.
        count: u64,
        /// The most there may be.
        most: usize,
    },
    /// More of the arena than there is.
    #[error("arena_words = {words}: expected at most {most}")]
    Arena {
        /// As given.
        words: u64,
        /// The most there may be.
        most: usize,
    },
    /// A message outside the part of the arena in use, or too long.
    #[error(
        "message {index} begins at word {start_words} and has {length_bytes} bytes: expected at most \
         {MESSAGE_BYTES_MAX} bytes within {arena_words} words"
    )]
    Message {
        /// Its place in the table.
        index: usize,
        /// Its first word.
        start_words: u32,
        /// Its length.
        length_bytes: u32,
        /// Words in use.
        arena_words: usize,
    },
}

impl Job {
    /// Checks a command's numbers, and copies the table of messages to `table` (its old content is lost): what was
    /// checked is what the device gets, whatever the peer writes meanwhile.
    ///
    /// # Errors
    ///
    /// [`JobError`], if anything would be read outside the arena's used words.
    pub fn check(
        region: &Region,
        count: u64,
        arena_words: u64,
        table: &mut Vec<(u32, u32)>,
    ) -> Result<Self, JobError> {
        let layout = region.layout();
        let in_bounds = |value: u64, most: usize| usize::try_from(value).ok().filter(|value| *value <= most);
        let most = layout.messages_max();
        let count =
            in_bounds(count, most).filter(|count| *count > 0).ok_or(JobError::Count { count, most })?;
        let most = layout.arena_bytes() / 8;
        let arena_words = in_bounds(arena_words, most).ok_or(JobError::Arena { words: arena_words, most })?;
        table.clear();
        table.extend((0..count).map(|index| region.message(index)));
        for (index, &(start_words, length_bytes)) in table.iter().enumerate() {
            let length = length_bytes as usize;
            if length > MESSAGE_BYTES_MAX || start_words as usize + length.div_ceil(8) > arena_words {
                return Err(JobError::Message { index, start_words, length_bytes, arena_words });
            }
        }
        Ok(Self { count, arena_words })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Layout;

    #[test]
    fn commands_that_leave_the_file_are_refused() {
        let (region, _file) = Region::create(Layout::new(32768, 4).unwrap()).unwrap();
        region.set_message(0, 0, 16);
        region.set_message(1, 2, 9);
        let mut table = Vec::new();
        let check = |count, words, table: &mut Vec<_>| Job::check(&region, count, words, table);
        assert_eq!(check(2, 4, &mut table), Ok(Job { count: 2, arena_words: 4 }));
        assert_eq!(table, [(0, 16), (2, 9)]);
        assert!(matches!(check(2, 3, &mut table), Err(JobError::Message { index: 1, .. })));
        assert!(matches!(check(0, 4, &mut table), Err(JobError::Count { .. })));
        assert!(matches!(check(5, 4, &mut table), Err(JobError::Count { .. })));
        assert!(matches!(check(u64::MAX, 4, &mut table), Err(JobError::Count { .. })));
        assert!(matches!(check(1, 4097, &mut table), Err(JobError::Arena { .. })));
        region.set_message(2, u32::MAX, 8);
        assert!(matches!(check(3, 4096, &mut table), Err(JobError::Message { index: 2, .. })));
        region.set_message(0, 0, MESSAGE_BYTES_MAX as u32 + 1);
        assert!(matches!(check(1, 4096, &mut table), Err(JobError::Message { index: 0, .. })));
    }
}
