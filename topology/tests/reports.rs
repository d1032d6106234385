//! What operators and programs get to see.

use citius_topology::{
    Devices, Machine, MachineSource, ProfileSource, Report, TopologyError, profile::shipped, resolve,
    resolve_on,
};
use std::{fs, path::PathBuf};

fn synthetic(description: &str) -> Report {
    resolve(MachineSource::Synthetic(description.into()), ProfileSource::Pick).unwrap()
}

#[test]
fn the_tree_names_machine_profile_reason_and_every_role() {
    let tree = synthetic("pack:2 [numa(memory=16GiB)] l3:1(size=16MiB) core:4 l1d:1(size=32KiB) pu:2").tree();
    let expected = r#"synthetic machine "pack:2 [numa(memory=16GiB)] l3:1(size=16MiB) core:4 l1d:1(size=32KiB) pu:2": 2 packages, 2 NUMA nodes, 8 cores, 16 CPUs, 32 GiB of memory
profile commodity-pc: no special profile fits, so every value is found out (fpga-server: 0 FPGA cards, not 1 or more; gpu-server: 0 GPUs, not 1 or more; reference-server: 8 usable cores, not 32 to 40; ci: 8 usable cores, not 4 or fewer)
uses 5 workers, 25.6 GiB of memory, as much disk as there is, 0 GPUs, 0 FPGA cards
memory: 12.8 GiB for trie nodes, 3.2 GiB for the flat cache, 3.2 GiB for pages, 6.4 GiB for the rest
store: 86.0 GB of pages, 4.0 GB of journal in files of 64 MiB; I/O auto at queue depth 128
blocks: 128 can be undone, 128 stay in the journal; a worker parks 32 executions and waits for 64 reads, 32 entries ahead
io on CPU 14
hashing on CPU 4
service on CPU 6
note: planned for synthetic machine "pack:2 [numa(memory=16GiB)] l3:1(size=16MiB) core:4 l1d:1(size=32KiB) pu:2": threads cannot be pinned by it
├─ package 0
│  └─ NUMA node 0, 16 GiB (12.8 GiB for Citius, 2 workers)
│     └─ L3 16 MiB
│        ├─ core 0, CPU 0-1, L1 32 KiB: worker 0
│        ├─ core 1, CPU 2-3, L1 32 KiB: worker 1
│        ├─ core 2, CPU 4-5, L1 32 KiB: hashing
│        └─ core 3, CPU 6-7, L1 32 KiB: service
└─ package 1
   └─ NUMA node 1, 16 GiB (12.8 GiB for Citius, 3 workers)
      └─ L3 16 MiB
         ├─ core 4, CPU 8-9, L1 32 KiB: worker 2
         ├─ core 5, CPU 10-11, L1 32 KiB: worker 3
         ├─ core 6, CPU 12-13, L1 32 KiB: worker 4
         └─ core 7, CPU 14-15, L1 32 KiB: io
"#;
    assert_eq!(tree, expected, "got:\n{tree}");
}

#[test]
fn the_tree_shows_what_is_not_used() {
    let source = MachineSource::Xml("tests/fixtures/memory-only-node.xml".into());
    let tree = resolve(source, ProfileSource::Shipped("commodity-pc".into())).unwrap().tree();
    for line in [
        "profile commodity-pc: asked for by name",
        "NUMA node 0, 16 GiB (12.8 GiB for Citius, 2 workers)",
        "NUMA node 1, 8 GiB, no core's first choice (near CPU 0-3)",
        "NUMA node 2, 32 GiB, no core's first choice",
        "core 3, CPU 3: not allowed",
        "service on CPU 2 (shared)",
    ] {
        assert!(tree.contains(line), "{line:?} not in\n{tree}");
    }
}

#[test]
fn the_report_is_json_with_machine_profile_reason_and_plan() {
    let report = synthetic("pack:2 [numa(memory=64GB)] core:16 pu:1");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["machine"]["source"]["synthetic"], "pack:2 [numa(memory=64GB)] core:16 pu:1");
    assert_eq!(json["machine"]["bindable"], false);
    assert_eq!(json["profile"]["cores"]["cores_count"], 32);
    assert_eq!(json["profile"]["cores"]["worker_cores_count"], "auto");
    assert_eq!(json["profile"]["match"]["cores_count_min"], 32);
    assert!(json["profile_reason"].as_str().unwrap().starts_with("picked for 32 usable cores"));
    assert_eq!(json["plan"]["profile"]["reason"], json["profile_reason"]);
    assert_eq!(json["plan"]["workers"][12]["lane"]["cpu"], 16);
    assert_eq!(json["plan"]["workers"][12]["lane"]["numa"], 1);
    assert_eq!(json["plan"]["io"]["shared"], false);
    assert_eq!(json["profile"]["storage"]["io_backend"], "auto");
    assert_eq!(json["plan"]["memory_parts"]["flat_cache_bytes"], 13_u64 << 30);
    assert_eq!(json["plan"]["storage"]["journal_bytes_max"], 4_u64 << 30);
    assert_eq!(json["plan"]["storage"]["io_sqpoll"], false);
    assert_eq!(json["plan"]["history"]["reorg_depth_blocks"], 128);
    assert_eq!(json["plan"]["execution"]["parked_per_worker_max"], 32);
}

#[test]
fn the_profile_argument_is_nothing_a_name_or_a_file() {
    let of = ProfileSource::from_argument;
    assert_eq!(of(None), ProfileSource::Pick);
    assert_eq!(of(Some("ci")), ProfileSource::Shipped("ci".into()));
    assert_eq!(of(Some("own.toml")), ProfileSource::File("own.toml".into()));
    assert_eq!(of(Some("a/b")), ProfileSource::File("a/b".into()));
}

#[test]
fn a_profile_file_is_followed_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("own.toml");
    fs::write(&path, "name = 'own'\ndescription = 'two workers'\n[cores]\nworker_cores_count = 2\n").unwrap();
    let machine = MachineSource::Synthetic("pack:1 core:8 pu:1".into());
    let report = resolve(machine, ProfileSource::File(path.clone())).unwrap();
    assert_eq!(report.plan.workers.len(), 2);
    assert_eq!(report.profile_reason, format!("asked for as {}", path.display()));
}

#[test]
fn a_missing_profile_file_is_named_with_its_cause() {
    let machine = MachineSource::Synthetic("pack:1 core:8 pu:1".into());
    match resolve(machine, ProfileSource::File("absent.toml".into())) {
        Err(TopologyError::ProfileFile { path, .. }) => assert_eq!(path, PathBuf::from("absent.toml")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_described_machine_may_be_given_devices() {
    let machine = Machine::synthetic("[numa(memory=64GiB)] pack:1 core:16 pu:1").unwrap();
    let machine = machine.with_devices(Devices { gpus_count: 2, ..Devices::default() });
    let report = resolve_on(machine, ProfileSource::Pick).unwrap();
    assert_eq!((report.profile.name.as_str(), report.plan.gpus_count), ("gpu-server", 2));
}

#[test]
fn a_profile_made_in_code_says_where_it_comes_from() {
    let profile = Box::new(shipped("ci").unwrap());
    let machine = Machine::synthetic("[numa(memory=8GiB)] pack:1 core:2 pu:1").unwrap();
    let report = resolve_on(machine, ProfileSource::Given(profile, "written by citius tune".into())).unwrap();
    assert!(report.tree().contains("profile ci: written by citius tune"));
}

#[test]
fn this_machine_resolves_without_any_argument() {
    let report = resolve(MachineSource::ThisMachine, ProfileSource::Pick).unwrap();
    assert!(report.plan.bindable && report.tree().starts_with("this machine: "));
}
