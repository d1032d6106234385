//! Properties of every workload, checked on plain sequential revm.

mod common;
mod execution;
mod streams;
