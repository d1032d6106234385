use crate::scheduler::{Interrupt, Vm};
use citius_state::Ticket;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// How long a wait goes on before it looks whether to stop.
const STOP_INTERVAL: Duration = Duration::from_millis(1);

/// Waits for a ticket on the calling thread, which lets its own reads go on meanwhile.
///
/// # Errors
///
/// What `check` says: it is asked at least every millisecond.
pub(crate) fn in_place<V: Vm>(
    vm: &V,
    ticket: &Ticket,
    waited: &AtomicU64,
    mut check: impl FnMut() -> Result<(), Interrupt<V>>,
) -> Result<(), Interrupt<V>> {
    // Relaxed: it publishes nothing.
    waited.fetch_add(1, Ordering::Relaxed);
    loop {
        check()?;
        if ticket.is_complete() {
            return Ok(());
        }
        // With nothing of its own to take, whoever completes the ticket does so elsewhere.
        if !vm.progress(Some(STOP_INTERVAL)) {
            ticket.wait_for(STOP_INTERVAL);
        }
    }
}

/// What `ask` gives in the end: waits on the calling thread where that is on its way.
///
/// # Errors
///
/// Those of `ask`, and [`Interrupt::Cancelled`] if it should stop.
pub(crate) fn settled<V: Vm, T>(
    vm: &V,
    waited: &AtomicU64,
    should_stop: impl Fn() -> bool,
    mut ask: impl FnMut() -> Result<T, Interrupt<V>>,
) -> Result<T, Interrupt<V>> {
    loop {
        match ask() {
            Err(Interrupt::Pending(ticket)) => {
                in_place(
                    vm,
                    &ticket,
                    waited,
                    || {
                        if should_stop() { Err(Interrupt::Cancelled) } else { Ok(()) }
                    },
                )?
            }
            answer => return answer,
        }
    }
}

/// Lets the reads end that the calling thread submitted and did not wait for: somebody else may, and this thread may not come
/// back soon.
pub(crate) fn drain<V: Vm>(vm: &V) {
    while vm.progress(Some(STOP_INTERVAL)) {}
}
