//! Batched Keccak-256: many independent messages in, digests out, in order.
//!
//! [`Hasher`] is what to use: it groups messages so that the lanes of [`citius_kernels`] stay full, and sends a batch
//! to a device where that is predicted to be done earlier.
//!
//! | | |
//! |---|---|
//! | [`Hasher`] | hashes batches: `hash_each` by slices, `hash_batch` by ranges of an arena |
//! | [`CpuKind`] | the ways of this processor to hash |
//! | [`Backend`] | what hashes batches: a device, or the processor as [`CpuBackend`] |
//! | [`device`] | the devices of `citius-device-host` |
//! | [`Calibration`] | what batches cost on a backend, measured; kept in [`Calibrations`] |
//! | [`DispatchConfig`], [`Counters`], [`Event`] | how devices are chosen and checked, and what became of that |
//!
//! ```
//! use alloy_primitives::B256;
//! use citius_hashing::{Hasher, keccak256};
//!
//! let arena = b"accountslot";
//! let mut digests = [B256::ZERO; 2];
//! Hasher::cpu().hash_batch(arena, &[0..7, 7..11], &mut digests);
//! assert_eq!(digests, [keccak256(b"account"), keccak256(b"slot")]);
//! ```

mod backend;
mod calibration;
mod calibrations;
mod cpu;
mod cpu_backend;
pub mod device;
mod dispatch;
mod fit;
mod group;
mod hasher;
mod shape;

pub use backend::{Backend, BackendError};
pub use calibration::{CALIBRATION_MESSAGES, Calibration, Cost};
pub use calibrations::{Calibrations, CalibrationsError};
pub use cpu::{CpuKind, UnknownCpuKind, UnsupportedCpuKind, keccak256};
pub use cpu_backend::{CpuBackend, processor};
pub use dispatch::{Counters, DeviceCounters, DispatchConfig, Event, OnEvent};
pub use hasher::{DEVICE_BATCH, Hasher, HasherError, hash_batch};
pub use shape::{BatchShape, SizeClass};
