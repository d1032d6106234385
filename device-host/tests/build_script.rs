//! The script that calls vendors' compilers: its commands, and the manifest and profile lines that it writes, with a
//! compiler that only copies its input. No vendor's compiler runs here.

use citius_device_host::manifest::{self, Manifest};
use citius_kernels::{device::Kernel, protocol::Program};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

/// Copies the kernel to what `-o` names, and knows its version.
const COPYING_COMPILER: &str = r#"#!/bin/sh
[ "$1" = --version ] && { echo 'Copying "compiler" 1.2'; exit; }
while [ $# -gt 0 ]; do
    case $1 in
        *.cl | *.xo) in=$1 ;;
        -o)
            out=$2
            shift
            ;;
    esac
    shift
done
cp "$in" "$out"
"#;

fn build(arguments: &[&str]) -> Output {
    Command::new("fpga/build.sh").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

#[test]
fn a_dry_run_prints_the_compilers_commands_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let common = ["--board", "board 1", "--device", "card", "--rounds", "12", "--dry-run", "--out"];
    for (vendor, program, expected) in [
        ("intel", "keccak_fpga.aocx", &["+ aoc ", "-board=board\\ 1", "-DROUNDS_UNROLLED=12"][..]),
        (
            "amd",
            "keccak_fpga.xclbin",
            &["+ v++ -c ", "+ v++ -l ", "--platform board\\ 1", "-k keccak256"][..],
        ),
    ] {
        let output = build(&[&["--vendor", vendor], &common[..], &[out.to_str().unwrap()]].concat());
        let commands = text(&output.stdout);
        assert!(output.status.success(), "{}", text(&output.stderr));
        for part in expected.iter().chain(&[program, "keccak_fpga.cl"]) {
            assert!(commands.contains(part), "{part} in {commands}");
        }
        assert!(!out.exists());
    }
}

#[test]
fn what_it_writes_is_taken_by_the_host_and_by_profiles() {
    let folder = tempfile::tempdir().unwrap();
    let compiler = folder.path().join("compiler");
    fs::write(&compiler, COPYING_COMPILER).unwrap();
    fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755)).unwrap();
    for (vendor, name) in [("intel", "keccak_fpga.aocx"), ("amd", "keccak_fpga.xclbin")] {
        let out = folder.path().join(vendor);
        let paths = [out.to_str().unwrap(), compiler.to_str().unwrap()];
        let arguments = [
            "--vendor",
            vendor,
            "--board",
            "b",
            "--device",
            "a card",
            "--out",
            paths[0],
            "--compiler",
            paths[1],
        ];
        let output = build(&arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));

        let program = Program { path: out.join(name), manifest_path: out.join("keccak_fpga.toml") };
        let bytes = manifest::load(&program, Kernel::Fpga, "a card").unwrap();
        assert_eq!(text(&bytes), Kernel::Fpga.source(), "the compiler copies");
        let written = fs::read_to_string(&program.manifest_path).unwrap();
        let written = Manifest::parse(Path::new("written"), &written).unwrap();
        assert_eq!((written.vendor.as_str(), written.compiler.as_str()), (vendor, "Copying compiler 1.2"));

        let lines: toml::Table = fs::read_to_string(out.join("profile.toml")).unwrap().parse().unwrap();
        let of = |key: &str| Path::new(lines[key].as_str().unwrap()).canonicalize().unwrap();
        assert_eq!(of("fpga_program_path"), program.path.canonicalize().unwrap());
        assert_eq!(of("fpga_manifest_path"), program.manifest_path.canonicalize().unwrap());
        assert_eq!(lines.len(), 2);
    }
}

#[test]
fn wrong_arguments_are_named() {
    for (arguments, expected) in [
        (&["--board", "b", "--device", "d"][..], "--vendor = ''"),
        (&["--vendor", "intel", "--device", "d"], "--board = nothing"),
        (&["--vendor", "intel", "--board", "b"], "--device = ''"),
        (&["--vendor", "intel", "--board", "b", "--device", "\""], "--device = '\"'"),
        (&["--vendor", "amd", "--board", "b", "--device", "d", "--streams", "96"], "--streams = '96'"),
        (&["--vendor", "amd", "--board", "b", "--device", "d", "--rounds", "5"], "--rounds = '5'"),
        (
            &["--vendor", "amd", "--board", "b", "--device", "d", "--compiler", "no/such"],
            "no compiler 'no/such'",
        ),
        (&["--out"], "--out: expected a value"),
        (&["--fast"], "unknown argument '--fast'"),
    ] {
        let output = build(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
    assert!(text(&build(&["--help"]).stdout).contains("UNTESTED"));
}
