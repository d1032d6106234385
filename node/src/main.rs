//! The `citius` binary: see the library for what it does.

use std::process::ExitCode;

// Transactions allocate many small, short-lived objects on every worker.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    citius_node::cli::main()
}
