//! Devices in commands: whatever becomes of them, results are the same, the exit code is 0, and stderr says what happened.

mod common;

use alloy_primitives::{B256, keccak256};
use citius_hashing::{
    Calibration, Calibrations, Cost, Hasher,
    device::{DeviceHost, DeviceSpec},
};
use citius_node::hashing::{DeviceChoice, DeviceSettings, device_hasher};
use citius_topology::{MachineSource, Plan, ProfileSource, resolve};
use common::{Fixture, citius, read};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
    thread,
    time::Duration,
};

/// A quick `hash-bench`.
const BENCH: [&str; 7] = ["hash-bench", "--sizes", "32,600", "--messages", "300", "--repeat", "1"];
/// A quick `stress`.
const STRESS: [&str; 7] = ["stress", "--kind", "erc20", "--transactions", "20", "--repeat", "1"];
/// A host that dies at once.
const CRASHES: &str = "exit 3";
/// One that never says a word.
const HANGS: &str = "exec sleep 100000";

/// A program that does what a shell script says.
fn script(folder: &Path, text: &str) -> String {
    let path = folder.join("host.sh");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The host, if it was built too: it lies beside the binary.
fn real_host() -> Option<PathBuf> {
    built("citius-device-host")
}

/// A host that hashes as it should, on a device that passes for a GPU, until `fault` happens to its batch `at`.
fn faulty_host(folder: &Path, fault: &str, at: u32) -> Option<String> {
    let host = built("citius-device-host-faulty")?;
    Some(script(folder, &format!("exec '{}' \"$@\" --fault {fault} --at {at}", host.display())))
}

fn built(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_citius")).with_file_name(name);
    if !path.exists() {
        eprintln!("skipped: no {name} beside citius (cargo build -p citius-device-host)");
    }
    path.exists().then_some(path)
}

/// Runs a command that must succeed; returns both outputs.
#[track_caller]
fn run(arguments: &[&str]) -> [String; 2] {
    let Output { status, stdout, stderr } = citius(arguments);
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    assert_eq!(status.code(), Some(0), "{arguments:?}: {stderr}");
    [stdout, stderr]
}

/// Runs `hash-bench` with these arguments more, and returns its report and stderr.
#[track_caller]
fn bench(arguments: &[&str]) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let json_file = folder.path().join("report.json");
    let [_, stderr] = run(&[&BENCH[..], &["--json", json_file.to_str().unwrap()], arguments].concat());
    (read(&json_file), stderr)
}

/// Whether any device was measured to the end.
fn has_devices(report: &Value) -> bool {
    !report["crossovers"].as_array().unwrap().is_empty()
}

/// A block's folder.
fn block(folder: &Path) -> String {
    let block = folder.join("block");
    Fixture::valid().with_witness().write(&block, false);
    block.to_str().unwrap().to_owned()
}

/// What of a report does not depend on time.
fn results(report: &Value) -> Value {
    let entry = &report["blocks"][0];
    let of = |field: &str| entry[field].clone();
    assert!(!of("post_root").is_null(), "{entry}");
    json!([of("post_root"), of("root_matches"), of("matches"), of("gas")])
}

#[track_caller]
fn replay(folder: &Path, arguments: &[&str]) -> (Value, String) {
    let json_file = folder.join("report.json");
    let block = block(folder);
    let replay = ["replay", &block, "--repeat", "1", "--json", json_file.to_str().unwrap()];
    let [_, stderr] = run(&[&replay[..], arguments].concat());
    (results(&read(&json_file)), stderr)
}

/// Keeps a calibration by which a message costs a device so many nanoseconds.
fn keep_calibration(path: &Path, identity: &str, per_message_ns: f64) {
    let cost = Cost { fixed_ns: 0.0, per_message_ns, per_byte_ns: 0.0 };
    let mut calibrations = Calibrations::default();
    calibrations.insert(Calibration { identity: identity.into(), costs: [cost; 4] });
    calibrations.save(path).unwrap();
}

/// A plan of this machine with so many GPUs.
fn plan_with_gpus(gpus_count: u32) -> Plan {
    let report = resolve(MachineSource::ThisMachine, ProfileSource::from_argument(Some("ci")));
    Plan { gpus_count, ..report.unwrap().plan }
}

/// What hashes where nobody asked for devices.
fn unasked(host: &str, kept: &Path, gpus_count: u32) -> Hasher {
    let settings = DeviceSettings {
        choice: &DeviceChoice::Auto,
        host: Some(Path::new(host)),
        calibrations: Some(kept),
        plan: &plan_with_gpus(gpus_count),
    };
    device_hasher(settings).unwrap()
}

#[test]
fn hash_bench_measures_the_processor_where_the_host_is_absent_or_crashes() {
    let folder = tempfile::tempdir().unwrap();
    let crashes = script(folder.path(), CRASHES);
    for (host, says) in [("/nonexistent", "there is no /nonexistent"), (&crashes, "host.sh failed")] {
        let (report, stderr) = bench(&["--device-host", host]);
        assert!(stderr.contains("devices: none, since") && stderr.contains(says), "{stderr}");
        assert!(!has_devices(&report) && report["calibrations"].as_array().unwrap().len() > 1);
        let (report, stderr) = bench(&["--device-host", host, "--devices", "none"]);
        assert!(!stderr.contains("devices:") && !has_devices(&report), "{stderr}");
    }
}

#[test]
fn hash_bench_measures_the_processor_where_the_host_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let (report, stderr) = bench(&["--device-host", &script(folder.path(), HANGS)]);
    assert!(stderr.contains("devices: none, since") && stderr.contains("host.sh failed"), "{stderr}");
    assert!(!has_devices(&report));
}

#[test]
fn a_citius_alone_in_its_folder_starts_measures_and_executes() {
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("citius");
    fs::copy(env!("CARGO_BIN_EXE_citius"), &alone).unwrap();
    // Whatever was linked to a driver's library would not start.
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(&alone).args(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
        stderr
    };
    assert!(run(&BENCH).contains("there is no"));
    assert!(!run(&STRESS).contains("devices:"), "nobody asked for any");
    assert!(run(&[&STRESS[..], &["--devices", "all"]].concat()).contains("there is no"));
    let libraries = fs::read(&alone).unwrap();
    for library in ["libOpenCL.so", "libvulkan.so"] {
        let is_named = libraries.windows(library.len()).any(|window| window == library.as_bytes());
        assert!(!is_named, "citius names {library}");
    }
}

#[test]
fn replay_finds_the_same_without_a_host_and_with_one_that_crashes_or_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let (expected, stderr) = replay(folder.path(), &["--devices", "none"]);
    assert!(!stderr.contains("devices:"), "{stderr}");
    for text in [CRASHES, HANGS] {
        let host = script(folder.path(), text);
        for host in ["/nonexistent", &host] {
            let (found, stderr) = replay(folder.path(), &["--devices", "vulkan", "--device-host", host]);
            assert_eq!(found, expected);
            assert!(stderr.contains("devices: none, since"), "{stderr}");
        }
    }
}

#[test]
fn unasked_no_device_is_used_that_was_not_measured_to_pay() {
    let folder = tempfile::tempdir().unwrap();
    // One that leaves a trace if it is started.
    let trace = folder.path().join("trace");
    let host = script(folder.path(), &format!("touch '{}'; exit 3", trace.display()));
    let kept = folder.path().join("calibrations.json");
    let identity = "opencl:0:marvel, 1, kernel vec8 0";
    assert_eq!(unasked(&host, &kept, 1).counters(), None, "nothing was measured");
    keep_calibration(&kept, identity, 1e9);
    assert_eq!(unasked(&host, &kept, 1).counters(), None, "it is slower than any processor");
    keep_calibration(&kept, identity, 1e-6);
    assert_eq!(unasked(&host, &kept, 0).counters(), None, "the plan has none");
    assert_eq!(unasked("/nonexistent", &kept, 1).counters(), None, "there is no host");

    let (expected, stderr) = replay(folder.path(), &[]);
    assert!(!stderr.contains("devices:"), "by default nothing is looked for: {stderr}");
    let arguments = ["--device-host", &host, "--calibrations", kept.to_str().unwrap(), "--profile", "ci"];
    let (found, stderr) = replay(folder.path(), &arguments);
    assert_eq!(found, expected);
    assert!(stderr.contains("0 GPUs, 0 FPGA cards"), "{stderr}");

    assert!(!trace.exists());
    let hasher = unasked(&host, &kept, 1);
    assert_eq!(hasher.counters().unwrap().devices.len(), 1);
    while !trace.exists() {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn hash_bench_measures_devices_and_replay_hashes_on_them() {
    let Some(_) = real_host() else { return };
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("calibrations.json");
    let (report, stderr) = bench(&["--calibrations", kept.to_str().unwrap()]);
    if !has_devices(&report) {
        eprintln!("skipped: no device ({stderr})");
        return;
    }
    let crossovers = report["crossovers"].as_array().unwrap();
    let device = crossovers[0]["device"].as_str().unwrap();
    let of_device: Vec<u64> = crossovers
        .iter()
        .filter(|crossover| crossover["device"] == device)
        .map(|crossover| crossover["blocks"].as_u64().unwrap())
        .collect();
    // The lengths asked for, and the classes that they leave out.
    assert_eq!(of_device, [1, 8, 2, 4], "{report}");
    let loads = |report: &Value| {
        let results = report["results"].as_array().unwrap().iter();
        results.filter(|result| result["backend"] == device).count()
    };
    // Of each load all digests were checked. Messages one by one are not for devices.
    assert_eq!(loads(&report), 3, "{report}");
    let stored = read(&kept);
    let stored = stored["calibrations"].as_array().unwrap();
    assert_eq!(stored.len(), report["calibrations"].as_array().unwrap().len());
    assert!(stored.iter().any(|one| !one["identity"].as_str().unwrap().starts_with("cpu ")));

    // By name, measured before and not.
    let (expected, _) = replay(folder.path(), &["--devices", "none"]);
    for kept in [kept, folder.path().join("none.json")] {
        let arguments = ["--devices", device, "--calibrations", kept.to_str().unwrap()];
        let (found, stderr) = replay(folder.path(), &arguments);
        assert_eq!(found, expected);
        assert!(stderr.contains(&format!("devices: {device} hashed")), "{stderr}");
    }
    let (_, stderr) = replay(folder.path(), &["--devices", "opencl-abacus"]);
    assert!(
        stderr.contains("devices: no opencl-abacus here; there are: ") && stderr.contains(device),
        "{stderr}"
    );
}

#[test]
fn a_device_whose_host_crashes_later_is_left_out() {
    let Some(host) = real_host() else { return };
    let folder = tempfile::tempdir().unwrap();
    let listed = folder.path().join("listed");
    let listed = listed.display();
    let text = format!("[ -e '{listed}' ] && exit 3; touch '{listed}'; exec '{}' \"$@\"", host.display());
    let (report, stderr) = bench(&["--device-host", &script(folder.path(), &text)]);
    if stderr.contains("finds none") {
        eprintln!("skipped: no device");
        return;
    }
    assert!(stderr.contains("does not start") && !has_devices(&report), "{stderr}");
}

#[test]
fn a_device_that_crashes_while_it_is_measured_is_left_out_and_one_that_lies_fails_the_bench() {
    let folder = tempfile::tempdir().unwrap();
    let Some(host) = faulty_host(folder.path(), "crash", 4) else { return };
    let (report, stderr) = bench(&["--device-host", &host]);
    assert!(stderr.contains("skipped from here on: processor-ndrange is not available"), "{stderr}");
    assert!(!has_devices(&report));
    let host = faulty_host(folder.path(), "flip-every-digest", 4).unwrap();
    let output = citius(&[&BENCH[..], &["--device-host", &host]].concat());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("processor-ndrange gave a wrong digest"), "{stderr}");
}

#[test]
fn unasked_a_device_that_was_measured_to_pay_hashes_once_it_is_found_and_a_liar_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let messages: Vec<Vec<u8>> = (0..200_u32).map(|n| n.to_le_bytes().repeat(20)).collect();
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let expected: Vec<B256> = messages.iter().map(keccak256).collect();
    for (fault, at) in [("none", 2), ("flip-every-digest", 2)] {
        let Some(host) = faulty_host(folder.path(), fault, at) else { return };
        let kept = folder.path().join("calibrations.json");
        let device = DeviceHost::new(&host).list(Duration::from_secs(300)).unwrap().remove(0);
        let spec = DeviceSpec { kernel: device.kernels[0], device, program: None };
        keep_calibration(&kept, &spec.identity(), 1e-6);
        let hasher = unasked(&host, &kept, 1);
        let device = || hasher.counters().unwrap().devices.remove(0);
        // Until it is found the processor hashes; that takes a moment, or a long one on a busy machine.
        while device().batches + device().wrong == 0 {
            let mut digests = vec![B256::ZERO; messages.len()];
            hasher.hash_each(&messages, &mut digests);
            assert_eq!(digests, expected);
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(device().name, "processor-ndrange");
        assert_eq!((device().wrong > 0, device().batches > 0), (fault != "none", fault == "none"));
    }
}
