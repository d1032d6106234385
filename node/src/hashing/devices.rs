//! The devices of this machine, as `citius-device-host` lists them: which are asked for, and their backends.

use super::DeviceChoice;
use citius_hashing::{
    Backend,
    device::{
        BatchDeadline, DeviceBackend, DeviceError, DeviceEvent, DeviceHost, DeviceInfo, DeviceOptions,
        DeviceSpec, Kernel, Observer, Program,
    },
};
use citius_topology::profile::FpgaProgram;
use std::{
    env,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// The program's name, beside `citius`.
const HOST: &str = "citius-device-host";

/// How long a host may take to list its devices: OpenCL takes ten seconds to say that there is no driver.
pub(super) const LIST_DEADLINE: Duration = Duration::from_secs(20);

/// How long a batch may take that is measured: how slow a device is, is the question.
pub const MEASURING_DEADLINE: BatchDeadline =
    BatchDeadline { base: Duration::from_secs(30), per_block: Duration::from_micros(1) };

/// How often a device that is being started is looked at.
const LOOK_PERIOD: Duration = Duration::from_millis(2);

/// The program at `path`, or beside the running one.
///
/// # Errors
///
/// Where it was looked for, if it is not there.
pub fn device_host(path: Option<&Path>) -> Result<DeviceHost, PathBuf> {
    let beside = || env::current_exe().unwrap_or_default().with_file_name(HOST);
    let path = path.map_or_else(beside, Path::to_owned);
    if path.is_file() { Ok(DeviceHost::new(path)) } else { Err(path) }
}

/// The devices that are asked for, each with one of its kernels; a line on stderr where there are none, and of each
/// name that is nobody's. Waits until the host has listed them, for 20 s at most.
///
/// `Auto` is each device with the kernel that suits it best.
#[must_use]
pub fn find_devices(
    host: Option<&Path>,
    choice: &DeviceChoice,
    program: Option<&FpgaProgram>,
) -> Option<(DeviceHost, Vec<DeviceSpec>)> {
    if *choice == DeviceChoice::None {
        return None;
    }
    let host = match device_host(host) {
        Ok(host) => host,
        Err(path) => {
            tell_absent(&path);
            return None;
        }
    };
    let devices = match host.list(LIST_DEADLINE) {
        Ok(devices) => devices,
        Err(error) => {
            tell_unlisted(&host, &error);
            return None;
        }
    };
    let specs = chosen(specs(&devices, program), choice);
    if let DeviceChoice::Named(names) = choice {
        for name in names.iter().filter(|name| !specs.iter().any(|spec| is_named(spec, name))) {
            eprintln!("devices: no {name} here; there are: {}", names_of(&self::specs(&devices, program)));
        }
    } else if specs.is_empty() {
        eprintln!("devices: {} finds none", host.program().display());
    }
    (!specs.is_empty()).then_some((host, specs))
}

/// Starts a device, and tells of it on stderr, but for failed batches, which whoever sent them tells of. Not to be called
/// on a pinned thread: the host would run on that core alone.
///
/// Nothing is checked in the backend: whoever calls it checks a share of the digests, as a
/// [`Hasher`](citius_hashing::Hasher) does, or all.
///
/// # Errors
///
/// As [`DeviceBackend::start`].
pub fn start_device(
    host: &DeviceHost,
    spec: DeviceSpec,
    batch_deadline: BatchDeadline,
) -> Result<DeviceBackend, DeviceError> {
    let observer = Observer::new(|event| match event {
        DeviceEvent::BatchFailed { .. } => {}
        event => eprintln!("{event}"),
    });
    let options = DeviceOptions { checked_one_in: 0, batch_deadline, observer, ..DeviceOptions::default() };
    DeviceBackend::start(host.clone(), spec, options)
}

/// Waits until a device is ready; false if it is not after its first start, which has a deadline.
#[must_use]
pub fn wait_for_device(device: &DeviceBackend) -> bool {
    while !device.is_available() {
        if device.is_off() || device.counters().starts_failed > 0 {
            return false;
        }
        thread::sleep(LOOK_PERIOD);
    }
    true
}

pub(super) fn tell_absent(path: &Path) {
    eprintln!("devices: none, since there is no {}; the processor hashes", path.display());
}

pub(super) fn tell_unlisted(host: &DeviceHost, error: &DeviceError) {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    eprintln!(
        "devices: none, since {} failed: {error}{cause}; the processor hashes",
        host.program().display()
    );
}

/// Every device with each of its kernels, the one to prefer first. An FPGA's is the precompiled one, if there is one.
pub(super) fn specs(devices: &[DeviceInfo], program: Option<&FpgaProgram>) -> Vec<DeviceSpec> {
    let with_kernel = |device: &DeviceInfo, kernel: Kernel| DeviceSpec {
        device: device.clone(),
        kernel,
        program: program.filter(|_| kernel == Kernel::Fpga).map(|program| Program {
            path: program.program_path.clone(),
            manifest_path: program.manifest_path.clone(),
        }),
    };
    let mut specs = Vec::new();
    for device in devices {
        specs.extend(device.kernels.iter().map(|kernel| with_kernel(device, *kernel)));
    }
    specs
}

fn chosen(specs: Vec<DeviceSpec>, choice: &DeviceChoice) -> Vec<DeviceSpec> {
    let is_chosen = |spec: &DeviceSpec| match choice {
        DeviceChoice::None => false,
        DeviceChoice::Auto => is_best(spec),
        DeviceChoice::All => true,
        DeviceChoice::Named(names) => names.iter().any(|name| is_named(spec, name)),
    };
    specs.into_iter().filter(is_chosen).collect()
}

/// A backend's name is of one kernel; an interface's and a device's mean the kernel that suits the device best.
fn is_named(spec: &DeviceSpec, name: &str) -> bool {
    let is_of_device = name == spec.device.api || name == spec.device.id;
    (is_of_device && is_best(spec)) || name == spec.backend_name()
}

fn is_best(spec: &DeviceSpec) -> bool {
    spec.device.kernels.first() == Some(&spec.kernel)
}

fn names_of(specs: &[DeviceSpec]) -> String {
    if specs.is_empty() {
        return "none".into();
    }
    specs.iter().map(DeviceSpec::backend_name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use citius_hashing::device::DeviceClass;

    fn device(id: &str, class: DeviceClass, kernels: &[Kernel]) -> DeviceInfo {
        let (api, _) = id.split_once(':').unwrap();
        DeviceInfo {
            id: id.into(),
            api: api.into(),
            name: "card".into(),
            driver: "1".into(),
            class,
            kernels: kernels.into(),
        }
    }

    #[test]
    fn devices_are_chosen_by_backend_interface_or_id_and_precompiled_programs_are_for_fpgas() {
        let program = FpgaProgram { program_path: "a.aocx".into(), manifest_path: "a.toml".into() };
        let devices = [
            device("vulkan:0:card", DeviceClass::Gpu, &[Kernel::WgslInt64, Kernel::Wgsl]),
            device("opencl:1:card", DeviceClass::Accelerator, &[Kernel::Fpga, Kernel::Vec8]),
        ];
        let names = |choice: &str| names_of(&chosen(specs(&devices, None), &choice.parse().unwrap()));
        assert_eq!(names("auto"), "vulkan-wgsl-int64, opencl-fpga-1");
        assert_eq!(names("all"), "vulkan-wgsl-int64, vulkan-wgsl, opencl-fpga-1, opencl-vec8-1");
        assert_eq!(names("vulkan-wgsl,opencl-vec8-1"), "vulkan-wgsl, opencl-vec8-1");
        assert_eq!(names("opencl"), "opencl-fpga-1");
        assert_eq!(names("vulkan:0:card"), "vulkan-wgsl-int64");
        assert_eq!(names("none"), "none");
        let with: Vec<bool> =
            specs(&devices, Some(&program)).iter().map(|spec| spec.program.is_some()).collect();
        assert_eq!(with, [false, false, true, false]);
    }
}
