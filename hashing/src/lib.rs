//! Batched Keccak-256: many independent messages in, digests out, in order.
//!
//! [`Hasher`] groups messages so that the lanes of [`citius_kernels`] stay full. [`Backend`] is what a device is.

mod backend;
mod cpu;
mod group;
mod hasher;

pub use backend::{Backend, BackendError};
pub use cpu::{CpuKind, UnknownCpuKind, UnsupportedCpuKind, keccak256};
pub use hasher::{Hasher, hash_batch};
