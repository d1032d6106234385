//! Reads that nobody waits for: each thread has a queue of its own, and is told what was found where it lets them go on.

use super::{
    error::ColdError,
    page::{Page, PageNumber},
    view::{Shared, View},
    walk::{Answer, Sought, Walk},
};
use citius_io::{Completion, Queue};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    fmt,
    sync::Arc,
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
    threads: ThreadLocal<Mutex<Thread>>,
}

/// What one thread asks for.
#[derive(Debug, Default)]
struct Thread {
    /// Taken when something is to be read.
    queue: Option<Box<dyn Queue>>,
    /// Those that go on with a page, for each that is on its way.
    waiting: HashMap<PageNumber, Vec<Goal>>,
    /// Pages for which the queue has no room.
    backlog: VecDeque<PageNumber>,
    completions: Vec<Completion>,
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

impl Shared {
    /// Looks for something. If it takes reads, they are begun, and go on where the thread calls [`Shared::progress`]. `tell` is
    /// called once, perhaps at once, and never while anything is locked here.
    pub(crate) fn ask(&self, view: Arc<View>, sought: Sought, tell: Tell) {
        let mut ended = Ended::new();
        let walk = Walk::new(&view.superblock, sought);
        let mut goal = Goal { walk, view, tell };
        match self.walk_on(&mut goal, None) {
            Err(error) => ended.push((goal.tell, Err(error))),
            Ok(None) => end(goal, &mut ended),
            Ok(Some(number)) => {
                let mut thread = self.asking.threads.get_or_default().lock();
                self.wait_for(&mut thread, number, goal);
                // Many at once: each time that the disk is told costs as much as a short transaction.
                if thread.backlog.len() >= SENT_TOGETHER {
                    self.submit(&mut thread, &mut ended);
                }
            }
        }
        tell_all(ended);
    }

    /// Lets the reads go on that the calling thread began. If none is done, and `wait` is given, sleeps until one is, but no longer.
    /// Whether there are any still.
    pub(crate) fn progress(&self, wait: Option<Duration>) -> bool {
        let Some(thread) = self.asking.threads.get() else { return false };
        let mut ended = Ended::new();
        let is_left = {
            let mut thread = thread.lock();
            let thread = &mut *thread;
            if thread.waiting.is_empty() {
                return false;
            }
            self.submit(thread, &mut ended);
            let mut completions = std::mem::take(&mut thread.completions);
            if let Some(queue) = &mut thread.queue {
                let taken = match wait.filter(|_| ended.is_empty()) {
                    Some(wait) => queue.wait(1, Some(wait), &mut completions),
                    None => queue.poll(&mut completions),
                };
                if let Err(error) = taken {
                    thread.fail(&error.into(), &mut ended);
                }
            }
            for completion in completions.drain(..) {
                self.complete(thread, completion, &mut ended);
            }
            thread.completions = completions;
            self.submit(thread, &mut ended);
            !thread.waiting.is_empty()
        };
        tell_all(ended);
        is_left
    }

    /// Walks as far as pages are there: the page that is to be read, or none at the end.
    fn walk_on(&self, goal: &mut Goal, page: Option<&Page>) -> Result<Option<PageNumber>, ColdError> {
        if let Some(page) = page {
            goal.walk.give(page)?;
        }
        while let Some(number) = goal.walk.next() {
            match self.cached(number) {
                Some(page) => goal.walk.give(&page)?,
                None => return Ok(Some(number)),
            }
        }
        Ok(None)
    }

    /// Has a goal wait for a page, and sees that it is read, with those that it will need then.
    fn wait_for(&self, thread: &mut Thread, number: PageNumber, goal: Goal) {
        let ahead = goal.walk.ahead().iter().rev().filter(|number| self.cached(**number).is_none());
        let ahead: Vec<PageNumber> = ahead.copied().collect();
        match thread.waiting.entry(number) {
            Entry::Occupied(mut goals) => goals.get_mut().push(goal),
            Entry::Vacant(place) => {
                thread.backlog.push_back(number);
                place.insert(vec![goal]);
            }
        }
        for number in ahead {
            if let Entry::Vacant(place) = thread.waiting.entry(number) {
                thread.backlog.push_back(number);
                place.insert(Vec::new());
            }
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
        let goals = thread.waiting.remove(&PageNumber(completion.tag)).unwrap_or_default();
        match self.take_in(completion) {
            Ok(page) => {
                for mut goal in goals {
                    match self.walk_on(&mut goal, Some(&page)) {
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
    /// Nothing can be read by this queue.
    fn fail(&mut self, error: &ColdError, ended: &mut Ended) {
        self.queue = None;
        self.backlog.clear();
        let goals = self.waiting.drain().flat_map(|(_, goals)| goals);
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
