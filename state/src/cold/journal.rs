//! The journal: what blocks changed, in order, durable before anybody is told so.
//!
//! A ring of files of one size, each with a number of its own, its *segment*, which grows. A segment begins with a page that says
//! which it is; behind it come groups of records, each from a page's beginning on, written and synced at once:
//!
//! ```text
//! head   checksum u64 | "CiJ" | version u8 | segment u64 | first sequence u64
//! group  checksum u64 | "CiG" | version u8 | segment u64 | first sequence u64 | checksum before u64 | durable u64 |
//!        opening u64 | records u32 | bytes u32 | record ..
//! record length u32 | bytes
//! ```
//!
//! Numbers are little endian; checksums are XXH3-64, by a seed that the store drew, of all behind them. A group names the checksum
//! of the one before it, and a number drawn at each opening, so that what stands behind the end since an earlier time is not taken for its continuation; and up
//! to which record everything was durable when it was written: if such a record is missing, the journal is damaged; if a later one is, it was never
//! acknowledged. A segment's file is written over once its records are needed no more: it has its blocks on the disk
//! already, and a sync has nothing to do but data.

use super::{error::ColdError, file::OpenFile, page::PAGE_BYTES};
use citius_io::{Buffer, Completion, Disk, DiskError, FileId, OpenMode, Operation, Queue, Request};
use std::{fmt, sync::Arc};
use twox_hash::XxHash3_64;

const HEAD_MAGIC: [u8; 3] = *b"CiJ";
const GROUP_MAGIC: [u8; 3] = *b"CiG";
const VERSION: u8 = 1;
/// Bytes before a group's records.
const GROUP_HEAD: usize = 60;
/// Bytes that new segments are made of at a time.
const FILL_BYTES: u64 = 1 << 20;
/// How its files' names begin.
pub(crate) const NAME: &str = "journal-";

/// Where a group begins, or will begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) segment: u64,
    /// Pages before it in the segment.
    pub(crate) page: u64,
    /// The number of the first record from here on.
    pub(crate) sequence: u64,
    /// The checksum of the group before.
    pub(crate) chain: u64,
}

impl Position {
    /// Where a new journal begins.
    pub(crate) const START: Self = Self { segment: 0, page: 1, sequence: 0, chain: 0 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} (segment {}, page {})", self.sequence, self.segment, self.page)
    }
}

/// How far a record is kept when `append` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// It survives a power cut.
    #[default]
    Synced,
    /// It survives the end of this process, and a power cut only once the system wrote it: the last blocks may be lost, as
    /// if they had never been.
    Relaxed,
}

/// A journal that is written.
#[derive(Debug)]
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    queue: Box<dyn Queue>,
    slots: Vec<Slot>,
    segment_pages: u64,
    bytes_max: u64,
    /// The checksums' seed.
    seed: u64,
    /// What is drawn at each opening.
    opening: u64,
    /// Records that are durable.
    durable: u64,
    /// Where the next group goes.
    next: Position,
    /// From where on records are needed.
    needed: Position,
    /// A write or a sync failed: nothing is accepted any more.
    failed: bool,
    syncs: u64,
    /// What the last group was written out of: fresh memory would cost a fault for each of its pages.
    spare: Option<Buffer>,
}

/// Memory that is kept for the next group at most.
const SPARE_BYTES_MAX: usize = 4 << 20;

/// A file of the ring.
#[derive(Debug)]
struct Slot {
    file: OpenFile,
    /// What it holds; `None` if it was never written.
    segment: Option<u64>,
    /// All of it was written when it was made.
    is_whole: bool,
}

/// A record as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) bytes: Vec<u8>,
    /// Where the group behind its own begins.
    pub(crate) behind: Position,
}

impl Journal {
    /// Opens the journal of a store, and reads what is in it from a position on. Without any file it is made.
    ///
    /// # Errors
    ///
    /// [`ColdError::Journal`] if records are missing that are known to have been acknowledged; what the disk says.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        segment_bytes: u64,
        bytes_max: u64,
        seed: u64,
        opening: u64,
        from: Position,
    ) -> Result<(Self, Vec<Found>), ColdError> {
        let queue = disk.queue()?;
        let mut slots = Vec::new();
        for name in disk.names()?.iter().filter(|name| name.starts_with(NAME)) {
            let file = OpenFile::open(&disk, name, OpenMode::Existing)?;
            slots.push(Slot { file, segment: None, is_whole: false });
        }
        let mut lengths = Vec::with_capacity(slots.len());
        for slot in &slots {
            lengths.push(disk.len(slot.file.id())?);
        }
        let longest = lengths.iter().copied().fold(segment_bytes, u64::max);
        let segment_pages = (longest / PAGE_BYTES as u64).max(4);
        let mut journal = Self {
            disk,
            queue,
            slots,
            segment_pages,
            bytes_max,
            seed,
            opening,
            durable: from.sequence,
            next: from,
            needed: from,
            failed: false,
            syncs: 0,
            spare: None,
        };
        for slot in 0..journal.slots.len() {
            journal.slots[slot].segment = match journal.read_head(slot)? {
                Some((segment, _)) => Some(segment),
                None => journal.first_group(slot)?,
            };
        }
        // What is there has the size that it was made with; a file that holds nothing may not be whole.
        let held = journal.slots.iter().zip(&lengths).filter(|(slot, _)| slot.segment.is_some());
        let bytes = held.map(|(_, length)| *length).max().unwrap_or(segment_bytes);
        journal.segment_pages = (bytes / PAGE_BYTES as u64).max(4);
        for (slot, length) in journal.slots.iter_mut().zip(lengths) {
            slot.is_whole = length >= journal.segment_pages * PAGE_BYTES as u64;
        }
        // Who made the files may have ended before their names were on the disk.
        journal.disk.sync_directory()?;
        let found = journal.replay(from)?;
        Ok((journal, found))
    }

    /// Where the next group goes.
    pub(crate) fn next(&self) -> Position {
        self.next
    }

    /// From where on records are needed.
    pub(crate) fn needed(&self) -> Position {
        self.needed
    }

    /// Syncs so far.
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs
    }

    /// Bytes of all files.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.slots.len() as u64 * self.segment_pages * PAGE_BYTES as u64
    }

    /// Bytes of the segments from the first that is needed to that which is written.
    pub(crate) fn needed_bytes(&self) -> u64 {
        let segments = self.next.segment.saturating_sub(self.needed.segment) + 1;
        segments * self.segment_pages * PAGE_BYTES as u64
    }

    /// Records before a position are needed no more.
    pub(crate) fn release(&mut self, before: Position) {
        self.needed = before;
    }

    /// Writes records as one group, which is durable when this returns.
    ///
    /// # Errors
    ///
    /// What the disk says; nothing is accepted any more then ([`ColdError::Failed`]), since it is not known what of the
    /// group is on the disk, unless it was too full for one more segment. [`ColdError::TooLarge`] if the group does not fit in a segment: nothing is written.
    pub(crate) fn append<R: AsRef<[u8]>>(
        &mut self,
        records: &[R],
        durability: Durability,
    ) -> Result<(), ColdError> {
        if self.failed {
            return Err(ColdError::Failed);
        }
        let bytes = GROUP_HEAD + records.iter().map(|record| 4 + record.as_ref().len()).sum::<usize>();
        let pages = bytes.div_ceil(PAGE_BYTES) as u64;
        if pages > self.segment_pages - 1 {
            let most = (self.segment_pages - 1) * PAGE_BYTES as u64;
            return Err(ColdError::TooLarge { what: "journal group", bytes: bytes as u64, most });
        }
        if self.next.page + pages > self.segment_pages {
            self.next = Position { segment: self.next.segment + 1, page: 1, ..self.next };
        }
        self.check_budget()?;
        self.failed = true;
        let slot = match self.slot_of(self.next.segment) {
            Err(ColdError::Disk(error)) if matches!(*error, DiskError::Full { .. }) => {
                // No record was written yet: there may be room later.
                self.failed = false;
                return Err(ColdError::Disk(error));
            }
            slot => slot?,
        };
        let first_page = if self.slots[slot].segment == Some(self.next.segment) { self.next.page } else { 0 };
        let head = (self.next.page - first_page) as usize * PAGE_BYTES;
        let mut buffer = self.buffer(head + pages as usize * PAGE_BYTES);
        buffer[..head].fill(0);
        if head > 0 {
            self.write_head(&mut buffer[..PAGE_BYTES]);
        }
        buffer[head + bytes..].fill(0);
        let chain = self.write_group(&mut buffer[head..], records);
        let offset = first_page * PAGE_BYTES as u64;
        let written = self.complete(slot, Operation::Write { offset, buffer })?;
        self.spare = written.buffer.filter(|buffer| buffer.capacity() <= SPARE_BYTES_MAX);
        self.slots[slot].segment = Some(self.next.segment);
        if durability == Durability::Synced {
            self.complete(slot, Operation::Sync)?;
            self.syncs += 1;
        }
        self.next = Position {
            page: self.next.page + pages,
            sequence: self.next.sequence + records.len() as u64,
            chain,
            ..self.next
        };
        if durability == Durability::Synced {
            self.durable = self.next.sequence;
        }
        self.failed = false;
        Ok(())
    }

    /// Makes the first file of a new journal.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn make(&mut self) -> Result<(), ColdError> {
        self.slot_of(self.next.segment).map(drop)
    }

    /// The file that a segment is in or may be written to: one whose records are needed no more.
    fn place_of(&self, segment: u64) -> Option<usize> {
        let held = self.slots.iter().position(|slot| slot.segment == Some(segment));
        let needed = self.needed.segment;
        let is_free = |slot: &Slot| slot.segment.is_none_or(|segment| segment < needed);
        held.or_else(|| self.slots.iter().position(is_free))
    }

    /// Whether the next group has a place, or may get a new file.
    fn check_budget(&self) -> Result<(), ColdError> {
        let needed = self.file_bytes() + self.segment_pages * PAGE_BYTES as u64;
        if self.place_of(self.next.segment).is_none() && needed > self.bytes_max {
            return Err(ColdError::Budget { needed, budget: self.bytes_max });
        }
        Ok(())
    }

    /// A buffer of so many bytes, which hold anything.
    fn buffer(&mut self, bytes: usize) -> Buffer {
        match self.spare.take().filter(|spare| spare.capacity() >= bytes) {
            Some(mut spare) => {
                spare.resize(bytes);
                spare
            }
            None => {
                // Groups are seldom of one size: there is room for one that is a little larger.
                let mut buffer = self.disk.buffers().take(bytes + bytes / 2);
                buffer.resize(bytes);
                buffer
            }
        }
    }

    /// The file for a segment, made if there is none.
    fn slot_of(&mut self, segment: u64) -> Result<usize, ColdError> {
        let slot = match self.place_of(segment) {
            Some(slot) if self.slots[slot].is_whole => return Ok(slot),
            Some(slot) => slot,
            None => {
                let name = format!("{NAME}{:04}", self.slots.len());
                let file = OpenFile::open(&self.disk, &name, OpenMode::Create)?;
                self.slots.push(Slot { file, segment: None, is_whole: false });
                self.slots.len() - 1
            }
        };
        // Written, not only reserved: the system would note, at the first sync of each page, that it now is.
        let end = self.segment_pages * PAGE_BYTES as u64;
        let mut offset = self.disk.len(self.slots[slot].file.id())?.next_multiple_of(PAGE_BYTES as u64);
        while offset < end {
            let mut buffer = self.disk.buffers().take(FILL_BYTES.min(end - offset) as usize);
            buffer.fill(0);
            let len = buffer.len() as u64;
            self.complete(slot, Operation::Write { offset, buffer })?;
            offset += len;
        }
        self.complete(slot, Operation::Sync)?;
        self.disk.sync_directory()?;
        self.slots[slot].is_whole = true;
        Ok(slot)
    }

    fn complete(&mut self, slot: usize, operation: Operation) -> Result<Completion, ColdError> {
        let file = self.slots[slot].file.id();
        Ok(complete(&mut *self.queue, file, operation)?)
    }

    fn read(&mut self, slot: usize, page: u64, pages: u64) -> Result<Option<Vec<u8>>, ColdError> {
        let buffer = self.disk.buffers().take(pages as usize * PAGE_BYTES);
        let offset = page * PAGE_BYTES as u64;
        let completion = match complete(
            &mut *self.queue,
            self.slots[slot].file.id(),
            Operation::Read { offset, buffer },
        ) {
            Ok(completion) => completion,
            // A file that was being made when the power was cut.
            Err(DiskError::BeyondEnd { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(completion.buffer.map(|buffer| buffer.to_vec()))
    }

    /// The segment that a file holds, and its first record.
    fn read_head(&mut self, slot: usize) -> Result<Option<(u64, u64)>, ColdError> {
        let Some(page) = self.read(slot, 0, 1)? else { return Ok(None) };
        let is_head = page[8..11] == HEAD_MAGIC && u64_at(&page, 0) == checksum(self.seed, &page[8..28]);
        if is_head && page[11] != VERSION {
            return Err(ColdError::Version {
                what: "journal",
                found: page[11].into(),
                known: VERSION.into(),
            });
        }
        Ok(is_head.then(|| (u64_at(&page, 12), u64_at(&page, 20))))
    }

    /// Reads groups from a position on, and leaves `next` behind the last.
    fn replay(&mut self, from: Position) -> Result<Vec<Found>, ColdError> {
        let mut found = Vec::new();
        self.next = from;
        loop {
            match self.group_at(self.next)?.filter(|group| group.before == self.next.chain) {
                Some(group) => {
                    let behind = Position {
                        page: self.next.page + group.pages,
                        sequence: self.next.sequence + group.records.len() as u64,
                        chain: group.checksum,
                        ..self.next
                    };
                    self.next = behind;
                    found.extend(group.records.into_iter().map(|bytes| Found { bytes, behind }));
                }
                None => {
                    let follower = Position { segment: self.next.segment + 1, page: 1, ..self.next };
                    let is_there =
                        self.group_at(follower)?.is_some_and(|group| group.before == follower.chain);
                    if !is_there {
                        break;
                    }
                    self.next = follower;
                }
            }
        }
        self.check_end()?;
        // What was found may be in the system's memory only: whoever wrote it may not have synced it.
        for slot in 0..self.slots.len() {
            if self.slots[slot].segment.is_some_and(|segment| segment >= from.segment) {
                self.complete(slot, Operation::Sync)?;
            }
        }
        self.durable = self.next.sequence;
        Ok(found)
    }

    /// The segment of the group that a file begins with, for one whose head is damaged.
    fn first_group(&mut self, slot: usize) -> Result<Option<u64>, ColdError> {
        let Some(page) = self.read(slot, 1, 1)? else { return Ok(None) };
        let Some((segment, sequence)) = is_group(&page) else { return Ok(None) };
        let place = Position { segment, page: 1, sequence, chain: 0 };
        Ok(self.group_in(slot, place)?.map(|_| segment))
    }

    /// If a group behind the end says that more was durable than what was found, something is lost. Looks at all files, whatever
    /// they say that they hold.
    fn check_end(&mut self) -> Result<(), ColdError> {
        const CHUNK_PAGES: u64 = 256;
        for slot in 0..self.slots.len() {
            let mut page = 1;
            while page < self.segment_pages {
                let count = CHUNK_PAGES.min(self.segment_pages - page);
                let Some(chunk) = self.read(slot, page, count)? else { break };
                for (number, bytes) in (page..).zip(chunk.chunks_exact(PAGE_BYTES)) {
                    let Some((segment, sequence)) = is_group(bytes) else { continue };
                    if segment < self.next.segment || sequence <= self.next.sequence {
                        continue;
                    }
                    let place = Position { segment, page: number, sequence, chain: 0 };
                    if self.group_in(slot, place)?.is_some_and(|group| group.durable > self.next.sequence) {
                        let (missing, behind) = (self.next.to_string(), place.to_string());
                        return Err(ColdError::Journal { missing, behind });
                    }
                }
                page += count;
            }
        }
        Ok(())
    }

    /// The group at a position; `None` if there is none that is whole.
    fn group_at(&mut self, place: Position) -> Result<Option<Group>, ColdError> {
        let Some(slot) = self.slots.iter().position(|slot| slot.segment == Some(place.segment)) else {
            return Ok(None);
        };
        self.group_in(slot, place)
    }

    /// The group at a place of a file.
    fn group_in(&mut self, slot: usize, place: Position) -> Result<Option<Group>, ColdError> {
        if place.page >= self.segment_pages {
            return Ok(None);
        }
        let Some(first) = self.read(slot, place.page, 1)? else { return Ok(None) };
        let is_it = first[8..11] == GROUP_MAGIC
            && u64_at(&first, 12) == place.segment
            && u64_at(&first, 20) == place.sequence;
        let bytes = GROUP_HEAD + u32_at(&first, 56) as usize;
        let pages = bytes.div_ceil(PAGE_BYTES) as u64;
        if !is_it || place.page + pages > self.segment_pages {
            return Ok(None);
        }
        let all = if pages == 1 { Some(first) } else { self.read(slot, place.page, pages)? };
        let Some(all) = all else { return Ok(None) };
        let stated = u64_at(&all, 0);
        if stated != checksum(self.seed, &all[8..bytes]) {
            return Ok(None);
        }
        if all[11] != VERSION {
            return Err(ColdError::Version { what: "journal", found: all[11].into(), known: VERSION.into() });
        }
        let mut rest = &all[GROUP_HEAD..bytes];
        let mut records = Vec::new();
        for _ in 0..u32_at(&all, 52) {
            let Some((len, behind)) = rest.split_first_chunk::<4>() else { return Ok(None) };
            let Some((record, behind)) = behind.split_at_checked(u32::from_le_bytes(*len) as usize) else {
                return Ok(None);
            };
            records.push(record.to_vec());
            rest = behind;
        }
        let (before, durable) = (u64_at(&all, 28), u64_at(&all, 36));
        Ok(rest.is_empty().then_some(Group { records, pages, checksum: stated, before, durable }))
    }

    fn write_head(&self, page: &mut [u8]) {
        page[8..11].copy_from_slice(&HEAD_MAGIC);
        page[11] = VERSION;
        page[12..20].copy_from_slice(&self.next.segment.to_le_bytes());
        page[20..28].copy_from_slice(&self.next.sequence.to_le_bytes());
        let checksum = checksum(self.seed, &page[8..28]);
        page[..8].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Writes a group to a buffer, and gives its checksum.
    fn write_group<R: AsRef<[u8]>>(&self, target: &mut [u8], records: &[R]) -> u64 {
        target[..GROUP_HEAD].fill(0);
        target[8..11].copy_from_slice(&GROUP_MAGIC);
        target[11] = VERSION;
        let Position { segment, sequence, chain, .. } = self.next;
        let numbers = [segment, sequence, chain, self.durable, self.opening];
        for (place, number) in target[12..52].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        target[52..56].copy_from_slice(&(records.len() as u32).to_le_bytes());
        let mut at = GROUP_HEAD;
        for record in records {
            let record = record.as_ref();
            target[at..at + 4].copy_from_slice(&(record.len() as u32).to_le_bytes());
            target[at + 4..at + 4 + record.len()].copy_from_slice(record);
            at += 4 + record.len();
        }
        target[56..60].copy_from_slice(&((at - GROUP_HEAD) as u32).to_le_bytes());
        let checksum = checksum(self.seed, &target[8..at]);
        target[..8].copy_from_slice(&checksum.to_le_bytes());
        checksum
    }
}

/// A group that is whole.
#[derive(Debug)]
struct Group {
    records: Vec<Vec<u8>>,
    pages: u64,
    checksum: u64,
    /// The checksum of the one before it.
    before: u64,
    /// Records that were durable when it was written.
    durable: u64,
}

fn checksum(seed: u64, bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(seed, bytes)
}

/// Segment and first record of what may be a group.
fn is_group(page: &[u8]) -> Option<(u64, u64)> {
    (page[8..11] == GROUP_MAGIC).then(|| (u64_at(page, 12), u64_at(page, 20)))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// Carries out one operation and waits for it.
pub(crate) fn complete(
    queue: &mut dyn Queue,
    file: FileId,
    operation: Operation,
) -> Result<Completion, DiskError> {
    let mut completions = Vec::with_capacity(1);
    if let Err(full) = queue.submit(Request { tag: 0, file, operation }) {
        unreachable!("nothing else is in flight: {full}");
    }
    queue.wait(1, None, &mut completions)?;
    match completions.pop() {
        Some(completion) => match completion.result {
            Ok(_) => Ok(completion),
            Err(error) => Err(error),
        },
        None => unreachable!("a queue waits for what is in flight"),
    }
}
