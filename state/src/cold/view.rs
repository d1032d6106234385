//! The pages of the last checkpoint for all who read: beside one another, and beside the checkpoint in the making.

use super::{
    asking::Asking,
    error::ColdError,
    file::{OpenFile, open_page, read_page},
    page::{PAGE_BYTES, Page, PageNumber},
    superblock::Superblock,
    walk::{Answer, Sought, Walk},
    ways::pages_of_thread,
};
use citius_io::{Disk, DiskError, Operation, Queue, Request};
use parking_lot::{Mutex, RwLock};
use quick_cache::sync::Cache;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

/// Bytes that a page takes in the cache beside its own.
const OVERHEAD: u64 = 256;
/// Pages of a level that tell whether it is one of leaves.
const SAMPLE: usize = 32;

/// The pages that one checkpoint refers to. None of them is written over as long as it lives.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) superblock: Superblock,
}

/// Reads pages, through a cache of them.
///
/// A page's number says what is on it as long as a view lives that refers to it: only what no view has is used again, and leaves the
/// cache before ([`Shared::forget`]).
#[derive(Debug)]
pub(crate) struct Shared {
    disk: Arc<dyn Disk>,
    file: Arc<OpenFile>,
    view: RwLock<Arc<View>>,
    /// Its number.
    checkpoint: AtomicU64,
    /// Views that somebody may have still, the oldest first.
    older: Mutex<VecDeque<Weak<View>>>,
    cache: Cache<PageNumber, Arc<Page>>,
    /// Queues that nobody uses now.
    queues: Mutex<Vec<Box<dyn Queue>>>,
    reads: AtomicU64,
    hits: AtomicU64,
    pub(super) asking: Asking,
    /// Pages that each thread remembers.
    pub(super) pages_of_thread: usize,
}

impl Shared {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        file: Arc<OpenFile>,
        superblock: Superblock,
        cache_bytes: u64,
    ) -> Self {
        let pages = (cache_bytes / (PAGE_BYTES as u64 + OVERHEAD)).max(1);
        let pages = usize::try_from(pages).unwrap_or(usize::MAX);
        Self {
            disk,
            file,
            view: RwLock::new(Arc::new(View { superblock })),
            checkpoint: AtomicU64::new(superblock.checkpoint),
            older: Mutex::default(),
            cache: Cache::new(pages),
            queues: Mutex::default(),
            reads: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            asking: Asking::default(),
            pages_of_thread: pages_of_thread(pages),
        }
    }

    /// The pages of the last checkpoint.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read())
    }

    pub(crate) fn superblock(&self) -> Superblock {
        self.view.read().superblock
    }

    /// The number of the last checkpoint.
    pub(crate) fn checkpoint(&self) -> u64 {
        // Acquire: whoever sees the number finds the view.
        self.checkpoint.load(Ordering::Acquire)
    }

    /// There is a new checkpoint.
    pub(crate) fn advance(&self, superblock: Superblock) {
        let before = std::mem::replace(&mut *self.view.write(), Arc::new(View { superblock }));
        self.checkpoint.store(superblock.checkpoint, Ordering::Release);
        let mut older = self.older.lock();
        older.retain(|view| view.strong_count() > 0);
        older.push_back(Arc::downgrade(&before));
    }

    /// Whether nobody reads by a checkpoint before the last one.
    pub(crate) fn is_last_alone(&self) -> bool {
        self.has_no_older() || {
            self.progress_of_all();
            self.has_no_older()
        }
    }

    fn has_no_older(&self) -> bool {
        self.older.lock().iter().all(|view| view.strong_count() == 0)
    }

    /// Pages that are to be used again.
    pub(crate) fn forget(&self, numbers: &[PageNumber]) {
        for number in numbers {
            self.cache.remove(number);
        }
    }

    pub(crate) fn cached(&self, number: PageNumber) -> Option<Arc<Page>> {
        let page = self.cache.get(&number);
        if page.is_some() {
            // Relaxed, here and below: counters.
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
        page
    }

    /// Pages read from the disk, and found in the cache.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.reads.load(Ordering::Relaxed), self.hits.load(Ordering::Relaxed) + self.hits_of_threads())
    }

    /// A queue for a thread to read by.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn take_queue(&self) -> Result<Box<dyn Queue>, ColdError> {
        let queue = self.queues.lock().pop();
        queue.map_or_else(|| Ok(self.disk.queue()?), Ok)
    }

    /// Gives a queue back in which nothing is in flight.
    pub(crate) fn give_queue(&self, queue: Box<dyn Queue>) {
        if queue.in_flight() == 0 {
            self.queues.lock().push(queue);
        }
    }

    /// The request for a page.
    pub(crate) fn request(&self, number: PageNumber) -> Request {
        let operation =
            Operation::Read { offset: number.offset(), buffer: self.disk.buffers().take(PAGE_BYTES) };
        Request { tag: number.0, file: self.file.id(), operation }
    }

    /// Takes a page in that was asked for.
    ///
    /// # Errors
    ///
    /// [`ColdError::Damaged`], and what the disk says.
    pub(crate) fn take_in(&self, completion: citius_io::Completion) -> Result<Arc<Page>, ColdError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let number = PageNumber(completion.tag);
        let damaged = |damage| ColdError::Damaged { number, damage };
        match completion.result {
            Ok(_) => {
                let page = Arc::new(open_page(completion.buffer, number).map_err(damaged)?);
                self.cache.insert(number, Arc::clone(&page));
                Ok(page)
            }
            // No page was ever written there.
            Err(DiskError::BeyondEnd { .. }) => Err(damaged(super::error::PageDamage::Magic)),
            Err(error) => Err(error.into()),
        }
    }

    /// A page of a view that the caller holds. Waits for the disk.
    ///
    /// # Errors
    ///
    /// As [`Shared::take_in`].
    pub(crate) fn page(&self, number: PageNumber) -> Result<Arc<Page>, ColdError> {
        if let Some(page) = self.cached(number) {
            return Ok(page);
        }
        let mut queue = self.take_queue()?;
        let read = read_page(&*self.disk, &mut *queue, self.file.id(), number);
        self.give_queue(queue);
        self.reads.fetch_add(1, Ordering::Relaxed);
        let page = read?.map_err(|damage| ColdError::Damaged { number, damage })?;
        let page = Arc::new(page);
        self.cache.insert(number, Arc::clone(&page));
        Ok(page)
    }

    /// Finds something in a view. Waits for the disk.
    ///
    /// # Errors
    ///
    /// [`ColdError::Damaged`], [`ColdError::Blinded`], and what the disk says.
    pub(crate) fn find(&self, view: &View, sought: Sought) -> Result<Answer, ColdError> {
        let mut walk = Walk::new(&view.superblock, sought);
        while let Some(number) = walk.next() {
            walk.give(&*self.page(number)?)?;
        }
        match walk.into_answer() {
            Some(answer) => Ok(answer),
            None => unreachable!("it needed no page any more"),
        }
    }

    /// Reads all pages on the ways to what will be looked for, many at a time. What goes wrong is told to whoever looks.
    pub(crate) fn prepare(&self, view: &View, sought: impl Iterator<Item = Sought>) {
        let Ok(mut queue) = self.take_queue() else { return };
        let mut walks: Vec<Walk> = sought.map(|sought| Walk::new(&view.superblock, sought)).collect();
        let mut read: HashMap<PageNumber, Option<Arc<Page>>> = HashMap::new();
        while !walks.is_empty() {
            let mut wanted: Vec<PageNumber> = Vec::new();
            let mut met: HashSet<PageNumber> = HashSet::new();
            walks.retain_mut(|walk| self.go_on(walk, &read, &mut met, &mut wanted));
            read.clear();
            if wanted.is_empty() || self.read_all(&mut *queue, &wanted, &mut read).is_err() {
                break;
            }
        }
        self.give_queue(queue);
    }

    /// Reads the pages that lead to others, from the root on, level by level, as long as most of a level do and no more than so many: then what
    /// is looked for is one page away. How many were read. What goes wrong is told to whoever looks.
    pub(crate) fn warm(&self, view: &View, most: usize) -> usize {
        let Ok(mut queue) = self.take_queue() else { return 0 };
        let Superblock { accounts, codes, .. } = view.superblock;
        let mut level: Vec<PageNumber> = accounts.iter().chain(&codes).map(|tree| tree.page).collect();
        let mut count = 0;
        while !level.is_empty() && count + level.len() <= most {
            let mut below = Vec::new();
            // A few first: of leaves there are many more.
            let mut leads_on = 0;
            let mut rest = level.as_slice();
            for size in [SAMPLE, level.len()] {
                let (some, left) = rest.split_at(size.min(rest.len()));
                rest = left;
                let mut read = HashMap::new();
                if self.read_all(&mut *queue, some, &mut read).is_err() {
                    break;
                }
                let pages = some.iter().filter_map(|number| Some((*number, read.remove(number)??)));
                for (number, page) in pages {
                    let references = super::items::pages_below(&page, number);
                    leads_on += usize::from(!references.is_empty());
                    below.extend(references);
                }
                count += some.len();
                if size == SAMPLE && 2 * leads_on < some.len() {
                    below.clear();
                    break;
                }
            }
            below.sort_unstable();
            below.dedup();
            level = below;
        }
        self.give_queue(queue);
        count
    }

    /// Walks as far as pages are there. Whether one must be read.
    fn go_on(
        &self,
        walk: &mut Walk,
        read: &HashMap<PageNumber, Option<Arc<Page>>>,
        met: &mut HashSet<PageNumber>,
        wanted: &mut Vec<PageNumber>,
    ) -> bool {
        while let Some(number) = walk.next() {
            let page = match read.get(&number) {
                Some(page) => page.clone(),
                None => match self.cached(number) {
                    Some(page) => Some(page),
                    None => {
                        let all = walk.ahead().iter().copied().chain([number]);
                        wanted.extend(all.filter(|number| met.insert(*number)));
                        return true;
                    }
                },
            };
            if page.is_none_or(|page| walk.give(&page).is_err()) {
                return false;
            }
        }
        false
    }

    fn read_all(
        &self,
        queue: &mut dyn Queue,
        numbers: &[PageNumber],
        read: &mut HashMap<PageNumber, Option<Arc<Page>>>,
    ) -> Result<(), ColdError> {
        let mut numbers = numbers.iter();
        let mut completions = Vec::new();
        loop {
            while queue.in_flight() < queue.capacity()
                && let Some(number) = numbers.next()
            {
                if queue.submit(self.request(*number)).is_err() {
                    break;
                }
            }
            if queue.in_flight() == 0 {
                return Ok(());
            }
            queue.wait(1, None, &mut completions)?;
            for completion in completions.drain(..) {
                let number = PageNumber(completion.tag);
                read.insert(number, self.take_in(completion).ok());
            }
        }
    }
}
