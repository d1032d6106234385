use std::{
    cell::UnsafeCell,
    fmt,
    mem::MaybeUninit,
    sync::atomic::{AtomicU32, Ordering},
};

/// A value that is set once an epoch. Whoever sets it second is told so, and nobody ever waits: that takes a store
/// where [`OnceLock`](std::sync::OnceLock) calls into the library.
///
/// A new epoch empties any number of these at once: what was set in another epoch is not there any more. Its memory
/// is used again, and it is dropped, when a new value takes its place, or with the `Once` itself.
pub(crate) struct Once<T> {
    /// The epoch of the last claim, and whether the value was put in its place since.
    state: AtomicU32,
    value: UnsafeCell<MaybeUninit<T>>,
}

/// The first epoch.
pub(crate) const FIRST_EPOCH: u32 = 1;
/// The last epoch.
pub(crate) const LAST_EPOCH: u32 = u32::MAX >> 1;

const SET: u32 = 1;

const fn claimed(epoch: u32) -> u32 {
    epoch << 1
}

// SAFETY: a shared `Once` hands out shared references to the value (so that must be `Sync`), and takes in values from
// any thread that another may drop (so it must be `Send`). Nobody reads the value before it is whole, see `get_in`.
#[expect(unsafe_code, reason = "see SAFETY")]
unsafe impl<T: Send + Sync> Sync for Once<T> {}

#[expect(unsafe_code, reason = "see SAFETY in each function")]
impl<T> Once<T> {
    pub(crate) const fn new() -> Self {
        Self { state: AtomicU32::new(0), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// The value, if it was set.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.get_in(FIRST_EPOCH)
    }

    /// Sets the value. Gives it back if another was set, or is just being set.
    #[inline]
    pub(crate) fn set(&self, value: T) -> Result<&T, T> {
        self.set_in(FIRST_EPOCH, value)
    }

    /// The value, if it was set in this epoch. To be asked only in the latest epoch so far.
    #[inline]
    pub(crate) fn get_in(&self, epoch: u32) -> Option<&T> {
        // Acquire pairs with the release in `publish`: whoever sees the mark sees the value.
        if self.state.load(Ordering::Acquire) == claimed(epoch) | SET {
            // SAFETY: the value was written before the mark that was seen; it is written again only after a claim, of
            // which there is none in this epoch any more, and an epoch ends when nobody shares the `Once` (`&mut`
            // in `AppendVec::restart`).
            Some(unsafe { (*self.value.get()).assume_init_ref() })
        } else {
            None
        }
    }

    /// Sets the value for this epoch. Gives it back if another was set, or is just being set.
    #[inline]
    pub(crate) fn set_in(&self, epoch: u32, value: T) -> Result<&T, T> {
        let Some(has_old) = self.claim(epoch) else { return Err(value) };
        // SAFETY: only who claims the place gets here, and nobody else looks at the value before the mark.
        let place = unsafe { &mut *self.value.get() };
        if has_old {
            // SAFETY: an earlier epoch set it, and nobody took it out.
            unsafe { place.assume_init_drop() };
        }
        place.write(value);
        Ok(self.publish(epoch))
    }

    /// Sets the value for this epoch: to one of an earlier epoch, made as new by `reset`, else to a new one. False if
    /// another was set, or is just being set.
    pub(crate) fn renew_in(&self, epoch: u32, new: impl FnOnce() -> T, reset: impl FnOnce(&mut T)) -> bool {
        let Some(has_old) = self.claim(epoch) else { return false };
        // SAFETY: only who claims the place gets here, and nobody else looks at the value before the mark.
        let place = unsafe { &mut *self.value.get() };
        if has_old {
            // SAFETY: an earlier epoch set it, and nobody took it out. If `reset` panics it is lost, not dropped twice.
            reset(unsafe { place.assume_init_mut() });
        } else {
            place.write(new());
        }
        self.publish(epoch);
        true
    }

    /// Claims the place, if nobody did in this epoch; tells whether a value of an earlier one is in it.
    #[inline]
    fn claim(&self, epoch: u32) -> Option<bool> {
        let before = self.state.load(Ordering::Relaxed);
        if before | SET == claimed(epoch) | SET {
            return None;
        }
        // Acquire: a value of an earlier epoch is seen whole.
        let claim = self.state.compare_exchange(before, claimed(epoch), Ordering::Acquire, Ordering::Relaxed);
        claim.is_ok().then_some(before & SET == SET)
    }

    /// Shows everybody the value that was put in its place.
    #[inline]
    fn publish(&self, epoch: u32) -> &T {
        self.state.store(claimed(epoch) | SET, Ordering::Release);
        // SAFETY: the callers have just written it, and it stays to the end of the epoch.
        unsafe { (*self.value.get()).assume_init_ref() }
    }
}

#[expect(unsafe_code, reason = "see SAFETY")]
impl<T> Drop for Once<T> {
    fn drop(&mut self) {
        if *self.state.get_mut() & SET == SET {
            // SAFETY: the mark, of whatever epoch, says that the value is there.
            unsafe { self.value.get_mut().assume_init_drop() };
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("state", &self.state).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier};

    #[test]
    fn a_value_is_set_once_an_epoch_and_given_back_after_that() {
        let once = Once::new();
        assert_eq!(once.get(), None);
        assert_eq!(once.set(vec![1]), Ok(&vec![1]));
        assert_eq!(once.set(vec![2]), Err(vec![2]));
        assert_eq!(once.get(), Some(&vec![1]));
        assert_eq!(once.get_in(7), None);
        assert_eq!(once.set_in(7, vec![3]), Ok(&vec![3]));
        assert_eq!(once.get_in(7), Some(&vec![3]));
        assert!(!once.renew_in(7, Vec::new, Vec::clear));
        assert!(once.renew_in(8, || panic!("there is one"), |old| old.push(4)));
        assert_eq!(once.get_in(8), Some(&vec![3, 4]));
        let fresh = Once::new();
        assert!(fresh.renew_in(LAST_EPOCH, || vec![5], |_| panic!("there is none")));
        assert_eq!(fresh.get_in(LAST_EPOCH), Some(&vec![5]));
    }

    #[test]
    fn values_are_dropped_once() {
        let value = Arc::new(());
        let (replaced, kept) = (Once::new(), Once::new());
        for once in [&replaced, &kept] {
            once.set(Arc::clone(&value)).unwrap();
            assert!(once.set(Arc::clone(&value)).is_err());
        }
        assert_eq!(Arc::strong_count(&value), 3);
        replaced.set_in(2, Arc::clone(&value)).unwrap();
        assert_eq!(Arc::strong_count(&value), 3);
        drop(replaced);
        assert_eq!(Arc::strong_count(&value), 2);
        drop((kept, Once::<Arc<()>>::new()));
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn a_panic_on_the_way_leaves_nothing_and_drops_nothing_twice() {
        let value = Arc::new(());
        let once = Once::new();
        once.set(Arc::clone(&value)).unwrap();
        let renew = || once.renew_in(2, || unreachable!(), |_| panic!("on the way"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(renew)).is_err());
        assert_eq!((once.get_in(2), Arc::strong_count(&value)), (None, 2));
        assert!(once.set_in(2, Arc::clone(&value)).is_err(), "it stays claimed");
        assert!(once.set_in(3, Arc::new(())).is_ok());
        drop(once);
        assert_eq!(Arc::strong_count(&value), 2, "lost, not dropped twice");
    }

    #[test]
    fn of_many_setters_one_succeeds_and_all_see_its_value() {
        let once = Once::new();
        for epoch in FIRST_EPOCH..200 {
            let start = Barrier::new(4);
            let won: usize = std::thread::scope(|scope| {
                let set = |thread: usize| {
                    let (once, start) = (&once, &start);
                    move || {
                        start.wait();
                        let won = once.set_in(epoch, vec![thread; 10]).is_ok();
                        while once.get_in(epoch).is_none() {
                            std::hint::spin_loop();
                        }
                        let seen = once.get_in(epoch).unwrap();
                        assert!(seen.iter().all(|value| value == &seen[0]) && (!won || seen[0] == thread));
                        usize::from(won)
                    }
                };
                let threads: Vec<_> = (0..4).map(|thread| scope.spawn(set(thread))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert_eq!(won, 1);
        }
    }
}
