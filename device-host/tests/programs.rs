//! Precompiled programs: run if they are what their manifest says, and else refused before a driver sees them.

mod common;

use citius_hashing::{
    Backend,
    device::{Kernel, Program},
};
use common::{Batch, Events, Target, patient, seeded, targets, wait_until_ready};
use rand::Rng;
use std::{fs, path::Path, process::Command, thread, time::Duration};

/// A device whose driver compiles at run time, and the program that it makes, in `folder`.
fn precompiled(folder: &Path) -> Option<(Target, Program)> {
    let is_listed_by_default = |target: &Target| !target.device.name.contains("Emulation");
    let target = targets()
        .into_iter()
        .find(|target| target.is("opencl", Kernel::Fpga) && is_listed_by_default(target));
    let Some(target) = target else {
        eprintln!("skipped: no OpenCL device to compile for");
        return None;
    };
    let output = Command::new(env!("CARGO_BIN_EXE_citius-device-host"))
        .env("POCL_MAX_PTHREAD_COUNT", "2")
        .args(["compile", &target.device.id])
        .arg(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let program =
        Program { path: folder.join("keccak_fpga.bin"), manifest_path: folder.join("keccak_fpga.toml") };
    Some((target, program))
}

/// Starts the program, which must be refused with this reason.
#[track_caller]
fn assert_refused(target: &Target, program: &Program, reason: &str) {
    let events = Events::default();
    let mut options = patient();
    options.observer = events.observer();
    let backend = target.start(Some(program.clone()), options);
    while !backend.is_off() {
        assert!(!backend.is_available(), "it must not be taken: {reason}");
        thread::sleep(Duration::from_millis(2));
    }
    assert!(events.contains(reason), "expected {reason:?}");
    assert_eq!((backend.counters().starts, backend.counters().starts_failed), (0, 1));
}

#[test]
fn a_program_runs_if_its_manifest_fits_and_cut_or_altered_ones_are_refused() {
    let mut random = seeded();
    let folder = tempfile::tempdir().unwrap();
    let Some((target, program)) = precompiled(folder.path()) else { return };

    let backend = target.start(Some(program.clone()), patient());
    wait_until_ready(&backend);
    let batch = Batch::new(&mut random, (0..500).collect());
    batch.assert_digests(&batch.hash(&backend).unwrap(), "precompiled");
    let from_source = target.start(None, patient());
    assert_ne!(backend.identity(), from_source.identity(), "they are measured apart");
    drop((backend, from_source));

    let whole = fs::read(&program.path).unwrap();
    fs::write(&program.path, &whole[..whole.len() / 2]).unwrap();
    assert_refused(&target, &program, "sha256 = ");
    fs::write(&program.path, b"").unwrap();
    assert_refused(&target, &program, "sha256 = ");
    let mut altered = whole.clone();
    altered[random.random_range(0..whole.len())] ^= 1 << random.random_range(0..8);
    fs::write(&program.path, &altered).unwrap();
    assert_refused(&target, &program, "sha256 = ");
    fs::remove_file(&program.path).unwrap();
    assert_refused(&target, &program, "cannot read");
    fs::write(&program.path, &whole).unwrap();

    let manifest = fs::read_to_string(&program.manifest_path).unwrap();
    let source = Kernel::Fpga.source_sha256();
    for (from, to, reason) in [
        (source.as_str(), &*"0".repeat(64), "kernel_source_sha256 = "),
        (target.device.name.as_str(), "another card", "device = another card"),
        ("kernel = ", "colour = ", "kernel = nothing"),
    ] {
        fs::write(&program.manifest_path, manifest.replace(from, to)).unwrap();
        assert_refused(&target, &program, reason);
    }
    fs::remove_file(&program.manifest_path).unwrap();
    assert_refused(&target, &program, "cannot read");
}

#[test]
fn only_the_fpga_kernel_comes_precompiled() {
    let program = Program { path: "keccak.bin".into(), manifest_path: "keccak.toml".into() };
    for target in targets().iter().filter(|target| target.kernel != Kernel::Fpga) {
        assert_refused(target, &program, "no other kernel comes precompiled");
    }
}
