//! The `citius` binary: see the library for what it does.

use std::process::ExitCode;

// Transactions allocate many small, short-lived objects on every worker.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Milliseconds for which freed memory is kept before the system gets it back. Blocks come every few seconds, and the
/// system clears each page that it hands out again (docs/performance.md).
const PURGE_DELAY_MS: std::ffi::c_long = 30_000;

/// `mi_option_purge_delay` of mimalloc 2 and 3: the bindings have no name for it.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> ExitCode {
    keep_freed_memory();
    citius_node::cli::main()
}

#[expect(unsafe_code, reason = "see SAFETY")]
fn keep_freed_memory() {
    // SAFETY: sets a number, which the allocator reads when it frees memory; no other thread runs yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_MS) };
}
