//! The process in which device drivers run, so that they cannot take Citius with them.
//!
//! `citius-device-host serve` is started by `citius-hashing`, speaks the [protocol](citius_kernels::protocol) over its
//! standard input, opens one device with one kernel, and hashes batches that stand in shared memory. Drivers crash,
//! hang, print to standard output and link to libraries that are not everywhere: all that ends here, and the parent
//! has deadlines for the rest. A host whose parent dies ends at once, even while its driver hangs.
//!
//! - [`serve`] holds the conversation; [`Api`] and [`Device`] are what it drives.
//! - [`apis`] lists the interfaces built in: Vulkan by wgpu (feature `gpu`), OpenCL (feature `opencl`).
//! - [`manifest`] checks precompiled programs before a driver sees them.
//!
//! This library exists for the package's two binaries: the host itself, and a host that fails on demand, for tests.

pub mod api;
pub mod compile;
mod error_text;
#[cfg(feature = "gpu")]
mod gpu;
pub mod manifest;
#[cfg(feature = "opencl")]
mod opencl;
mod server;

pub use api::{Api, Device, OpenError, apis};
pub use error_text::with_causes;
pub use server::{ServeError, serve};
