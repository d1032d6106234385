use crate::hashing::{DeviceChoice, DeviceSettings};
use citius_topology::Plan;
use clap::Args;
use std::path::PathBuf;

/// Options of the commands that hash batches.
#[derive(Debug, Args)]
pub(super) struct DeviceArgs {
    /// Devices to hash on beside the processor: none, auto, all (with each of their kernels), or names with commas between, as
    /// `opencl-vec8`, `vulkan` or `opencl:0:card`. Where batches are only measured auto is every device found; else those GPUs
    /// and FPGA cards of the profile that --calibrations says beat the processor
    #[arg(long, value_name = "DEVICES", default_value = "auto")]
    pub(super) devices: DeviceChoice,

    /// The program that runs devices' drivers [default: citius-device-host beside this one]
    #[arg(long, value_name = "PATH")]
    pub(super) device_host: Option<PathBuf>,

    /// What batches cost on this processor and on devices; `hash-bench` measures it and writes this file, beside what it
    /// holds of others
    #[arg(long, value_name = "FILE")]
    pub(super) calibrations: Option<PathBuf>,
}

impl DeviceArgs {
    /// For a hasher on a machine that is planned so.
    pub(super) fn settings<'a>(&'a self, plan: &'a Plan) -> DeviceSettings<'a> {
        DeviceSettings {
            choice: &self.devices,
            host: self.device_host.as_deref(),
            calibrations: self.calibrations.as_deref(),
            plan,
        }
    }
}
