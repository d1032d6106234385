//! Which profile a machine gets when none is asked for.

use citius_topology::{Devices, Limits, Machine, profile::pick};

/// The name and the reason of the profile picked for a described machine.
fn picked(description: &str, gpus_count: u32, fpgas_count: u32) -> (String, String) {
    let devices = Devices { gpus_count, fpgas_count, disks_capacity_bytes: None };
    let picked = pick(&Machine::synthetic(description).unwrap().with_devices(devices));
    (picked.profile.name, picked.reason)
}

#[test]
fn each_machine_gets_its_profile_and_the_reason() {
    let reference = "pack:2 [numa(memory=64GB)] core:16 pu:2";
    let (name, reason) = picked(reference, 0, 0);
    assert_eq!(
        (name.as_str(), reason.as_str()),
        ("reference-server", "picked for 32 usable cores (32 to 40), 119 GiB of memory (112 to 192)",)
    );
    assert_eq!(picked(reference, 2, 0).0, "gpu-server");
    assert_eq!(picked(reference, 2, 1).0, "fpga-server");
    assert_eq!(picked("[numa(memory=16GiB)] pack:1 core:4 pu:1", 0, 0).0, "ci");
    assert_eq!(picked("[numa(memory=16GiB)] pack:1 core:4 pu:1", 1, 0).0, "ci", "too small to feed a GPU");
    let (name, reason) = picked("[numa(memory=32GiB)] pack:1 core:8 pu:2", 0, 0);
    assert_eq!(name, "commodity-pc");
    assert!(reason.contains("reference-server: 8 usable cores, not 32 to 40"), "{reason}");
}

#[test]
fn a_profile_that_fits_but_cannot_be_planned_is_not_picked() {
    let machine = Machine::synthetic("[numa(memory=128GB)] pack:1 core:32 pu:1").unwrap();
    let small_disk = Devices { disks_capacity_bytes: Some(50_000_000_000), ..Devices::default() };
    let picked = pick(&machine.with_devices(small_disk));
    assert_eq!(picked.profile.name, "commodity-pc");
    assert!(picked.reason.contains("storage.ssd_capacity_gb = 100"), "{}", picked.reason);
}

#[test]
fn limits_count_when_picking() {
    let limits =
        Limits { cpu_quota_millicores: Some(4000), memory_bytes: Some(8 << 30), ..Limits::default() };
    let machine = Machine::synthetic("[numa(memory=128GB)] pack:1 core:32 pu:1").unwrap().with_limits(limits);
    assert_eq!(pick(&machine).profile.name, "ci");
}
