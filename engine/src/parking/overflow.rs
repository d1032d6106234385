//! A stack overflow in a coroutine, reported.
//!
//! A coroutine's stack ends in a page that may not be touched. Rust's own handler of that fault knows the stacks of threads
//! alone, and for any other address it lets the process die without a word. So a handler is put before it that knows the
//! guard page of the coroutine that runs, says what happened and aborts, and leaves all other faults to whoever was there
//! before. It runs on the signal stack that the standard library gives every thread of its own.

use std::cell::Cell;

/// The page below a stack: its first byte, and one past its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Guard {
    pub(super) first: usize,
    pub(super) end: usize,
}

impl Guard {
    const NONE: Self = Self { first: 0, end: 0 };
}

thread_local! {
    /// The guard page of the coroutine that runs on this thread. Nothing but a number, so that a signal handler can look.
    static WATCHED: Cell<Guard> = const { Cell::new(Guard::NONE) };
}

/// While it lives, a fault in this guard page is reported as what it is.
pub(super) fn watch(guard: Guard) -> Watched {
    WATCHED.set(guard);
    Watched
}

pub(super) struct Watched;

impl Drop for Watched {
    fn drop(&mut self) {
        WATCHED.set(Guard::NONE);
    }
}

/// Has overflows reported from now on, in the whole process.
pub(super) fn report() {
    #[cfg(target_os = "linux")]
    handler::install();
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "see SAFETY in each function")]
mod handler {
    use super::WATCHED;
    use std::{
        ffi::{c_int, c_void},
        mem::{MaybeUninit, transmute},
        ptr::null_mut,
        sync::OnceLock,
    };

    const MESSAGE: &[u8] =
        b"\ncitius: stack overflow in a parked execution: its stack, of the fixed size that coroutines \
        have, is too small for what it does; this is a bug, please report it. Aborting.\n";

    const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

    /// What handled each of the signals before.
    static BEFORE: OnceLock<[libc::sigaction; 2]> = OnceLock::new();

    /// Puts the handler in front, once a process.
    pub(super) fn install() {
        // A second caller waits here until the first is done.
        BEFORE.get_or_init(|| {
            SIGNALS.map(|signal| {
                let mut before = MaybeUninit::<libc::sigaction>::zeroed();
                // SAFETY: zero is a valid `sigaction` (no flags, nothing masked, the default handler). The handler is
                // a function of the signature that SA_SIGINFO asks for, and does only what a handler may. Both
                // pointers are to values that live through the call.
                unsafe {
                    let mut ours: libc::sigaction = MaybeUninit::zeroed().assume_init();
                    ours.sa_sigaction = on_fault as *const () as usize;
                    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                    // It fails for signals alone that do not exist; `before` stays the default then.
                    libc::sigaction(signal, &raw const ours, before.as_mut_ptr());
                    before.assume_init()
                }
            })
        });
    }

    extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        // SAFETY: the kernel gives a valid `siginfo_t`, whose address field these signals fill in.
        let address = unsafe { (*info).si_addr() } as usize;
        let guard = WATCHED.try_with(std::cell::Cell::get).unwrap_or(super::Guard::NONE);
        if (guard.first..guard.end).contains(&address) {
            // SAFETY: both may be called in a handler; the message is a constant.
            unsafe {
                libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len());
                libc::abort();
            }
        }
        let place = usize::from(signal != SIGNALS[0]);
        let handler = BEFORE.get().map_or(libc::SIG_DFL, |before| before[place].sa_sigaction);
        let flags = BEFORE.get().map_or(0, |before| before[place].sa_flags);
        match handler {
            libc::SIG_DFL | libc::SIG_IGN => {
                // SAFETY: as in `install`. The fault happens again when this returns, and ends the process.
                unsafe {
                    let default: libc::sigaction = MaybeUninit::zeroed().assume_init();
                    libc::sigaction(signal, &raw const default, null_mut());
                }
            }
            handler if flags & libc::SA_SIGINFO != 0 => {
                // SAFETY: whoever installed it with this flag gave a function of this signature.
                let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                    unsafe { transmute(handler) };
                handler(signal, info, context);
            }
            handler => {
                // SAFETY: without that flag it is a function of this one.
                let handler: extern "C" fn(c_int) = unsafe { transmute(handler) };
                handler(signal);
            }
        }
    }
}
