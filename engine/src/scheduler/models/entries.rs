//! Who moves an entry from one state to another.

use super::{machine::Programs, model};
use crate::{
    scheduler::{
        Incarnation,
        entry::{Entry, State},
    },
    sync::Mutex,
};
use loom::thread;
use std::sync::Arc;

const FIRST: Incarnation = Incarnation(0);
const SECOND: Incarnation = Incarnation(1);

fn entry() -> Arc<Entry<Programs>> {
    Arc::new(Entry::new())
}

fn running() -> Arc<Entry<Programs>> {
    let entry = entry();
    assert_eq!(entry.start(), Some(FIRST));
    entry
}

fn done() -> Arc<Entry<Programs>> {
    let entry = running();
    assert!(entry.finish(FIRST));
    entry
}

#[test]
fn one_worker_claims_an_entry() {
    model(3, || {
        let entry = entry();
        let others: Vec<_> = (0..2)
            .map(|_| {
                let entry = Arc::clone(&entry);
                thread::spawn(move || entry.start())
            })
            .collect();
        let mut claims = vec![entry.start()];
        claims.extend(others.into_iter().map(|other| other.join().unwrap()));
        assert_eq!(claims.iter().flatten().count(), 1, "{claims:?}");
        assert_eq!(entry.status(), (State::Running, FIRST));
    });
}

/// A worker reads a number that others change. Whichever way they meet, one of them finds out. A `finish` that
/// overwrites the mark, or that is not followed by a look when it fails, leaves the stale read unnoticed. So does
/// a number without a lock: `finish` clears a second mark without reading it, and only the lock orders the two.
#[test]
fn a_stale_read_is_found_by_its_reader_or_by_the_writer() {
    model(3, || {
        let entry = running();
        let value = Arc::new(Mutex::new(0));
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let (entry, value) = (Arc::clone(&entry), Arc::clone(&value));
                thread::spawn(move || {
                    *value.lock() += 1;
                    // As the scheduler checks an entry that it tells of a write.
                    if entry.suspect() {
                        return;
                    }
                    assert_ne!(entry.status().0, State::Running, "not running, said `suspect`");
                    entry.transition(FIRST, State::Done, State::Invalidating);
                })
            })
            .collect();

        let seen = *value.lock();
        let mut finds_out = false;
        while !finds_out && !entry.finish(FIRST) {
            finds_out = *value.lock() != seen;
        }
        for writer in writers {
            writer.join().unwrap();
        }
        let is_stale = *value.lock() != seen;
        let is_done = entry.status().0 == State::Done;
        assert!(!(is_stale && is_done), "a stale read counts as done");
    });
}

/// The frontier, a checker and another checker want the same executed entry: one gets it.
#[test]
fn an_executed_entry_is_committed_or_sent_back() {
    model(3, || {
        let entry = done();
        let takers = [State::Committing, State::Invalidating].map(|to| {
            let entry = Arc::clone(&entry);
            thread::spawn(move || entry.transition(FIRST, State::Done, to))
        });
        let mut wins = u32::from(entry.transition(FIRST, State::Done, State::Invalidating));
        for taker in takers {
            wins += u32::from(taker.join().unwrap());
        }
        assert_eq!(wins, 1);
    });
}

/// What was found out about an incarnation is not held against the next one.
#[test]
fn a_late_verdict_does_not_hit_the_next_incarnation() {
    model(3, || {
        let entry = done();
        let late = {
            let entry = Arc::clone(&entry);
            thread::spawn(move || {
                let (state, incarnation) = entry.status();
                let hits = state == State::Done && entry.transition(incarnation, state, State::Invalidating);
                hits.then_some(incarnation)
            })
        };
        let restarted = entry.transition(FIRST, State::Done, State::Committing);
        if restarted {
            assert_eq!(entry.restart(FIRST), SECOND);
            assert!(entry.finish(SECOND));
        }
        let hit = late.join().unwrap();
        assert_eq!(hit == Some(FIRST), !restarted, "one of them had the first incarnation");
        let expected = if hit.is_some() { State::Invalidating } else { State::Done };
        assert_eq!(entry.status().0, expected);
    });
}

/// `wait_for` and `release_dependents` of the scheduler, between an entry that waits, the one it waits for, and
/// somebody who suspects the first. A waiter that looks at the blocker before it has the lock sleeps for ever.
#[test]
fn a_waiting_entry_is_made_ready_once() {
    model(3, || {
        let (waiter, blocker) = (running(), running());
        let finishing = {
            let (waiter, blocker) = (Arc::clone(&waiter), Arc::clone(&blocker));
            thread::spawn(move || {
                assert!(blocker.finish(FIRST), "nobody suspects it");
                let mut retries = 0;
                for dependent in std::mem::take(&mut *blocker.dependents.lock()) {
                    assert_eq!((dependent, waiter.status().0), (1, State::Waiting));
                    waiter.make_ready(FIRST);
                    retries += 1;
                }
                retries
            })
        };
        let suspecting = {
            let waiter = Arc::clone(&waiter);
            thread::spawn(move || waiter.suspect())
        };

        let mut retries = 0;
        if waiter.transition(FIRST, State::Running, State::Waiting) {
            let mut dependents = blocker.dependents.lock();
            match blocker.status().0 {
                State::Done | State::Committing | State::Committed => {
                    drop(dependents);
                    waiter.make_ready(FIRST);
                    retries += 1;
                }
                _ => dependents.push(1),
            }
        } else {
            waiter.make_ready(FIRST);
            retries += 1;
        }
        retries += finishing.join().unwrap();
        suspecting.join().unwrap();
        assert_eq!(waiter.status(), (State::Ready, SECOND));
        assert_eq!(retries, 1);
    });
}
