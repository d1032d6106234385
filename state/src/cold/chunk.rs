//! Files of chunks, each with a checksum that goes on from the one before: the files of a snapshot.
//!
//! ```text
//! chunk  checksum u64 | "CiR" | version u8 | kind u8 | 0 [3] | bytes u32 | 0 u32 | number u64 | checksum before u64 | body
//! ```
//!
//! Numbers are little endian. The checksum is XXH3-64 of all behind it, up to the end of the body; zeros follow up to a whole page.
//! So the last one is the whole file's.

use super::{error::ColdError, file::OpenFile, journal::complete, page::PAGE_BYTES};
use citius_io::{Disk, DiskError, OpenMode, Operation, Queue};
use std::sync::Arc;
use twox_hash::XxHash3_64;

/// The form of a snapshot's files.
const VERSION: u8 = 1;
const MAGIC: [u8; 3] = *b"CiR";
const SEED: u64 = 0x4369_7469_7573_5331;
/// Bytes before the body.
const HEAD_BYTES: usize = 40;
/// Bytes of a body at most: what is read into memory before its checksum is known.
pub(crate) const BODY_BYTES_MAX: usize = 16 << 20;

/// What a chunk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ChunkKind {
    /// What a range file begins with.
    Head = 1,
    /// Accounts and slots.
    Accounts = 2,
    /// Codes.
    Codes = 3,
    /// What a range file ends with.
    End = 4,
    /// What a snapshot has.
    Manifest = 5,
}

/// Writes a file from its beginning.
pub(crate) struct ChunkWriter {
    disk: Arc<dyn Disk>,
    queue: Box<dyn Queue>,
    file: OpenFile,
    offset: u64,
    number: u64,
    before: u64,
}

impl ChunkWriter {
    /// Makes a file, in the place of one of that name.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn create(disk: &Arc<dyn Disk>, name: &str) -> Result<Self, ColdError> {
        match disk.remove(name) {
            Ok(()) | Err(DiskError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let file = OpenFile::open(disk, name, OpenMode::CreateNew)?;
        Ok(Self { queue: disk.queue()?, disk: Arc::clone(disk), file, offset: 0, number: 0, before: 0 })
    }

    /// Writes a chunk.
    ///
    /// # Errors
    ///
    /// [`ColdError::TooLarge`]; what the disk says.
    pub(crate) fn write(&mut self, kind: ChunkKind, body: &[u8]) -> Result<(), ColdError> {
        if body.len() > BODY_BYTES_MAX {
            let (bytes, most) = (body.len() as u64, BODY_BYTES_MAX as u64);
            return Err(ColdError::TooLarge { what: "chunk of a snapshot", bytes, most });
        }
        let bytes = HEAD_BYTES + body.len();
        let mut buffer = self.disk.buffers().take(bytes.next_multiple_of(PAGE_BYTES));
        buffer.fill(0);
        buffer[8..11].copy_from_slice(&MAGIC);
        buffer[11] = VERSION;
        buffer[12] = kind as u8;
        buffer[16..20].copy_from_slice(&(body.len() as u32).to_le_bytes());
        buffer[24..32].copy_from_slice(&self.number.to_le_bytes());
        buffer[32..40].copy_from_slice(&self.before.to_le_bytes());
        buffer[HEAD_BYTES..bytes].copy_from_slice(body);
        let checksum = XxHash3_64::oneshot_with_seed(SEED, &buffer[8..bytes]);
        buffer[..8].copy_from_slice(&checksum.to_le_bytes());
        let length = buffer.len() as u64;
        complete(&mut *self.queue, self.file.id(), Operation::Write { offset: self.offset, buffer })?;
        self.offset += length;
        self.number += 1;
        self.before = checksum;
        Ok(())
    }

    /// Makes the file durable, less its name. Gives its bytes and its checksum.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn finish(mut self) -> Result<(u64, u64), ColdError> {
        complete(&mut *self.queue, self.file.id(), Operation::Sync)?;
        Ok((self.offset, self.before))
    }
}

/// A chunk that is what was written.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) kind: ChunkKind,
    pub(crate) body: Vec<u8>,
}

/// Reads a file chunk by chunk.
pub(crate) struct ChunkReader {
    disk: Arc<dyn Disk>,
    queue: Box<dyn Queue>,
    file: OpenFile,
    name: String,
    offset: u64,
    number: u64,
    before: u64,
}

impl ChunkReader {
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn open(disk: &Arc<dyn Disk>, name: &str) -> Result<Self, ColdError> {
        let file = OpenFile::open(disk, name, OpenMode::Existing)?;
        Ok(Self {
            queue: disk.queue()?,
            disk: Arc::clone(disk),
            file,
            name: name.to_owned(),
            offset: 0,
            number: 0,
            before: 0,
        })
    }

    /// Bytes read so far, and the checksum of the chunk before.
    pub(crate) fn position(&self) -> (u64, u64) {
        (self.offset, self.before)
    }

    /// An error about the chunk before.
    pub(crate) fn damaged(&self, what: &'static str) -> ColdError {
        ColdError::Snapshot { file: self.name.clone(), chunk: self.number.saturating_sub(1), what }
    }

    /// The next chunk.
    ///
    /// # Errors
    ///
    /// [`ColdError::Snapshot`] if there is none that is whole, [`ColdError::Version`]; what the disk says.
    pub(crate) fn next(&mut self) -> Result<Chunk, ColdError> {
        let (file, chunk) = (self.name.clone(), self.number);
        let damaged = |what| ColdError::Snapshot { file: file.clone(), chunk, what };
        let Some(first) = self.read(PAGE_BYTES)? else { return Err(damaged("the file ends before it")) };
        if first[8..11] != MAGIC {
            return Err(damaged("it does not begin as chunks do"));
        }
        if first[11] > VERSION {
            return Err(ColdError::Version {
                what: "snapshot",
                found: first[11].into(),
                known: VERSION.into(),
            });
        }
        let len = u32::from_le_bytes([first[16], first[17], first[18], first[19]]) as usize;
        if len > BODY_BYTES_MAX {
            return Err(damaged("it is longer than chunks are"));
        }
        let bytes = HEAD_BYTES + len;
        let whole = bytes.next_multiple_of(PAGE_BYTES);
        let all = if whole == PAGE_BYTES { Some(first) } else { self.read(whole)? };
        let Some(mut all) = all else { return Err(damaged("the file ends in it")) };
        let checksum = XxHash3_64::oneshot_with_seed(SEED, &all[8..bytes]);
        if checksum.to_le_bytes() != all[..8] {
            return Err(damaged("its checksum is another"));
        }
        if all[24..32] != self.number.to_le_bytes() || all[32..40] != self.before.to_le_bytes() {
            return Err(damaged("it does not follow the one before it"));
        }
        let kind = match all[12] {
            1 => ChunkKind::Head,
            2 => ChunkKind::Accounts,
            3 => ChunkKind::Codes,
            4 => ChunkKind::End,
            5 => ChunkKind::Manifest,
            _ => return Err(damaged("it is of no known kind")),
        };
        all.truncate(bytes);
        all.drain(..HEAD_BYTES);
        self.offset += whole as u64;
        self.number += 1;
        self.before = checksum;
        Ok(Chunk { kind, body: all })
    }

    fn read(&mut self, bytes: usize) -> Result<Option<Vec<u8>>, ColdError> {
        let buffer = self.disk.buffers().take(bytes);
        match complete(&mut *self.queue, self.file.id(), Operation::Read { offset: self.offset, buffer }) {
            Ok(completion) => Ok(completion.buffer.map(|buffer| buffer.to_vec())),
            Err(DiskError::BeyondEnd { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
