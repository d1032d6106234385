//! The one place where locks and atomics come from: std and parking_lot, or loom's models of them.
//!
//! Only what the models in `scheduler/models` exercise goes through here: version chains, entries, the charge over
//! the frontier.

#[cfg(not(feature = "loom"))]
mod imp {
    pub(crate) use parking_lot::Mutex;
    pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

    /// All SeqCst accesses are in one order already.
    #[inline(always)]
    pub(crate) fn model_fence() {}
}

#[cfg(feature = "loom")]
mod imp {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

    /// loom takes SeqCst accesses for AcqRel ones; of fences it knows the one order.
    pub(crate) fn model_fence() {
        loom::sync::atomic::fence(Ordering::SeqCst);
    }

    /// loom's mutex with parking_lot's interface.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().expect("a model does not poison its locks")
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().expect("a model does not poison its locks")
        }
    }

    impl<T: Default> Default for Mutex<T> {
        fn default() -> Self {
            Self::new(T::default())
        }
    }
}

pub(crate) use imp::*;
