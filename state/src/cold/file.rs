//! The file of pages, as a checkpoint writes it.

use super::{
    error::{ColdError, PageDamage},
    page::{PAGE_BYTES, Page, PageNumber, zeroed},
    space::{SUPERBLOCKS, Space},
    superblock::Superblock,
    tree::Pages,
};
use citius_io::{Buffer, Disk, DiskError, FileId, OpenMode, Operation, Queue, Request};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// The name of the file.
pub(crate) const PAGES: &str = "pages";

/// A file of a disk, closed when it is dropped.
#[derive(Debug)]
pub(crate) struct OpenFile {
    disk: Arc<dyn Disk>,
    id: FileId,
}

impl OpenFile {
    pub(crate) fn open(disk: &Arc<dyn Disk>, name: &str, mode: OpenMode) -> Result<Self, ColdError> {
        Ok(Self { disk: Arc::clone(disk), id: disk.open(name, mode)? })
    }

    pub(crate) fn id(&self) -> FileId {
        self.id
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // Whatever is in flight completes all the same.
        let _ = self.disk.close(self.id);
    }
}

/// Reads pages, and writes those of the next checkpoint: none that the last one refers to is touched.
#[derive(Debug)]
pub(crate) struct PageFile {
    disk: Arc<dyn Disk>,
    queue: Box<dyn Queue>,
    file: Arc<OpenFile>,
    space: Space,
    /// The checkpoint in the making.
    checkpoint: u64,
    /// Written for it.
    written: Vec<PageNumber>,
    /// Not referred to by it.
    freed: Vec<PageNumber>,
    /// The map of the last checkpoint.
    map: Vec<PageNumber>,
    /// Freed by the last checkpoint: the one before it still refers to them, and they are not in use by any to come. And what was
    /// freed earlier, while somebody reads by an older checkpoint.
    held: Vec<PageNumber>,
    /// Bytes of the file.
    length: u64,
    /// Pages next to one another that are to be written.
    run: Option<Run>,
    /// Written for the checkpoint in the making, and perhaps not on the disk yet.
    fresh: HashSet<PageNumber>,
    /// Where pages are read.
    reads: Box<dyn Queue>,
    /// Pages that were asked for; `None` while they are on their way.
    ahead: HashMap<PageNumber, Option<Result<Page, PageDamage>>>,
    counts: PageCounts,
    /// A write or a sync failed: what is on the disk is not known.
    has_failed: bool,
    /// Somebody is at it: if nobody is, there was a panic, and what was made is half of something.
    is_under_way: bool,
}

/// Pages next to one another.
#[derive(Debug)]
struct Run {
    start: PageNumber,
    bytes: usize,
    buffer: Buffer,
}

impl Run {
    fn next(&self) -> PageNumber {
        PageNumber(self.start.0 + (self.bytes / PAGE_BYTES) as u64)
    }
}

/// Bytes that are written at a time at most.
const RUN_BYTES: usize = 128 << 10;
/// The file grows by this part of itself, at least and at most by so many bytes.
const GROWTH_PART: u64 = 8;
const GROWTH_MIN: u64 = 64 << 10;
const GROWTH_MAX: u64 = 64 << 20;

/// What was read and written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PageCounts {
    /// Pages read.
    pub reads: u64,
    /// Pages written.
    pub writes: u64,
    /// Syncs.
    pub syncs: u64,
}

impl PageFile {
    /// The file after a checkpoint, or after none with an empty `space`.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        file: Arc<OpenFile>,
        space: Space,
        checkpoint: u64,
    ) -> Result<Self, ColdError> {
        let disk_length = disk.len(file.id())?;
        Ok(Self {
            queue: disk.queue()?,
            reads: disk.queue()?,
            disk,
            file,
            space,
            checkpoint: checkpoint + 1,
            written: Vec::new(),
            freed: Vec::new(),
            map: Vec::new(),
            held: Vec::new(),
            length: disk_length,
            run: None,
            fresh: HashSet::new(),
            ahead: HashMap::new(),
            counts: PageCounts::default(),
            has_failed: false,
            is_under_way: false,
        })
    }

    /// Whether a write or a sync failed, or whoever made a checkpoint panicked.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed || self.is_under_way
    }

    /// A checkpoint is being made until [`PageFile::end`].
    pub(crate) fn begin(&mut self) {
        self.is_under_way = true;
    }

    /// A checkpoint was made, or given up.
    pub(crate) fn end(&mut self) {
        self.is_under_way = false;
    }

    pub(crate) fn counts(&self) -> PageCounts {
        self.counts
    }

    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    /// Pages that the last checkpoint refers to, superblocks and map aside.
    pub(crate) fn live(&self) -> u64 {
        let others =
            SUPERBLOCKS + (self.freed.len() + self.held.len() + self.map.len() + self.written.len()) as u64;
        self.space.count() - others
    }

    /// The checkpoint in the making.
    pub(crate) fn checkpoint(&self) -> u64 {
        self.checkpoint
    }

    /// Makes what was written durable, and then a superblock that refers to it. `superblock` gets the first page of the map. Of
    /// pages that are to be used again `may_reuse` says whether nobody reads them any more; if not, they are kept.
    ///
    /// # Errors
    ///
    /// What the disk says: whether the checkpoint is made is not known then.
    pub(crate) fn commit(
        &mut self,
        superblock: impl FnOnce(PageNumber) -> Superblock,
        may_reuse: impl FnOnce(&[PageNumber]) -> bool,
    ) -> Result<Superblock, ColdError> {
        let map = self.write_map()?;
        self.flush()?;
        self.sync()?;
        let superblock = superblock(map[0]);
        debug_assert_eq!(superblock.checkpoint, self.checkpoint);
        let mut page = superblock.page();
        self.submit(superblock.place(), page.seal(superblock.place(), self.checkpoint))?;
        self.flush()?;
        self.sync()?;
        self.checkpoint += 1;
        self.written.clear();
        self.fresh.clear();
        self.forget_reads();
        self.freed.append(&mut self.map);
        self.map = map;
        if may_reuse(&self.held) {
            for page in self.held.drain(..) {
                self.space.give(page);
            }
        }
        self.held.append(&mut self.freed);
        Ok(superblock)
    }

    /// Gives up what was written since the last checkpoint.
    ///
    /// # Errors
    ///
    /// What the disk says of writes that were under way.
    pub(crate) fn abandon(&mut self) -> Result<(), ColdError> {
        self.run = None;
        let flushed = self.flush();
        self.forget_reads();
        self.fresh.clear();
        for page in self.written.drain(..) {
            self.space.give(page);
        }
        self.freed.clear();
        flushed
    }

    /// The pages of the map that was read with the last superblock.
    pub(crate) fn set_map(&mut self, pages: Vec<PageNumber>) {
        self.map = pages;
    }

    /// Keeps what the checkpoint before the last one refers to until there is another one.
    pub(crate) fn hold(&mut self, before: &Space) {
        self.held = self.space.take_all_of(before);
    }

    /// Gives back what the file has behind the last page in use.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn trim(&mut self) -> Result<(), ColdError> {
        let end = PageNumber(self.space.end()).offset();
        let behind =
            self.disk.len(self.file.id())?.saturating_sub(end) / PAGE_BYTES as u64 * PAGE_BYTES as u64;
        if behind > 0 {
            let operation = Operation::Trim { offset: end, length: behind };
            super::journal::complete(&mut *self.queue, self.file.id(), operation)?;
            self.length = self.length.min(end);
        }
        Ok(())
    }

    /// Makes durable what may be in the system's memory only.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn settle(&mut self) -> Result<(), ColdError> {
        self.sync()
    }

    /// The map of pages in use once the checkpoint is made.
    fn write_map(&mut self) -> Result<Vec<PageNumber>, ColdError> {
        let mut places = Vec::new();
        while (places.len() as u64) < self.space.map_len() {
            let place = self.space.take()?;
            self.written.push(place);
            places.push(place);
        }
        let mut after = self.space.clone();
        for page in self.freed.iter().chain(&self.held).chain(&self.map) {
            after.give(*page);
        }
        for (mut page, place) in after.map(&places).into_iter().zip(&places) {
            let checkpoint = self.checkpoint;
            self.submit(*place, page.seal(*place, checkpoint))?;
        }
        Ok(places)
    }

    /// Writes a page, with its neighbours if they follow.
    fn submit(&mut self, number: PageNumber, bytes: &[u8; PAGE_BYTES]) -> Result<(), ColdError> {
        self.counts.writes += 1;
        let is_next = self.run.as_ref().is_some_and(|run| run.next() == number && run.bytes < RUN_BYTES);
        if !is_next {
            self.end_run()?;
        }
        let run = self.run.get_or_insert_with(|| Run {
            start: number,
            bytes: 0,
            buffer: self.disk.buffers().take(RUN_BYTES),
        });
        run.buffer[run.bytes..run.bytes + PAGE_BYTES].copy_from_slice(bytes);
        run.bytes += PAGE_BYTES;
        Ok(())
    }

    fn end_run(&mut self) -> Result<(), ColdError> {
        let Some(Run { start, bytes, mut buffer }) = self.run.take() else { return Ok(()) };
        self.grow_to(start.offset() + bytes as u64)?;
        buffer.resize(bytes);
        if self.queue.in_flight() >= self.queue.capacity() {
            self.reap(1)?;
        }
        send(&mut *self.queue, self.file.id(), start.0, Operation::Write { offset: start.offset(), buffer });
        Ok(())
    }

    /// Makes the file longer, by more than is needed: a write at its end keeps all others from it.
    fn grow_to(&mut self, end: u64) -> Result<(), ColdError> {
        if end <= self.length {
            return Ok(());
        }
        let whole = |bytes: u64| bytes.next_multiple_of(PAGE_BYTES as u64);
        let length = whole((self.length / GROWTH_PART).clamp(GROWTH_MIN, GROWTH_MAX).max(end - self.length));
        self.flush_writes()?;
        let operation = Operation::Preallocate { offset: self.length, length };
        match super::journal::complete(&mut *self.queue, self.file.id(), operation) {
            Ok(_) => self.length += length,
            // There may be room for what is to be written now.
            Err(DiskError::Full { .. }) => self.length = end,
            Err(error) => {
                self.has_failed = true;
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn reap(&mut self, at_least: usize) -> Result<(), ColdError> {
        let mut completions = Vec::new();
        let waited = self.queue.wait(at_least, None, &mut completions);
        self.has_failed |= waited.is_err();
        waited?;
        match completions.into_iter().find_map(|completion| completion.result.err()) {
            Some(error) => {
                self.has_failed = true;
                Err(error.into())
            }
            None => Ok(()),
        }
    }

    /// Waits for all writes.
    fn flush(&mut self) -> Result<(), ColdError> {
        let ended = self.end_run();
        ended.and(self.flush_writes())
    }

    fn flush_writes(&mut self) -> Result<(), ColdError> {
        let mut flushed = Ok(());
        while self.queue.in_flight() > 0 {
            let before = self.queue.in_flight();
            flushed = flushed.and(self.reap(before));
            if self.queue.in_flight() == before {
                break;
            }
        }
        flushed
    }

    fn sync(&mut self) -> Result<(), ColdError> {
        self.counts.syncs += 1;
        let synced = super::journal::complete(&mut *self.queue, self.file.id(), Operation::Sync);
        self.has_failed |= synced.is_err();
        synced?;
        Ok(())
    }
}

/// Submits to a queue that has room.
fn send(queue: &mut dyn Queue, file: FileId, tag: u64, operation: Operation) {
    if let Err(full) = queue.submit(Request { tag, file, operation }) {
        unreachable!("there is room: {full}");
    }
}

/// Reads a page through a queue in which nothing is in flight.
pub(crate) fn read_page(
    disk: &dyn Disk,
    queue: &mut dyn Queue,
    file: FileId,
    number: PageNumber,
) -> Result<Result<Page, PageDamage>, ColdError> {
    let buffer = disk.buffers().take(PAGE_BYTES);
    let operation = Operation::Read { offset: number.offset(), buffer };
    match super::journal::complete(queue, file, operation) {
        Ok(completion) => Ok(open_page(completion.buffer, number)),
        Err(DiskError::BeyondEnd { .. }) => Ok(Err(PageDamage::Magic)),
        Err(error) => Err(error.into()),
    }
}

/// A page out of the buffer that it was read into.
pub(crate) fn open_page(buffer: Option<Buffer>, number: PageNumber) -> Result<Page, PageDamage> {
    let whole = buffer.and_then(|buffer| buffer.to_vec().into_boxed_slice().try_into().ok());
    let bytes = whole.unwrap_or_else(zeroed);
    Page::open(bytes, number)
}

impl PageFile {
    /// Lets go of what was asked for in vain: another page may come to its place.
    fn forget_reads(&mut self) {
        while self.reads.in_flight() > 0 {
            let before = self.reads.in_flight();
            // Nobody wants to know of those that fail.
            let _ = self.reap_reads();
            if self.reads.in_flight() == before {
                break;
            }
        }
        self.ahead.clear();
    }

    /// Submits reads, as many as the queue takes, of pages that are not on their way.
    fn submit_reads(&mut self, numbers: &[PageNumber]) {
        for number in numbers {
            if self.reads.in_flight() >= self.reads.capacity() {
                return;
            }
            if self.ahead.contains_key(number) || self.fresh.contains(number) {
                continue;
            }
            let buffer = self.disk.buffers().take(PAGE_BYTES);
            let operation = Operation::Read { offset: number.offset(), buffer };
            send(&mut *self.reads, self.file.id(), number.0, operation);
            self.ahead.insert(*number, None);
        }
    }

    /// Takes what was read; waits for something if there is nothing.
    fn reap_reads(&mut self) -> Result<(), ColdError> {
        let mut completions = Vec::new();
        self.reads.wait(1, None, &mut completions)?;
        let mut reaped = Ok(());
        for completion in completions {
            let number = PageNumber(completion.tag);
            let page = match completion.result {
                Ok(_) => open_page(completion.buffer, number),
                // No page was ever written there.
                Err(DiskError::BeyondEnd { .. }) => Err(PageDamage::Magic),
                Err(error) => {
                    self.ahead.remove(&number);
                    reaped = Err(error.into());
                    continue;
                }
            };
            self.ahead.insert(number, Some(page));
        }
        reaped
    }
}

impl Pages for PageFile {
    fn read(&mut self, numbers: &[PageNumber]) -> Result<Vec<Page>, ColdError> {
        self.counts.reads += numbers.len() as u64;
        if numbers.iter().any(|number| self.fresh.contains(number)) {
            self.flush()?;
            for number in numbers {
                self.fresh.remove(number);
            }
        }
        let mut pages = Vec::with_capacity(numbers.len());
        for (at, number) in numbers.iter().enumerate() {
            let read = loop {
                self.submit_reads(&numbers[at..]);
                match self.ahead.get(number) {
                    Some(Some(_)) => break self.ahead.remove(number).flatten(),
                    _ => self.reap_reads()?,
                }
            };
            let Some(page) = read else { unreachable!("it was read") };
            pages.push(page.map_err(|damage| ColdError::Damaged { number: *number, damage })?);
        }
        Ok(pages)
    }

    fn prefetch(&mut self, numbers: &[PageNumber]) {
        self.submit_reads(numbers);
    }

    fn write(&mut self, mut page: Page) -> Result<PageNumber, ColdError> {
        let number = self.space.take()?;
        self.written.push(number);
        self.fresh.insert(number);
        let checkpoint = self.checkpoint;
        self.submit(number, page.seal(number, checkpoint))?;
        Ok(number)
    }

    fn free(&mut self, number: PageNumber) {
        self.freed.push(number);
    }
}
