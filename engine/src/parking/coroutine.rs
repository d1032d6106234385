use super::{
    overflow,
    stacks::{OwnStack, Stacks},
};
use citius_state::Ticket;
use corosensei::{Coroutine as Raw, CoroutineResult, Yielder, stack::DefaultStack};
use std::{cell::Cell, ptr::NonNull};

/// An execution on a stack of its own, which stays there while it is parked.
///
/// Dropped while it is parked, its stack is unwound: everything on it is dropped, and nothing else of it runs. To end it
/// in order it is resumed with [`Wake::End`].
pub(crate) struct Coroutine<R> {
    raw: Raw<Wake, Ticket, R, DefaultStack>,
    /// Where its stack ends.
    guard: overflow::Guard,
}

/// Why a parked execution goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// What it waits for may be there, or it should look whether it is worth to wait.
    GoOn,
    /// It should end: nobody asks for its result any more.
    End,
}

/// How a coroutine gave the thread back.
pub(crate) enum Left<R> {
    /// It waits for this ticket.
    Parked(Ticket),
    /// It ended with this.
    Ended(R),
}

thread_local! {
    /// What the coroutine leaves by that runs on this thread, if one does.
    static RUNNING: Cell<Option<NonNull<Yielder<Wake, Ticket>>>> = const { Cell::new(None) };
}

/// Says that a coroutine runs, until it ends in one way or another.
struct Running;

impl Running {
    fn enter(yielder: &Yielder<Wake, Ticket>) -> Self {
        RUNNING.set(Some(NonNull::from(yielder)));
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(None);
    }
}

impl<R: 'static> Coroutine<R> {
    /// What `body` does, on this stack. Nothing of it runs yet.
    pub(crate) fn new(OwnStack { stack, guard }: OwnStack, body: impl FnOnce() -> R + 'static) -> Self {
        let raw = Raw::with_stack(stack, move |yielder: &Yielder<Wake, Ticket>, _: Wake| {
            let _running = Running::enter(yielder);
            body()
        });
        Self { raw, guard }
    }

    /// Runs it until it is parked or ends. A panic goes on here; the coroutine has ended then.
    ///
    /// # Panics
    ///
    /// If it has ended, or if another coroutine runs on this thread.
    pub(crate) fn resume(&mut self, wake: Wake) -> Left<R> {
        assert!(RUNNING.get().is_none(), "a coroutine resumes another one");
        let _watched = overflow::watch(self.guard);
        match self.raw.resume(wake) {
            CoroutineResult::Yield(ticket) => Left::Parked(ticket),
            CoroutineResult::Return(result) => Left::Ended(result),
        }
    }

    /// Gives the stack back, of one that has ended.
    pub(crate) fn retire(self, stacks: &Stacks) {
        if self.raw.done() {
            stacks.give(OwnStack { stack: self.raw.into_stack(), guard: self.guard });
        }
    }
}

/// Parks the execution that runs, until its worker resumes it, and says why that did. `None` if it runs on the thread's
/// own stack, where it can not be parked.
#[expect(unsafe_code, reason = "see SAFETY")]
pub(crate) fn park(ticket: &Ticket) -> Option<Wake> {
    let yielder = RUNNING.take()?;
    // SAFETY: the yielder lives on the coroutine's stack for as long as its body runs, and is named in `RUNNING` only while
    // that runs on this very thread (coroutines are not `Send`): `Running::enter` sets it first thing in the body, its drop
    // takes it back at the end, and here it is taken back before the body is left. So whoever finds it is that body.
    let wake = unsafe { yielder.as_ref() }.suspend(ticket.clone());
    RUNNING.set(Some(yielder));
    Some(wake)
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::Arc,
    };

    fn ended<R>(left: Left<R>) -> R {
        match left {
            Left::Ended(result) => result,
            Left::Parked(_) => panic!("it is parked"),
        }
    }

    fn is_parked<R>(left: &Left<R>) -> bool {
        matches!(left, Left::Parked(_))
    }

    #[test]
    fn what_is_parked_goes_on_where_it_left_in_any_order() {
        let stacks = Stacks::default();
        let (ticket, _issuer) = Ticket::issue();
        let mut coroutines: Vec<_> = (0..3)
            .map(|number| {
                let ticket = ticket.clone();
                Coroutine::new(stacks.take().unwrap(), move || {
                    let wakes = [park(&ticket).unwrap(), park(&ticket).unwrap()];
                    (number, wakes)
                })
            })
            .collect();
        for coroutine in &mut coroutines {
            assert!(is_parked(&coroutine.resume(Wake::GoOn)));
        }
        assert_eq!(park(&ticket), None, "the thread's own stack stays");
        for coroutine in coroutines.iter_mut().rev() {
            assert!(is_parked(&coroutine.resume(Wake::GoOn)));
        }
        for (number, mut coroutine) in coroutines.into_iter().enumerate() {
            assert_eq!(ended(coroutine.resume(Wake::End)), (number, [Wake::GoOn, Wake::End]));
            coroutine.retire(&stacks);
        }
        assert_eq!(stacks.spare(), 3);
    }

    #[test]
    fn a_panic_comes_out_and_the_stack_is_used_again() {
        let stacks = Stacks::default();
        let (ticket, _issuer) = Ticket::issue();
        for parks in [false, true] {
            let ticket = ticket.clone();
            let mut coroutine = Coroutine::new(stacks.take().unwrap(), move || {
                if parks {
                    park(&ticket);
                }
                assert!(!parks && ticket.is_complete(), "it fell over");
            });
            if parks {
                assert!(is_parked(&coroutine.resume(Wake::GoOn)));
            }
            let panic = catch_unwind(AssertUnwindSafe(|| {
                coroutine.resume(Wake::GoOn);
            }));
            assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"it fell over"));
            assert_eq!(park(&Ticket::issue().0), None, "nothing runs any more");
            coroutine.retire(&stacks);
            assert_eq!(stacks.spare(), 1);
        }
    }

    #[test]
    fn a_coroutine_costs_little() {
        const ROUNDS: u32 = 1_000;
        let stacks = Stacks::default();
        let (ticket, _issuer) = Ticket::issue();
        // The best of many: whatever else the machine does is no cost of this.
        let best = |round: &dyn Fn()| {
            let batch = || {
                let began = std::time::Instant::now();
                (0..ROUNDS).for_each(|_| round());
                began.elapsed() / ROUNDS
            };
            (0..50).map(|_| batch()).min().unwrap()
        };
        let through = best(&|| {
            let mut coroutine = Coroutine::new(stacks.take().unwrap(), || std::hint::black_box(7));
            ended(coroutine.resume(Wake::GoOn));
            coroutine.retire(&stacks);
        });
        let parked = best(&|| {
            let ticket = ticket.clone();
            let mut coroutine = Coroutine::new(stacks.take().unwrap(), move || park(&ticket));
            coroutine.resume(Wake::GoOn);
            coroutine.resume(Wake::GoOn);
            coroutine.retire(&stacks);
        });
        eprintln!("from begin to end {through:?}, {:?} more where it is parked once", parked - through);
        // Both are some ten nanoseconds in a release.
        assert!(through.as_nanos() < 1_000 && parked.as_nanos() < 2_000, "{through:?}, {parked:?}");
    }

    #[test]
    fn what_is_dropped_while_parked_leaves_nothing_behind() {
        let stacks = Stacks::default();
        let (ticket, _issuer) = Ticket::issue();
        let held = Arc::new(());
        let seen = Arc::clone(&held);
        let mut coroutine = Coroutine::new(stacks.take().unwrap(), move || {
            park(&ticket);
            Arc::strong_count(&seen)
        });
        assert!(is_parked(&coroutine.resume(Wake::GoOn)));
        assert_eq!(Arc::strong_count(&held), 2);
        drop(coroutine);
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(park(&Ticket::issue().0), None);
        let never_begun = Arc::clone(&held);
        drop(Coroutine::new(stacks.take().unwrap(), move || drop(never_begun)));
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
