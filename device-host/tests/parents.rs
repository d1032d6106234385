//! What a host does when its parent dies, or lies.

use citius_kernels::{
    device::Kernel,
    protocol::{Channel, ChannelError, Failure, Layout, Packet, Region},
};
use std::{
    fs::File,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::{Child, Command, Stdio},
};

const REAL: &str = env!("CARGO_BIN_EXE_citius-device-host");
const FAULTY: &str = env!("CARGO_BIN_EXE_citius-device-host-faulty");

fn start(program: &str, arguments: &[&str]) -> (Child, Channel) {
    let (channel, socket) = Channel::pair().unwrap();
    let child =
        Command::new(program).arg("serve").args(arguments).stdin(socket).stderr(Stdio::null()).spawn();
    (child.unwrap(), channel)
}

fn open() -> Packet {
    Packet::Open { device: "processor:0:sha3".into(), kernel: Kernel::NdRange, program: None }
}

fn answer(channel: &Channel, packet: &Packet, file: Option<&OwnedFd>) -> Packet {
    channel.send(packet, file).unwrap();
    channel.receive(None).unwrap().0
}

#[track_caller]
fn assert_refused(answer: Packet, expected: &str) {
    let Packet::Failed { failure: Failure::Refused, reason } = answer else { panic!("{answer:?}") };
    assert!(reason.contains(expected), "{reason}");
}

#[test]
fn a_host_ends_with_its_parent_even_while_its_driver_hangs() {
    for fault in ["none", "hang-at-open"] {
        let (mut child, channel) = start(FAULTY, &["--fault", fault]);
        let (_region, file) = Region::create(Layout::new(65536, 10).unwrap()).unwrap();
        channel.send(&open(), Some(&file)).unwrap();
        if fault == "none" {
            assert_eq!(channel.receive(None).unwrap().0, Packet::Opened);
        }
        drop(channel);
        assert_eq!(child.wait().unwrap().signal(), Some(9), "{fault}");
    }
}

#[test]
fn a_host_refuses_what_would_lead_it_outside_the_shared_memory() {
    let (mut child, channel) = start(FAULTY, &[]);
    let hash = |count, arena_words| Packet::Hash { sequence: 1, count, arena_words };
    assert_refused(answer(&channel, &hash(1, 1), None), "before Open");
    assert_refused(answer(&channel, &open(), None), "without a file");
    let ordinary: OwnedFd = File::open("Cargo.toml").unwrap().into();
    assert_refused(answer(&channel, &open(), Some(&ordinary)), "shared file");
    assert_refused(answer(&channel, &Packet::Opened, None), "not for a host");

    let (region, file) = Region::create(Layout::new(65536, 10).unwrap()).unwrap();
    assert_eq!(answer(&channel, &open(), Some(&file)), Packet::Opened);
    for (count, words) in [(0, 1), (11, 1), (u64::MAX, 1), (1, 8193), (1, u64::MAX)] {
        assert_refused(answer(&channel, &hash(count, words), None), "expected");
    }
    for (start, length) in [(0, 9), (1, 8), (u32::MAX, 8), (0, u32::MAX)] {
        region.set_message(0, start, length);
        assert_refused(answer(&channel, &hash(1, 1), None), "message 0");
    }
    region.set_message(0, 0, 8);
    assert!(matches!(answer(&channel, &hash(1, 1), None), Packet::Done { sequence: 1, .. }));
    drop(channel);
    child.wait().unwrap();
}

#[test]
fn a_host_names_the_devices_it_has_when_asked_for_another() {
    let (mut child, channel) = start(REAL, &[]);
    let (_region, file) = Region::create(Layout::new(65536, 10).unwrap()).unwrap();
    assert_refused(answer(&channel, &open(), Some(&file)), "device = \"processor:0:sha3\": expected one of");
    drop(channel);
    child.wait().unwrap();
}

#[test]
fn a_host_ends_when_it_is_flooded_or_not_spoken_to_over_a_socket() {
    let (mut child, channel) = start(FAULTY, &["--fault", "hang-at-list"]);
    let error = (0..100_000).find_map(|_| channel.send(&Packet::List, None).err());
    assert!(matches!(error, Some(ChannelError::Closed | ChannelError::System { .. })), "{error:?}");
    child.wait().unwrap();

    let status = Command::new(REAL).arg("serve").stdin(Stdio::null()).stderr(Stdio::null()).status();
    assert_eq!(status.unwrap().code(), Some(1));
    let usage = Command::new(REAL).arg("--help").output().unwrap();
    assert!(usage.status.success() && String::from_utf8(usage.stdout).unwrap().contains("compile"));
    assert_eq!(Command::new(REAL).arg("fly").stderr(Stdio::null()).status().unwrap().code(), Some(2));
}
