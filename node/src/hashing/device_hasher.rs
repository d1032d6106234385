//! The hasher of a command: the processor, and the devices that it may use.

use super::{
    DeviceChoice,
    devices::{
        LIST_DEADLINE, MEASURING_DEADLINE, device_host, find_devices, specs, start_device, tell_absent,
        tell_unlisted, wait_for_device,
    },
    expected::ExpectedDevice,
};
use citius_hashing::{
    Backend, BackendError, BatchShape, Calibration, Calibrations, CalibrationsError, CpuBackend,
    DEVICE_BATCH, DispatchConfig, Hasher, HasherError, OnEvent,
    device::{BatchDeadline, DeviceBackend, DeviceClass, DeviceHost, DeviceOptions, DeviceSpec},
};
use citius_topology::Plan;
use std::{path::Path, sync::Arc, thread};

/// Messages of one batch of each size class at which a device must have beaten the processor to be used unasked.
const LENGTHS: [usize; 4] = [32, 200, 532, 1_087];

/// Which devices a hasher may use.
#[derive(Debug, Clone, Copy)]
pub struct DeviceSettings<'a> {
    /// What is asked for.
    pub choice: &'a DeviceChoice,
    /// The program `citius-device-host`, if it is not beside the running one.
    pub host: Option<&'a Path>,
    /// What was measured earlier.
    pub calibrations: Option<&'a Path>,
    /// How many devices of what sort, and the program of FPGAs.
    pub plan: &'a Plan,
}

/// Why there is no such hasher. That a device is absent or fails is none.
#[derive(Debug, thiserror::Error)]
pub enum DeviceHasherError {
    /// The file of calibrations cannot be read.
    #[error(transparent)]
    Calibrations(#[from] CalibrationsError),
    /// The processor failed to be measured.
    #[error(transparent)]
    Processor(#[from] BackendError),
    /// Something was not measured.
    #[error(transparent)]
    Hasher(#[from] HasherError),
}

/// A hasher that uses devices where they finish earlier. What becomes of them is told on stderr, a line each.
///
/// `Auto` uses GPUs and FPGA cards of which `calibrations` holds that they beat the processor, as many as the plan
/// has. Without such a calibration nothing is started, and nothing is waited for in any case: they are looked for in
/// the background, and the processor hashes until they are there. Devices that are asked for by name are listed before
/// this returns, and measured if they were not.
///
/// Not to be called on a pinned thread: hosts run where it may.
///
/// # Errors
///
/// [`DeviceHasherError`]; never for a device.
pub fn device_hasher(settings: DeviceSettings<'_>) -> Result<Hasher, DeviceHasherError> {
    let DeviceSettings { choice, host, calibrations, plan } = settings;
    let mut known = calibrations.map(Calibrations::load).transpose()?.unwrap_or_default();
    let devices = match choice {
        DeviceChoice::None => Vec::new(),
        DeviceChoice::Auto => {
            let devices = expected(host, &mut known, plan)?;
            // Who says where the host is, or what was measured, wants to know.
            if devices.is_empty() && (host.is_some() || calibrations.is_some()) {
                eprintln!(
                    "devices: none, since none that this profile has ({} GPUs, {} FPGA cards) was measured to beat the \
                     processor (citius hash-bench --calibrations FILE measures them); the processor hashes",
                    plan.gpus_count, plan.fpgas_count
                );
            }
            devices
        }
        DeviceChoice::All | DeviceChoice::Named(_) => asked_for(settings, &mut known)?,
    };
    let on_event = OnEvent(Arc::new(|event| eprintln!("devices: {event}")));
    let config = DispatchConfig { on_event, ..DispatchConfig::default() };
    Ok(Hasher::new(Hasher::cpu().cpu_kind(), devices, &known, config)?)
}

/// What devices did, a line each on stderr; nothing where there are none.
pub fn tell_of_devices(hasher: &Hasher) {
    let Some(counters) = hasher.counters() else { return };
    for device in &counters.devices {
        eprintln!(
            "devices: {} hashed {} messages in {} batches ({:.3} ms); {} batches failed",
            device.name,
            device.messages,
            device.batches,
            device.busy_ns as f64 / 1e6,
            device.unavailable + device.late + device.wrong,
        );
    }
    eprintln!(
        "devices: the processor hashed {} messages in {} batches",
        counters.cpu_messages, counters.cpu_batches
    );
}

/// The devices of which it is known that they beat the processor, being looked for.
fn expected(
    host: Option<&Path>,
    known: &mut Calibrations,
    plan: &Plan,
) -> Result<Vec<Arc<dyn Backend>>, DeviceHasherError> {
    let cpu = CpuBackend::new(Hasher::cpu().cpu_kind()).map_err(HasherError::from)?;
    // Identities of devices begin with their interface.
    let is_of_device = |calibration: &&Calibration| !calibration.identity.starts_with("cpu ");
    let measured: Vec<Calibration> = known.iter().filter(is_of_device).cloned().collect();
    if measured.is_empty() || plan.gpus_count + plan.fpgas_count == 0 {
        return Ok(Vec::new());
    }
    let cpu = processor_calibration(&cpu, known)?;
    let winners: Vec<Arc<ExpectedDevice>> = measured
        .into_iter()
        .filter(|calibration| beats(calibration, &cpu))
        .map(|calibration| Arc::new(ExpectedDevice::new(calibration)))
        .collect();
    if winners.is_empty() {
        return Ok(Vec::new());
    }
    let host = match device_host(host) {
        Ok(host) => host,
        Err(path) => {
            tell_absent(&path);
            return Ok(Vec::new());
        }
    };
    let (searched, plan) = (winners.clone(), plan.clone());
    let search = move || look_for(&host, &searched, &plan);
    if let Err(error) = thread::Builder::new().name("devices".into()).spawn(search) {
        eprintln!("devices: none, since there is no thread to look for them: {error}; the processor hashes");
        return Ok(Vec::new());
    }
    Ok(winners.into_iter().map(|device| device as Arc<dyn Backend>).collect())
}

/// Lists the devices, and starts those expected, the fastest first, each with one kernel, as many as are planned.
fn look_for(host: &DeviceHost, expected: &[Arc<ExpectedDevice>], plan: &Plan) {
    let devices = match host.list(LIST_DEADLINE) {
        Ok(devices) => devices,
        Err(error) => return tell_unlisted(host, &error),
    };
    let mut found = specs(&devices, plan.fpga_program.as_ref())
        .into_iter()
        .filter_map(|spec| {
            let identity = spec.identity();
            let device = expected.iter().find(|device| device.calibration.identity == identity)?;
            let typical = BatchShape::of(LENGTHS.into_iter().cycle().take(4_096));
            Some((device.calibration.predict_ns(&typical), spec, device))
        })
        .collect::<Vec<_>>();
    found.sort_by(|(left, ..), (right, ..)| left.total_cmp(right));
    let classes = found.iter().map(|(_, spec, _)| (spec.device.id.as_str(), spec.device.class));
    let used = within(classes, plan.gpus_count, plan.fpgas_count);
    if used.is_empty() {
        eprintln!("devices: none of those measured is here; the processor hashes");
    }
    for (_, spec, device) in used.into_iter().map(|place| &found[place]) {
        if let Some(started) = start(host, spec.clone(), DeviceOptions::default().batch_deadline) {
            device.set(started);
        }
    }
}

/// Places of the first devices, each once, that are as many of each sort as may be. A driver's device that is the
/// processor is never among them: it has the cores that execute.
fn within<'a>(
    devices: impl Iterator<Item = (&'a str, DeviceClass)>,
    gpus_count: u32,
    fpgas_count: u32,
) -> Vec<usize> {
    let (mut gpus_left, mut fpgas_left) = (gpus_count, fpgas_count);
    let mut ids = Vec::new();
    let mut used = Vec::new();
    for (place, (id, class)) in devices.enumerate() {
        let left = match class {
            DeviceClass::Cpu => continue,
            DeviceClass::Gpu => &mut gpus_left,
            DeviceClass::Accelerator => &mut fpgas_left,
        };
        if *left > 0 && !ids.contains(&id) {
            *left -= 1;
            ids.push(id);
            used.push(place);
        }
    }
    used
}

/// The devices that are named, started; those never measured are measured now.
fn asked_for(
    settings: DeviceSettings<'_>,
    known: &mut Calibrations,
) -> Result<Vec<Arc<dyn Backend>>, DeviceHasherError> {
    let program = settings.plan.fpga_program.as_ref();
    let Some((host, specs)) = find_devices(settings.host, settings.choice, program) else {
        return Ok(Vec::new());
    };
    let devices: Vec<Arc<dyn Backend>> =
        specs.into_iter().filter_map(|spec| measured(&host, spec, known)).collect();
    if !devices.is_empty() {
        let cpu = CpuBackend::new(Hasher::cpu().cpu_kind()).map_err(HasherError::from)?;
        processor_calibration(&cpu, known)?;
    }
    Ok(devices)
}

/// One device, calibrated; a line if it fails meanwhile.
fn measured(host: &DeviceHost, spec: DeviceSpec, known: &mut Calibrations) -> Option<Arc<dyn Backend>> {
    if known.get(&spec.identity()).is_none() {
        let device = start(host, spec.clone(), MEASURING_DEADLINE)?;
        // Why it is not ready is told by then.
        if !wait_for_device(&device) {
            return None;
        }
        match Calibration::measure(&device) {
            Ok(calibration) => known.insert(calibration),
            Err(error) => {
                eprintln!("devices: not used, since it cannot be measured: {error}");
                return None;
            }
        }
    }
    let device = start(host, spec, DeviceOptions::default().batch_deadline)?;
    Some(Arc::new(device))
}

/// Starts a device; a line if it cannot be.
fn start(host: &DeviceHost, spec: DeviceSpec, deadline: BatchDeadline) -> Option<DeviceBackend> {
    let name = spec.backend_name();
    let started = start_device(host, spec, deadline);
    started.inspect_err(|error| eprintln!("devices: {name} cannot be started: {error}")).ok()
}

fn processor_calibration(
    cpu: &CpuBackend,
    known: &mut Calibrations,
) -> Result<Calibration, DeviceHasherError> {
    if let Some(calibration) = known.get(&cpu.identity()) {
        return Ok(calibration.clone());
    }
    let calibration = Calibration::measure(cpu)?;
    known.insert(calibration.clone());
    Ok(calibration)
}

/// Whether a device finishes some batch of a size that occurs earlier than the processor, by the dispatcher's margin.
fn beats(device: &Calibration, cpu: &Calibration) -> bool {
    let margin = DispatchConfig::default().margin_percent;
    let from = |len: usize| device.crossover(cpu, len, margin);
    LENGTHS.into_iter().filter_map(from).any(|messages| messages <= DEVICE_BATCH as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use citius_hashing::Cost;

    #[test]
    fn as_many_devices_are_used_as_are_planned_each_once_and_never_the_processor() {
        use DeviceClass::{Accelerator, Cpu, Gpu};
        let devices = [("a", Cpu), ("b", Gpu), ("b", Gpu), ("c", Gpu), ("d", Gpu), ("e", Accelerator)];
        let of = |gpus, fpgas| within(devices.into_iter(), gpus, fpgas);
        assert_eq!(of(2, 0), [1, 3]);
        assert_eq!(of(1, 4), [1, 5]);
        assert_eq!(of(0, 0), [0; 0]);
    }

    #[test]
    fn a_device_that_pays_for_no_batch_that_occurs_is_not_used() {
        let calibration = |fixed_ns, per_message_ns| {
            let cost = Cost { fixed_ns, per_message_ns, per_byte_ns: 0.0 };
            Calibration { identity: "x".into(), costs: [cost; 4] }
        };
        let cpu = calibration(0.0, 100.0);
        assert!(beats(&calibration(1e6, 50.0), &cpu));
        assert!(!beats(&calibration(1e6, 90.0), &cpu), "within the margin");
        assert!(!beats(&calibration(1e9, 50.0), &cpu), "from 25 million messages on");
    }
}
