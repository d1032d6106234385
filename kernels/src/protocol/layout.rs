//! Where what stands in the shared file.

use std::ops::Range;
use thiserror::Error;

/// "CitiusDH" as a little-endian word.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"CitiusDH");
/// Changes with the file's layout or the packets.
pub(super) const VERSION: u64 = 1;
/// Bytes before the arena.
pub(super) const HEADER_BYTES: usize = 4096;

/// The largest arena, in bytes: devices must be able to bind it as one buffer.
pub const ARENA_BYTES_MAX: usize = 128 << 20;
/// The most messages of one command.
pub const MESSAGES_MAX: usize = 1 << 20;

const DIGEST_BYTES: usize = 32;
const MESSAGE_ENTRY_BYTES: usize = 8;

/// Sizes of the shared file; offsets follow from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    arena_bytes: usize,
    messages_max: usize,
}

/// Sizes that no file may have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("shared file: {field} = {value}: expected {expected}")]
pub struct LayoutError {
    /// The field of the header.
    pub field: &'static str,
    /// Its value.
    pub value: u64,
    /// What it may be.
    pub expected: String,
}

impl Layout {
    /// A file for `arena_bytes` of messages, at most `messages_max` of them.
    ///
    /// # Errors
    ///
    /// If the arena is not a positive multiple of 4096 up to [`ARENA_BYTES_MAX`], or `messages_max` not 1 to
    /// [`MESSAGES_MAX`].
    pub fn new(arena_bytes: usize, messages_max: usize) -> Result<Self, LayoutError> {
        if arena_bytes == 0 || !arena_bytes.is_multiple_of(HEADER_BYTES) || arena_bytes > ARENA_BYTES_MAX {
            let expected = format!("a multiple of {HEADER_BYTES} up to {ARENA_BYTES_MAX}");
            return Err(LayoutError { field: "arena_bytes", value: arena_bytes as u64, expected });
        }
        if messages_max == 0 || messages_max > MESSAGES_MAX {
            let expected = format!("1 to {MESSAGES_MAX}");
            return Err(LayoutError { field: "messages_max", value: messages_max as u64, expected });
        }
        Ok(Self { arena_bytes, messages_max })
    }

    /// Bytes of the arena.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// Most messages of one command.
    #[must_use]
    pub fn messages_max(&self) -> usize {
        self.messages_max
    }

    /// Bytes of the whole file.
    #[must_use]
    pub fn file_bytes(&self) -> usize {
        HEADER_BYTES + self.arena_bytes + self.messages_max * (MESSAGE_ENTRY_BYTES + DIGEST_BYTES)
    }

    /// The arena's words in the file.
    pub(super) fn arena_words(&self) -> Range<usize> {
        let start = HEADER_BYTES / 8;
        start..start + self.arena_bytes / 8
    }

    /// The messages' words: one each.
    pub(super) fn messages_words(&self) -> Range<usize> {
        let start = self.arena_words().end;
        start..start + self.messages_max
    }

    /// The digests' words: four each.
    pub(super) fn digests_words(&self) -> Range<usize> {
        let start = self.messages_words().end;
        start..start + 4 * self.messages_max
    }

    /// The header's words.
    pub(super) fn header(&self) -> [u64; 4] {
        [MAGIC, VERSION, self.arena_bytes as u64, self.messages_max as u64]
    }

    /// The sizes that a header tells, of a file of `file_bytes`.
    pub(super) fn from_header(header: [u64; 4], file_bytes: u64) -> Result<Self, LayoutError> {
        let [magic, version, arena_bytes, messages_max] = header;
        for (field, value, wanted) in [("magic", magic, MAGIC), ("version", version, VERSION)] {
            if value != wanted {
                return Err(LayoutError { field, value, expected: wanted.to_string() });
            }
        }
        let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let layout = Self::new(size(arena_bytes), size(messages_max))?;
        if layout.file_bytes() as u64 != file_bytes {
            let expected = format!("{}, which its header says", layout.file_bytes());
            return Err(LayoutError { field: "size", value: file_bytes, expected });
        }
        Ok(layout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_one_another_and_fill_the_file() {
        let layout = Layout::new(8192, 100).unwrap();
        assert_eq!(layout.arena_words(), 512..1536);
        assert_eq!(layout.messages_words(), 1536..1636);
        assert_eq!(layout.digests_words(), 1636..2036);
        assert_eq!(layout.file_bytes(), 2036 * 8);
    }

    #[test]
    fn a_header_reads_back_and_a_wrong_one_names_its_field() {
        let layout = Layout::new(8192, 100).unwrap();
        let bytes = layout.file_bytes() as u64;
        assert_eq!(Layout::from_header(layout.header(), bytes), Ok(layout));
        for (index, field) in ["magic", "version", "arena_bytes", "messages_max"].into_iter().enumerate() {
            let mut header = layout.header();
            header[index] = u64::MAX;
            assert_eq!(Layout::from_header(header, bytes).unwrap_err().field, field);
        }
        assert_eq!(Layout::from_header(layout.header(), bytes - 1).unwrap_err().field, "size");
    }
}
