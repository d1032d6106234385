//! Reads that nobody waits for: each thread has a queue of its own, and is told what was found where it lets them go on.

use super::{
    error::ColdError,
    page::{Page, PageNumber},
    view::{Shared, View},
    walk::{Answer, Sought, Walk},
    ways::Ways,
};
use citius_io::{Completion, Queue};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use thread_local::ThreadLocal;

/// Reads that are sent together at most, unless somebody waits.
const SENT_TOGETHER: usize = 16;

/// Who is told what was found.
pub(crate) type Tell = Box<dyn FnOnce(Result<Answer, ColdError>) + Send>;

/// What the threads ask for.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    threads: ThreadLocal<Own>,
}

/// What is one thread's.
#[derive(Debug, Default)]
struct Own {
    /// Pages that it found among those that it remembers.
    hits: AtomicU64,
    thread: Mutex<Thread>,
}

/// What one thread asks for.
#[derive(Debug, Default)]
struct Thread {
    /// Taken when something is to be read.
    queue: Option<Box<dyn Queue>>,
    /// The pages that are on their way.
    waiting: HashMap<PageNumber, Awaited>,
    /// Pages for which the queue has no room.
    backlog: VecDeque<PageNumber>,
    completions: Vec<Completion>,
    ways: Ways,
}

/// A page that is on its way.
#[derive(Debug)]
struct Awaited {
    /// As long as it is held, the page stays what it is, though nobody may want it yet.
    view: Arc<View>,
    /// Those that go on with it.
    goals: Vec<Goal>,
}

struct Goal {
    walk: Walk,
    /// What it walks in stays as it is.
    view: Arc<View>,
    tell: Tell,
}

impl fmt::Debug for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Goal").field("walk", &self.walk).finish_non_exhaustive()
    }
}

/// Goals at their end.
type Ended = Vec<(Tell, Result<Answer, ColdError>)>;

/// What was found at once.
#[derive(Debug)]
pub(crate) enum Looked {
    Found(Answer),
    /// The way to it leads to pages that are to be read.
    OnDisk(Begun),
}

/// A way as far as pages are in memory.
#[derive(Debug)]
pub(crate) struct Begun {
    walk: Walk,
    view: Arc<View>,
    next: PageNumber,
}

impl Shared {
    /// Looks for something in the last checkpoint, as far as pages are in memory.
    ///
    /// # Errors
    ///
    /// [`ColdError::Damaged`], [`ColdError::Blinded`].
    pub(crate) fn look(&self, sought: Sought) -> Result<Looked, ColdError> {
        let own = self.asking.threads.get_or_default();
        let mut thread = own.thread.lock();
        let view = thread.ways.view(self);
        let mut walk = Walk::new(&view.superblock, sought);
        if let Some(slots) = walk.account().and_then(|account| thread.ways.slots_of(&account)) {
            walk.skip_to(slots);
        }
        let next = self.walk_on(&mut thread.ways, &mut walk, None);
        // Relaxed: a counter.
        own.hits.store(thread.ways.hits(), Ordering::Relaxed);
        Ok(match next? {
            Some(next) => Looked::OnDisk(Begun { walk, view: Arc::clone(thread.ways.held(self)), next }),
            None => match walk.into_answer() {
                Some(answer) => Looked::Found(answer),
                None => unreachable!("it needed no page any more"),
            },
        })
    }

    /// Goes on with what was begun. The reads go on where the thread calls [`Shared::progress`]. `tell` is called once, perhaps at
    /// once, and never while anything is locked here.
    pub(crate) fn read(&self, begun: Begun, tell: Tell) {
        let mut ended = Ended::new();
        {
            let mut thread = self.asking.threads.get_or_default().thread.lock();
            let Begun { walk, view, next } = begun;
            debug_assert_eq!(walk.checkpoint(), view.superblock.checkpoint);
            self.wait_for(&mut thread, next, Goal { walk, view, tell });
            // Many at once: each time that the disk is told costs as much as a short transaction.
            if thread.backlog.len() >= SENT_TOGETHER {
                self.submit(&mut thread, &mut ended);
            }
        }
        tell_all(ended);
    }

    /// Lets the reads go on that the calling thread began. If none is done, and `wait` is given, sleeps until one is, but no longer.
    /// Whether there are any still.
    pub(crate) fn progress(&self, wait: Option<Duration>) -> bool {
        let Some(own) = self.asking.threads.get() else { return false };
        let mut ended = Ended::new();
        let is_left = self.advance_thread(&mut own.thread.lock(), wait, &mut ended);
        tell_all(ended);
        is_left
    }

    /// Lets the reads go on of threads that began some and do something else now: they hold views.
    pub(crate) fn progress_of_all(&self) {
        let mut ended = Ended::new();
        for own in &self.asking.threads {
            if let Some(mut thread) = own.thread.try_lock() {
                thread.ways.view(self);
                self.advance_thread(&mut thread, None, &mut ended);
            }
        }
        tell_all(ended);
    }

    /// Pages that threads found among those that they remember.
    pub(super) fn hits_of_threads(&self) -> u64 {
        self.asking.threads.iter().map(|own| own.hits.load(Ordering::Relaxed)).sum()
    }

    fn advance_thread(&self, thread: &mut Thread, wait: Option<Duration>, ended: &mut Ended) -> bool {
        if thread.waiting.is_empty() {
            return false;
        }
        self.submit(thread, ended);
        let mut completions = std::mem::take(&mut thread.completions);
        if let Some(queue) = &mut thread.queue {
            let taken = match wait.filter(|_| ended.is_empty()) {
                Some(wait) => queue.wait(1, Some(wait), &mut completions),
                None => queue.poll(&mut completions),
            };
            if let Err(error) = taken {
                thread.fail(&error.into(), ended);
            }
        }
        for completion in completions.drain(..) {
            self.complete(thread, completion, ended);
        }
        thread.completions = completions;
        self.submit(thread, ended);
        !thread.waiting.is_empty()
    }

    /// Walks as far as pages are there: the page that is to be read, or none at the end.
    fn walk_on(
        &self,
        ways: &mut Ways,
        walk: &mut Walk,
        mut page: Option<&Arc<Page>>,
    ) -> Result<Option<PageNumber>, ColdError> {
        while let Some(number) = walk.next() {
            let found;
            let page = match page.take() {
                Some(page) => page,
                None if ways.lead(number, walk)? => continue,
                None => match self.cached(number) {
                    Some(page) => {
                        found = page;
                        &found
                    }
                    None => return Ok(Some(number)),
                },
            };
            let account = walk.account();
            walk.give(page)?;
            ways.note(number, page, account, walk, self.pages_of_thread);
        }
        Ok(None)
    }

    /// Has a goal wait for a page, and sees that it is read, with those that it will need then.
    fn wait_for(&self, thread: &mut Thread, number: PageNumber, goal: Goal) {
        let ahead = goal.walk.ahead().iter().rev().filter(|number| self.cached(**number).is_none());
        let ahead: Vec<PageNumber> = ahead.copied().collect();
        let view = Arc::clone(&goal.view);
        thread.await_page(number, &view).push(goal);
        for number in ahead {
            thread.await_page(number, &view);
        }
    }

    fn submit(&self, thread: &mut Thread, ended: &mut Ended) {
        if thread.backlog.is_empty() {
            return;
        }
        if thread.queue.is_none() {
            match self.take_queue() {
                Ok(queue) => thread.queue = Some(queue),
                Err(error) => return thread.fail(&error, ended),
            }
        }
        let Some(queue) = &mut thread.queue else { return };
        while queue.in_flight() < queue.capacity()
            && let Some(number) = thread.backlog.pop_front()
        {
            if queue.submit(self.request(number)).is_err() {
                thread.backlog.push_front(number);
                break;
            }
        }
        // Sends it: nobody may ask for anything else for a while.
        if let Err(error) = queue.poll(&mut thread.completions) {
            thread.fail(&error.into(), ended);
        }
        for completion in std::mem::take(&mut thread.completions) {
            self.complete(thread, completion, ended);
        }
    }

    fn complete(&self, thread: &mut Thread, completion: Completion, ended: &mut Ended) {
        let awaited = thread.waiting.remove(&PageNumber(completion.tag));
        // The view is held until the page is in the cache.
        let (_view, goals) = awaited.map(|Awaited { view, goals }| (view, goals)).unzip();
        let goals = goals.unwrap_or_default();
        match self.take_in(completion) {
            Ok(page) => {
                for mut goal in goals {
                    match self.walk_on(&mut thread.ways, &mut goal.walk, Some(&page)) {
                        Ok(Some(number)) => self.wait_for(thread, number, goal),
                        Ok(None) => end(goal, ended),
                        Err(error) => ended.push((goal.tell, Err(error))),
                    }
                }
            }
            Err(error) => ended.extend(goals.into_iter().map(|goal| (goal.tell, Err(error.clone())))),
        }
    }
}

impl Thread {
    /// Sees that a page is read: those that go on with it.
    fn await_page(&mut self, number: PageNumber, view: &Arc<View>) -> &mut Vec<Goal> {
        let backlog = &mut self.backlog;
        let awaited = self.waiting.entry(number).or_insert_with(|| {
            backlog.push_back(number);
            Awaited { view: Arc::clone(view), goals: Vec::new() }
        });
        &mut awaited.goals
    }

    /// Nothing can be read by this queue.
    fn fail(&mut self, error: &ColdError, ended: &mut Ended) {
        self.queue = None;
        self.backlog.clear();
        let goals = self.waiting.drain().flat_map(|(_, awaited)| awaited.goals);
        ended.extend(goals.map(|goal| (goal.tell, Err(error.clone()))));
    }
}

fn end(goal: Goal, ended: &mut Ended) {
    if let Some(answer) = goal.walk.into_answer() {
        ended.push((goal.tell, Ok(answer)));
    }
    // The view goes once the answer is there.
    drop(goal.view);
}

fn tell_all(ended: Ended) {
    for (tell, answer) in ended {
        tell(answer);
    }
}
