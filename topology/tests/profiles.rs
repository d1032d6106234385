//! What profiles say, and which are refused and why.

#[path = "common/seeded.rs"]
mod seeded;

use citius_topology::{
    Devices, Limits, Machine, TopologyError, plan,
    profile::{Auto, FpgaProgram, Profile, SHIPPED, shipped},
};
use proptest::prelude::*;
use seeded::seeded;
use std::fs;

const HEAD: &str = "name = 'test'\ndescription = 'for a test'\n";

/// Field, value and expectation of the error that parsing, or planning on 8 cores, 16 GiB and two nodes, gives.
fn refusal(text: &str) -> (String, String, String) {
    let machine = Machine::synthetic("pack:2 [numa(memory=8GiB)] core:4 pu:1").unwrap();
    let devices = Devices { gpus_count: 1, fpgas_count: 0, disks_capacity_bytes: Some(60_000_000_000) };
    let machine = machine.with_devices(devices);
    match Profile::parse("bad", text).and_then(|profile| plan(&machine, &profile)) {
        Err(TopologyError::ProfileField { profile, field, value, expected }) => {
            assert!(["bad", "test"].contains(&profile.as_str()), "{profile}");
            (field, value, expected)
        }
        other => panic!("{text}\ngave {other:?}"),
    }
}

fn assert_refused(body: &str, field: &str, value: &str, expectation: &str) {
    let (named, shown, expected) = refusal(&format!("{HEAD}{body}"));
    assert_eq!((named.as_str(), shown.as_str()), (field, value), "{body}");
    assert!(expected.contains(expectation), "{body}: expected {expected:?}");
}

#[test]
fn every_shipped_profile_parses_under_its_own_name() {
    for (name, _) in SHIPPED {
        assert_eq!(shipped(name).unwrap().name, name);
    }
}

#[test]
fn every_file_of_the_folder_is_shipped() {
    let mut files: Vec<String> = fs::read_dir("../hardware-profiles")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut names: Vec<String> = SHIPPED.iter().map(|(name, _)| format!("{name}.toml")).collect();
    names.sort();
    assert_eq!(files, names);
}

#[test]
fn the_reference_server_has_32_cores_and_100_gb() {
    let profile = shipped("reference-server").unwrap();
    assert_eq!(profile.cores.cores_count, Auto::Fixed(32));
    assert_eq!(profile.storage.ssd_capacity_gb, Auto::Fixed(100));
    assert_eq!((profile.cores.sockets_count, &profile.cores.numa_node_ids), (Auto::Auto, &Auto::Auto));
}

#[test]
fn a_written_profile_reads_back() {
    for (name, _) in SHIPPED {
        let profile = shipped(name).unwrap();
        assert_eq!(Profile::parse(name, &profile.to_toml()).unwrap(), profile, "{}", profile.to_toml());
    }
    let mut profile = shipped("fpga-server").unwrap();
    let (program_path, manifest_path) = ("keccak \"a\".aocx".into(), "keccak.toml".into());
    profile.devices.fpga_program = Some(FpgaProgram { program_path, manifest_path });
    assert_eq!(Profile::parse("own", &profile.to_toml()).unwrap(), profile, "{}", profile.to_toml());
    let mut profile = shipped("commodity-pc").unwrap();
    profile.cores.numa_node_ids = Auto::Fixed(vec![citius_topology::NumaId(1)]);
    assert_eq!(Profile::parse("own", &profile.to_toml()).unwrap(), profile);
}

#[test]
fn unknown_keys_and_sections_are_refused_with_the_known_ones() {
    assert_refused("[cores]\nworkers = 3", "cores.workers", "3", "worker_cores_count");
    assert_refused(
        "[core]\nx = 1",
        "core",
        "{ x = 1 }",
        "cores, memory, storage, history, execution, devices",
    );
    assert_refused("[match]\ncores_min = 3", "match.cores_min", "3", "cores_count_min");
}

#[test]
fn values_of_the_wrong_kind_or_range_are_refused() {
    let whole = "a whole number of 0 to 16384, or \"auto\"";
    assert_refused("[cores]\nio_cores_count = 'many'", "cores.io_cores_count", "\"many\"", whole);
    assert_refused("[cores]\nio_cores_count = -1", "cores.io_cores_count", "-1", whole);
    assert_refused("[cores]\nio_cores_count = 1.5", "cores.io_cores_count", "1.5", whole);
    assert_refused("[cores]\nio_cores_count = 4294967296", "cores.io_cores_count", "4294967296", whole);
    assert_refused("[cores]\nworker_cores_count = 0", "cores.worker_cores_count", "0", "1 to");
    assert_refused("[memory]\nmemory_budget_gib = 0", "memory.memory_budget_gib", "0", "1 to");
    assert_refused(
        "[match]\ncores_count_min = 'auto'",
        "match.cores_count_min",
        "\"auto\"",
        "a whole number",
    );
    assert_refused("memory = 3", "memory", "3", "a table");
    assert_refused("[cores]\nnuma_node_ids = 0", "cores.numa_node_ids", "0", "a list of NUMA node numbers");
    assert_refused("[cores]\nnuma_node_ids = []", "cores.numa_node_ids", "[]", "at least one");
    assert_refused("[cores]\nnuma_node_ids = [1, 1]", "cores.numa_node_ids", "[1, 1]", "each once");
}

#[test]
fn a_profile_without_a_name_is_refused() {
    assert_eq!(refusal("description = 'x'").0, "name");
    assert_eq!(refusal("name = ' '\ndescription = 'x'").1, "\" \"");
    assert_eq!(
        refusal("name = 'x'"),
        ("description".into(), "nothing".into(), "a text that is not blank".into())
    );
}

#[test]
fn bounds_the_wrong_way_round_are_refused() {
    let both = "[match]\ncores_count_min = 9\ncores_count_max = 8";
    assert_refused(both, "match.cores_count_min", "9", "at most match.cores_count_max = 8");
    let both = "[match]\nmemory_gib_min = 9\nmemory_gib_max = 8";
    assert_refused(both, "match.memory_gib_min", "9", "at most match.memory_gib_max = 8");
}

#[test]
fn roles_that_do_not_fit_the_cores_are_refused() {
    assert_refused(
        "[cores]\ncores_count = 8\nworker_cores_count = 6\nio_cores_count = 1\nhashing_cores_count = 1\nservice_cores_count = 1",
        "cores.cores_count",
        "8",
        "at least the 9 cores given to roles",
    );
    assert_refused(
        "[cores]\nworker_cores_count = 6\nio_cores_count = 1\nhashing_cores_count = 1\nservice_cores_count = 1",
        "cores.worker_cores_count",
        "6",
        "worker 6 + io 1 + hashing 1 + service 1 to fit the 8 cores",
    );
    assert_refused(
        "[cores]\nio_cores_count = 3\nhashing_cores_count = 5",
        "cores.hashing_cores_count",
        "5",
        "worker at least 1 + io 3 + hashing 5",
    );
    assert_refused(
        "[cores]\ncores_count = 2\nio_cores_count = 2",
        "cores.cores_count",
        "2",
        "and one for a worker",
    );
}

#[test]
fn a_precompiled_kernel_has_a_manifest_and_reaches_the_plan() {
    let body = "[devices]\nfpga_program_path = 'a.aocx'";
    assert_refused(body, "devices.fpga_manifest_path", "nothing", "since the other one is given");
    let body = "[devices]\nfpga_manifest_path = 'a.toml'";
    assert_refused(body, "devices.fpga_program_path", "nothing", "since the other one is given");
    assert_refused("[devices]\nfpga_program_path = 1", "devices.fpga_program_path", "1", "not blank");
    assert_refused("[devices]\nfpga_manifest_path = ' '", "devices.fpga_manifest_path", "\" \"", "not blank");

    let text = format!("{HEAD}[devices]\nfpga_program_path = 'a.aocx'\nfpga_manifest_path = 'a.toml'");
    let machine = Machine::synthetic("pack:1 core:4 pu:1").unwrap();
    let program = plan(&machine, &Profile::parse("test", &text).unwrap()).unwrap().fpga_program.unwrap();
    assert_eq!((program.program_path, program.manifest_path), ("a.aocx".into(), "a.toml".into()));
}

#[test]
fn what_this_machine_lacks_is_refused() {
    assert_refused("[cores]\ncores_count = 9", "cores.cores_count", "9", "at most 8");
    assert_refused("[cores]\nsockets_count = 3", "cores.sockets_count", "3", "at most 2");
    assert_refused("[cores]\nnuma_node_ids = [0, 7]", "cores.numa_node_ids", "7", "0, 1");
    assert_refused(
        "[memory]\nmemory_budget_gib = 17",
        "memory.memory_budget_gib",
        "17",
        "at most 16.0, the GiB of this machine",
    );
    assert_refused("[storage]\nssd_capacity_gb = 61", "storage.ssd_capacity_gb", "61", "at most 60");
    assert_refused("[devices]\ngpus_count = 2", "devices.gpus_count", "2", "at most 1");
    assert_refused("[devices]\nfpgas_count = 1", "devices.fpgas_count", "1", "at most 0");
}

#[test]
fn limits_of_the_process_are_named_in_the_refusal() {
    let limits =
        Limits { cpu_quota_millicores: Some(2500), memory_bytes: Some(1 << 30), ..Limits::default() };
    let machine = Machine::synthetic("[numa(memory=8GiB)] pack:1 core:4 pu:1").unwrap().with_limits(limits);
    let refused = |body: &str| {
        let profile = Profile::parse("test", &format!("{HEAD}{body}")).unwrap();
        plan(&machine, &profile).unwrap_err().to_string()
    };
    let text = refused("[cores]\ncores_count = 3");
    assert!(text.contains("at most 2") && text.contains("the CPU quota pays for 2"), "{text}");
    let text = refused("[memory]\nmemory_budget_gib = 2");
    assert!(text.contains("at most 1.0") && text.contains("this process may use"), "{text}");
}

#[test]
fn a_profile_built_in_code_is_checked_too() {
    let machine = Machine::synthetic("pack:1 core:4 pu:1").unwrap();
    let mut profile = shipped("commodity-pc").unwrap();
    profile.cores.worker_cores_count = Auto::Fixed(0);
    let refused = plan(&machine, &profile);
    assert!(
        matches!(&refused, Err(TopologyError::ProfileField { field, .. }) if field == "cores.worker_cores_count"),
        "{refused:?}"
    );
}

#[test]
fn text_that_is_not_toml_is_refused_with_its_line() {
    match Profile::parse("bad", "name = 'x'\n[cores\n") {
        Err(TopologyError::ProfileSyntax { profile, line, .. }) => {
            assert_eq!((profile.as_str(), line), ("bad", 2))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unknown_shipped_name_lists_the_known() {
    let text = shipped("laptop").unwrap_err().to_string();
    assert!(text.contains("\"laptop\"") && text.contains("reference-server"), "{text}");
}

/// Text of any kind, or a shipped profile with a part replaced by such text, which gets past the TOML parser.
fn garbage() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|x| format!("{x:?}")),
        Just("[0, 1, -1]".to_owned()),
        Just("true".to_owned()),
        Just("1979-05-27".to_owned()),
        "\\PC{0,12}",
    ];
    let spoiled = (0..SHIPPED.len(), any::<prop::sample::Index>(), value).prop_map(|(which, line, value)| {
        let mut lines: Vec<String> = SHIPPED[which].1.lines().map(str::to_owned).collect();
        let line = line.index(lines.len());
        lines[line] = match lines[line].split_once('=') {
            Some((key, _)) => format!("{key}= {value}"),
            None => value,
        };
        lines.join("\n")
    });
    prop_oneof!["(?s).{0,200}", spoiled]
}

proptest! {
    #![proptest_config(seeded(512))]

    #[test]
    fn garbage_gives_a_typed_error_or_a_plan_never_a_panic(text in garbage()) {
        let machine = Machine::synthetic("pack:2 [numa(memory=8GiB)] core:4 pu:1").unwrap();
        match Profile::parse("garbage", &text).and_then(|profile| plan(&machine, &profile)) {
            Ok(plan) => prop_assert!(!plan.workers.is_empty()),
            Err(TopologyError::ProfileField { field, expected, .. }) => {
                prop_assert!(!field.is_empty() && !expected.is_empty());
            }
            Err(TopologyError::ProfileSyntax { line, .. }) => prop_assert!(line >= 1),
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn any_numbers_of_cores_give_a_plan_that_has_them_or_a_refusal(
        counts in proptest::collection::vec(proptest::option::of(0_u32..12), 5),
    ) {
        let machine = Machine::synthetic("pack:2 [numa(memory=8GiB)] core:4 pu:1").unwrap();
        let mut profile = shipped("commodity-pc").unwrap();
        let auto = |i: usize| counts[i].map_or(Auto::Auto, Auto::Fixed);
        profile.cores.cores_count = auto(0);
        profile.cores.worker_cores_count = auto(1);
        profile.cores.io_cores_count = auto(2);
        profile.cores.hashing_cores_count = auto(3);
        profile.cores.service_cores_count = auto(4);
        let all = counts[0].unwrap_or(8);
        let roles: u32 = counts[1..].iter().flatten().sum();
        let possible = (1..=8).contains(&all)
            && counts[1] != Some(0)
            && roles + u32::from(counts[1].is_none()) <= all;
        let planned = plan(&machine, &profile);
        prop_assert_eq!(planned.is_ok(), possible, "{:?}", planned);
        if let Ok(plan) = planned {
            prop_assert_eq!(counts[1].unwrap_or(plan.workers.len() as u32), plan.workers.len() as u32);
            prop_assert!(plan.worker_lanes.len() == all as usize);
        }
    }
}
