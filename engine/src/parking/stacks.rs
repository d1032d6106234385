use super::overflow::{self, Guard};
use corosensei::stack::{DefaultStack, Stack};
use parking_lot::Mutex;
use std::io;

/// Bytes of a stack: more than twice the most that was ever seen in use, which docs/engine.md tells. It is address space:
/// memory is taken page by page, as far down as an execution comes, and stays.
pub(crate) const STACK_BYTES: usize = 256 << 10;

/// The stack of one coroutine, with a page below it that nobody may touch.
pub(crate) struct OwnStack {
    pub(super) stack: DefaultStack,
    pub(super) guard: Guard,
}

/// Stacks that nobody is on, kept for the next execution.
///
/// Bound: as many as were in use at one time, which is for each worker what it may have parked, and one more.
pub(crate) struct Stacks {
    spare: Mutex<Vec<OwnStack>>,
    bytes: usize,
}

impl Default for Stacks {
    fn default() -> Self {
        Self { spare: Mutex::default(), bytes: STACK_BYTES }
    }
}

impl Stacks {
    /// A stack that was in use before, else a new one.
    ///
    /// # Errors
    ///
    /// If the system gives none.
    pub(crate) fn take(&self) -> io::Result<OwnStack> {
        if let Some(stack) = self.spare.lock().pop() {
            return Ok(stack);
        }
        overflow::report();
        let stack = DefaultStack::new(self.bytes)?;
        let guard = Guard { first: stack.limit().get(), end: stack.base().get() - self.bytes };
        Ok(OwnStack { stack, guard })
    }

    /// Takes a stack back that nobody is on any more.
    pub(super) fn give(&self, stack: OwnStack) {
        self.spare.lock().push(stack);
    }
}

#[cfg(all(test, not(feature = "loom")))]
impl Stacks {
    pub(crate) fn spare(&self) -> usize {
        self.spare.lock().len()
    }

    /// The most bytes that were ever in use of any stack. Nobody is on any of them.
    #[expect(unsafe_code, reason = "see SAFETY")]
    pub(crate) fn most_used(&self) -> usize {
        let stacks = self.spare.lock();
        let used = stacks.iter().map(|OwnStack { guard, .. }| {
            let words = self.bytes / size_of::<u64>();
            let first = guard.end as *const u64;
            // SAFETY: this is the mapping of the stack but for its guard page, readable, aligned to pages, and zero where
            // nobody wrote. Whoever was on it has ended, and the lock keeps everybody else off.
            let words = unsafe { std::slice::from_raw_parts(first, words) };
            let untouched = words.iter().take_while(|word| **word == 0).count();
            size_of_val(words) - untouched * size_of::<u64>()
        });
        used.max().unwrap_or(0)
    }
}
