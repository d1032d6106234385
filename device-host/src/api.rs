//! What an interface to devices can do.

use crate::manifest::ManifestError;
use citius_kernels::{
    device::Kernel,
    protocol::{DeviceInfo, Failure, Job, Program, Region},
};
use thiserror::Error;

/// An interface through which devices are reached.
pub trait Api: Send {
    /// Its devices; none where there is no driver. May take seconds.
    fn list(&self) -> Vec<DeviceInfo>;

    /// Makes the device that [`Api::list`] names `id` ready to run `kernel`; `None` if it lists no such device.
    fn open(
        &self,
        id: &str,
        kernel: Kernel,
        program: Option<&Program>,
    ) -> Option<Result<Box<dyn Device>, OpenError>>;
}

/// A device that is ready, with its kernel compiled.
pub trait Device {
    /// Writes the digests of the messages in `table` (first word in the arena, length in bytes; checked by
    /// [`Job::check`]) to the shared file, in order. Waits for the device for as long as it takes.
    ///
    /// # Errors
    ///
    /// [`OpenError::Driver`].
    fn hash(&mut self, region: &Region, job: Job, table: &[(u32, u32)]) -> Result<(), OpenError>;
}

/// Why a device cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// No interface lists it.
    #[error("device = {id:?}: expected one of: {}", known.join(", "))]
    NoSuchDevice {
        /// As given.
        id: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The device is there and cannot run this kernel.
    #[error("kernel = {kernel}: device {id:?} cannot run it")]
    Kernel {
        /// The device.
        id: String,
        /// As given.
        kernel: Kernel,
    },
    /// Only the FPGA kernel comes precompiled.
    #[error("kernel = {kernel}: expected {}: no other kernel comes precompiled", Kernel::Fpga)]
    Precompiled {
        /// As given.
        kernel: Kernel,
    },
    /// The precompiled program is not what it should be. The driver has not seen it.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The driver said no.
    #[error("{call}: {reason}")]
    Driver {
        /// What was asked of it.
        call: &'static str,
        /// What it said.
        reason: String,
    },
}

impl OpenError {
    /// An error of the driver.
    pub fn driver(call: &'static str, reason: impl ToString) -> Self {
        Self::Driver { call, reason: reason.to_string() }
    }

    /// Whether another try may succeed.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Driver { .. } => Failure::Device,
            _ => Failure::Refused,
        }
    }
}

/// The interfaces that this host was built with.
#[must_use]
pub fn apis() -> Vec<Box<dyn Api>> {
    vec![
        #[cfg(feature = "gpu")]
        Box::new(crate::gpu::Vulkan),
        #[cfg(feature = "opencl")]
        Box::new(crate::opencl::OpenCl),
    ]
}

/// That no interface lists `id`; asks them all.
pub(crate) fn no_such_device(apis: &[Box<dyn Api>], id: &str) -> OpenError {
    let known = apis.iter().flat_map(|api| api.list()).map(|device| device.id).collect();
    OpenError::NoSuchDevice { id: id.to_owned(), known }
}

/// `interface:number:name`, where the number counts devices of one name.
#[cfg(any(feature = "gpu", feature = "opencl"))]
pub(crate) fn device_id(api: &str, name: &str, before: &[DeviceInfo]) -> String {
    let number = before.iter().filter(|device| device.name == name).count();
    format!("{api}:{number}:{name}")
}
