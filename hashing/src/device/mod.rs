//! Devices that hash: GPUs and OpenCL cards, reached through the process `citius-device-host`.
//!
//! [`DeviceHost`] names that program and [lists](DeviceHost::list) its devices. [`DeviceBackend`] is one device with one
//! kernel as a [`Backend`](crate::Backend): it starts a host of its own in the background, puts batches into memory
//! shared with it, and waits for answers with a deadline.
//!
//! What can go wrong, and what then happens:
//!
//! | what | the batch | the host |
//! |---|---|---|
//! | the program is absent, a driver refuses, a start takes too long | was never sent: `is_available` is false | is started again, later and later |
//! | the driver crashes, the host is killed | [`Unavailable`](crate::BackendError::Unavailable) | is started again |
//! | the driver hangs | [`Late`](crate::BackendError::Late) at its deadline | is killed and started again |
//! | a digest is wrong, of those that are checked | [`Wrong`](crate::BackendError::Wrong) | is killed and started again, a few times; then never |
//! | a precompiled program is not what its manifest says | was never sent | is not started again |
//!
//! Each of these is counted ([`DeviceCounters`]) and told to the observer ([`DeviceEvent`]; by default a line to the
//! standard error). The batch is then to be hashed by the processor.
//!
//! A [`Hasher`](crate::Hasher) checks a share of the digests itself: then [`DeviceOptions::checked_one_in`] is to be 0, lest
//! the same be done twice.
//!
//! No host outlives its parent: it ends when its socket closes. (`PR_SET_PDEATHSIG` was rejected: it kills the host when
//! the *thread* ends that started it.) None is left unwaited for, either.

mod backend;
mod batch;
mod counters;
mod error;
mod event;
mod host;
mod options;
mod process;
mod session;
mod supervisor;

pub use backend::DeviceBackend;
pub use citius_kernels::{
    device::{Kernel, MESSAGE_BYTES_MAX},
    protocol::{DeviceClass, DeviceInfo, Program},
};
pub use counters::DeviceCounters;
pub use error::DeviceError;
pub use event::{DeviceEvent, Observer};
pub use host::DeviceHost;
pub use options::{BatchDeadline, DeviceOptions, DeviceSpec};
