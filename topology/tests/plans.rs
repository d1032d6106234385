//! What is planned on which machine.

#[path = "common/seeded.rs"]
mod seeded;

use citius_topology::{
    CpuId, Lane, Limits, Machine, NumaId, Plan, TopologyError, plan,
    profile::{Profile, shipped},
};
use proptest::prelude::*;
use seeded::seeded;
use std::{collections::HashSet, path::Path};

fn machine(description: &str) -> Machine {
    Machine::synthetic(description).unwrap()
}

fn planned(description: &str, profile: &str) -> Plan {
    plan(&machine(description), &shipped(profile).unwrap()).unwrap()
}

fn profile(body: &str) -> Profile {
    Profile::parse("test", &format!("name = 'test'\ndescription = 'for a test'\n{body}")).unwrap()
}

fn cpus(lanes: &[Lane]) -> Vec<u32> {
    lanes.iter().map(|lane| lane.cpu.0).collect()
}

fn worker_cpus(plan: &Plan) -> Vec<u32> {
    plan.workers.iter().map(|slot| slot.lane.cpu.0).collect()
}

fn workers_per_node(plan: &Plan, nodes: u32) -> Vec<usize> {
    (0..nodes).map(|node| plan.workers_on(NumaId(node))).collect()
}

/// Every core of the plan, each as often as something was given it.
fn cores_given(plan: &Plan) -> Vec<u32> {
    let workers = plan.workers.iter().map(|slot| slot.lane);
    let roles = [&plan.io, &plan.hashing, &plan.service].into_iter().flat_map(|role| role.lanes.clone());
    let mut cores: Vec<u32> = workers.chain(roles).map(|lane| lane.core.0).collect();
    cores.sort_unstable();
    cores
}

#[test]
fn one_socket_of_32_cores_gives_24_workers_and_the_last_eight_to_roles() {
    let plan = planned("[numa(memory=128GB)] pack:1 core:32 pu:1", "reference-server");
    assert_eq!(worker_cpus(&plan), (0..24).collect::<Vec<_>>());
    assert_eq!(cpus(&plan.hashing.lanes), [24, 25, 26, 27]);
    assert_eq!(cpus(&plan.io.lanes), [28, 29]);
    assert_eq!(cpus(&plan.service.lanes), [30, 31]);
    assert_eq!(workers_per_node(&plan, 1), [24]);
    assert_eq!(cores_given(&plan), (0..32).collect::<Vec<_>>(), "each core once");
    assert!(!plan.workers.iter().any(|slot| slot.shared) && !plan.io.shared);
    assert_eq!(plan.memory_budget_bytes, 104 << 30);
    assert_eq!(plan.ssd_capacity_bytes, Some(100_000_000_000));
}

#[test]
fn two_sockets_of_16_cores_give_12_workers_each() {
    let plan = planned("pack:2 [numa(memory=64GB)] core:16 pu:1", "reference-server");
    assert_eq!(workers_per_node(&plan, 2), [12, 12]);
    assert_eq!(worker_cpus(&plan), (0..12).chain(16..28).collect::<Vec<_>>());
    assert_eq!(cpus(&plan.hashing.lanes), [12, 13, 28, 29]);
    assert_eq!(cpus(&plan.io.lanes), [14, 30]);
    assert_eq!(cpus(&plan.service.lanes), [15, 31]);
    assert_eq!(cores_given(&plan), (0..32).collect::<Vec<_>>(), "each core once");
    let shares: Vec<u64> = plan.numa.iter().map(|share| share.memory_budget_bytes).collect();
    assert_eq!(shares, [52 << 30, 52 << 30]);
}

#[test]
fn four_sockets_of_8_cores_give_6_workers_each() {
    let plan = planned("pack:4 [numa(memory=32GB)] core:8 pu:1", "reference-server");
    assert_eq!(workers_per_node(&plan, 4), [6, 6, 6, 6]);
    assert_eq!(worker_cpus(&plan), [0..6, 8..14, 16..22, 24..30].into_iter().flatten().collect::<Vec<_>>());
    assert_eq!(cpus(&plan.service.lanes), [7, 15]);
    assert_eq!(cpus(&plan.io.lanes), [23, 31]);
    assert_eq!(cpus(&plan.hashing.lanes), [6, 14, 22, 30]);
    assert_eq!(cores_given(&plan), (0..32).collect::<Vec<_>>(), "each core once");
}

#[test]
fn workers_draw_memory_from_their_own_node() {
    let plan = planned("pack:4 [numa(memory=32GB)] core:8 pu:1", "reference-server");
    assert!(plan.workers.iter().all(|slot| slot.lane.numa.0 == slot.lane.cpu.0 / 8));
}

#[test]
fn on_one_core_everything_shares_it() {
    let plan = planned("pack:1 core:1 pu:1", "commodity-pc");
    assert_eq!(worker_cpus(&plan), [0]);
    for role in [&plan.io, &plan.hashing, &plan.service] {
        assert_eq!((cpus(&role.lanes), role.shared), (vec![0], true));
    }
    assert!(plan.workers[0].shared);
}

#[test]
fn on_two_cores_both_work_and_the_roles_share_them() {
    let plan = planned("pack:1 core:2 pu:1", "commodity-pc");
    assert_eq!(worker_cpus(&plan), [0, 1]);
    for role in [&plan.io, &plan.hashing, &plan.service] {
        assert_eq!((cpus(&role.lanes), role.shared), (vec![0, 1], true));
    }
}

#[test]
fn on_four_cores_the_roles_share_one_and_three_work() {
    let plan = planned("pack:1 core:4 pu:1", "commodity-pc");
    assert_eq!(worker_cpus(&plan), [0, 1, 2]);
    assert_eq!((cpus(&plan.io.lanes), plan.io.shared), (vec![3], true));
    assert_eq!((cpus(&plan.service.lanes), plan.service.shared), (vec![3], true));
    assert!(!plan.workers.iter().any(|slot| slot.shared));
}

#[test]
fn workers_take_one_sibling_a_core_before_the_second() {
    let plan = planned("pack:1 core:8 pu:2", "commodity-pc");
    assert_eq!(worker_cpus(&plan), [0, 2, 4, 6, 8]);
    assert_eq!(cpus(&plan.hashing.lanes), [10]);
    assert_eq!(cpus(&plan.io.lanes), [12]);
    assert_eq!(cpus(&plan.service.lanes), [14]);

    let eight = plan.with_threads(8);
    assert_eq!(worker_cpus(&eight), [0, 2, 4, 6, 8, 10, 12, 14], "every core, one sibling each");
    assert!(eight.service.shared && !eight.workers[0].shared && eight.workers[7].shared);
    let sixteen = plan.with_threads(16);
    assert_eq!(worker_cpus(&sixteen)[8..], [1, 3, 5, 7, 9, 11, 13, 15]);
    assert_eq!(worker_cpus(&plan.with_threads(18))[16..], [0, 2], "round-robin beyond the CPUs");
}

#[test]
fn thread_counts_are_never_refused_and_extend_each_other() {
    let plan = planned("pack:2 [numa(memory=4GB)] core:3 pu:1", "commodity-pc");
    let many = worker_cpus(&plan.with_threads(40));
    assert_eq!(many.len(), 40);
    for threads in 1..40 {
        assert_eq!(worker_cpus(&plan.with_threads(threads)), many[..threads]);
    }
    assert_eq!(plan.with_threads(0), plan.with_threads(1));
    assert_eq!(plan.with_threads(40).with_threads(plan.workers.len()), plan);
    assert!(
        plan.with_threads(7).workers.iter().filter(|slot| slot.lane.cpu == CpuId(0)).all(|slot| slot.shared)
    );
}

#[test]
fn few_workers_stay_on_one_node() {
    let plan = planned("pack:2 [numa(memory=64GB)] core:16 pu:1", "reference-server").with_threads(8);
    assert_eq!(workers_per_node(&plan, 2), [8, 0]);
}

#[test]
fn a_memory_only_node_gets_no_worker_and_disallowed_cpus_get_nothing() {
    let machine = Machine::from_xml(Path::new("tests/fixtures/memory-only-node.xml")).unwrap();
    let plan = plan(&machine, &shipped("commodity-pc").unwrap()).unwrap();
    assert_eq!(machine.cores.len(), 4);
    assert_eq!(worker_cpus(&plan), [0, 1]);
    assert_eq!(cpus(&plan.service.lanes), [2], "CPU 3 is not allowed by the file");
    assert_eq!(workers_per_node(&plan, 3), [2, 0, 0], "node 1 is as near, but numbered after node 0");
    assert_eq!(plan.memory_nodes_count, 3);
}

#[test]
fn memory_that_no_core_is_nearest_to_is_used_only_when_asked_for() {
    let machine = Machine::from_xml(Path::new("tests/fixtures/memory-only-node.xml")).unwrap();
    let shares = |body: &str| -> Vec<(u32, u64)> {
        let plan = plan(&machine, &profile(body)).unwrap();
        plan.numa.iter().map(|share| (share.numa.0, share.memory_budget_bytes >> 20)).collect()
    };
    assert_eq!(shares(""), [(0, 13_107)], "four fifths of 16 GiB");
    assert_eq!(shares("[memory]\nmemory_budget_gib = 36"), [(0, 16 << 10), (1, 4 << 10), (2, 16 << 10)]);
}

#[test]
fn a_node_without_memory_sends_its_cores_to_the_nearest_that_has_some() {
    let plan = planned("[numa(memory=16GB)] pack:2 [numa(memory=0)] core:2 pu:1", "commodity-pc");
    assert!(plan.workers.iter().all(|slot| slot.lane.numa == NumaId(2)), "{:?}", plan.workers);
}

#[test]
fn an_affinity_mask_takes_cores_and_siblings_away() {
    let mask = [1, 2, 3, 6].map(CpuId).to_vec();
    let machine = machine("pack:1 core:4 pu:2").with_limits(Limits { cpus: Some(mask), ..Limits::default() });
    let plan = plan(&machine, &shipped("commodity-pc").unwrap()).unwrap();
    assert_eq!(worker_cpus(&plan), [1, 2], "core 0 has its second sibling left, core 2 (CPU 4, 5) none");
    assert_eq!(cpus(&plan.service.lanes), [6]);
    assert_eq!(cpus(&plan.worker_lanes), [1, 2, 6, 3]);
    assert!(plan.notes.iter().any(|note| note.contains("1 of 4 cores are not allowed")), "{:?}", plan.notes);
}

#[test]
fn a_mask_without_a_core_is_refused() {
    let machine =
        machine("pack:1 core:4 pu:1").with_limits(Limits { cpus: Some(vec![]), ..Limits::default() });
    let refused = plan(&machine, &shipped("commodity-pc").unwrap());
    assert!(matches!(refused, Err(TopologyError::NoUsableCore { .. })));
}

#[test]
fn a_cpu_quota_caps_the_cores_rounded_down() {
    for (millicores, cores) in [(3_900, 3), (500, 1), (64_000, 8)] {
        let limits = Limits { cpu_quota_millicores: Some(millicores), ..Limits::default() };
        let machine = machine("pack:1 core:8 pu:2").with_limits(limits);
        let plan = plan(&machine, &shipped("commodity-pc").unwrap()).unwrap();
        let distinct: HashSet<u32> = cores_given(&plan).into_iter().collect();
        assert_eq!((machine.usable_cores_count(), distinct.len()), (cores, cores as usize));
    }
}

#[test]
fn a_memory_limit_caps_the_budget() {
    let limits = Limits { memory_bytes: Some(10 << 30), ..Limits::default() };
    let machine = machine("[numa(memory=64GiB)] pack:1 core:4 pu:1").with_limits(limits);
    let plan = plan(&machine, &shipped("commodity-pc").unwrap()).unwrap();
    assert_eq!(plan.memory_budget_bytes, 8 << 30, "four fifths of what is allowed");
}

#[test]
fn memory_nodes_of_the_cpuset_redirect_cores_and_cap_memory() {
    let limits = Limits { numa_nodes: Some(vec![NumaId(1)]), ..Limits::default() };
    let machine = machine("pack:2 [numa(memory=10GiB)] core:2 pu:1").with_limits(limits);
    assert_eq!(machine.usable_memory_bytes(), 10 << 30);
    let plan = plan(&machine, &shipped("commodity-pc").unwrap()).unwrap();
    assert!(plan.workers.iter().all(|slot| slot.lane.numa == NumaId(1)));
}

#[test]
fn a_profile_may_name_nodes_sockets_and_fewer_cores() {
    let machine = machine("pack:2 [numa(memory=64GB)] core:8 pu:1");
    let on = |body: &str| plan(&machine, &profile(body)).unwrap();
    let node = on("[cores]\nnuma_node_ids = [1]");
    assert_eq!(worker_cpus(&node), [8, 9, 10, 11, 12]);
    let socket = on("[cores]\nsockets_count = 1");
    assert_eq!(worker_cpus(&socket), [0, 1, 2, 3, 4]);
    let few =
        on("[cores]\ncores_count = 4\nworker_cores_count = 2\nio_cores_count = 0\nhashing_cores_count = 0");
    assert_eq!((worker_cpus(&few), cpus(&few.service.lanes)), (vec![0, 1], vec![3]));
    assert_eq!(cpus(&few.worker_lanes), [0, 1, 2, 3], "the core without a role comes before the shared one");
    assert!(few.notes.contains(&"13 usable cores have no role".to_owned()), "{:?}", few.notes);
}

#[test]
fn described_machines_are_not_bindable() {
    let machine = machine("pack:1 core:2 pu:1");
    let plan = plan(&machine, &shipped("commodity-pc").unwrap()).unwrap();
    let roles = [&plan.io, &plan.hashing, &plan.service];
    assert!(
        !machine.bindable && !plan.bindable && !plan.workers[0].bindable && !roles.iter().any(|r| r.bindable)
    );
    assert!(!Machine::from_xml(Path::new("tests/fixtures/memory-only-node.xml")).unwrap().bindable);
}

#[test]
fn bad_descriptions_and_files_are_named() {
    for description in ["", "garbage", "pack:0", "core:99999999 pu:2", "pack:2\0"] {
        match Machine::synthetic(description) {
            Err(TopologyError::Synthetic { description: named, .. }) => assert_eq!(named, description),
            other => panic!("{description:?}: {other:?}"),
        }
    }
    for path in ["tests/fixtures/absent.xml", "Cargo.toml"] {
        match Machine::from_xml(Path::new(path)) {
            Err(TopologyError::Xml { path: named, .. }) => assert_eq!(named, Path::new(path)),
            other => panic!("{path}: {other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(seeded(128))]

    #[test]
    fn without_sharing_no_core_is_given_twice_and_all_are_given(
        packages in 1_u32..5, cores in 1_u32..20, siblings in 1_u32..3, mask in proptest::collection::vec(any::<bool>(), 160),
    ) {
        let mut machine = machine(&format!("pack:{packages} [numa] core:{cores} pu:{siblings}"));
        let allowed: Vec<CpuId> = (0..160).filter(|cpu| mask[*cpu as usize]).map(CpuId).collect();
        machine = machine.with_limits(Limits { cpus: Some(allowed.clone()), ..Limits::default() });
        let usable: Vec<u32> = machine.usable_cores().map(|core| core.id.0).collect();
        prop_assume!(!usable.is_empty());
        let plan = plan(&machine, &shipped("commodity-pc").unwrap()).unwrap();

        let given = cores_given(&plan);
        let mut distinct = given.clone();
        distinct.dedup();
        prop_assert_eq!(&distinct, &usable);
        let shared = plan.workers.iter().any(|slot| slot.shared) || plan.roles().iter().any(|(_, role)| role.shared);
        prop_assert_eq!(given.len() > distinct.len(), shared);
        prop_assert_eq!(usable.len() < 8, shared, "from 8 cores on every role has its own");

        let mut lanes = cpus(&plan.worker_lanes);
        prop_assert!(lanes.iter().all(|cpu| allowed.contains(&CpuId(*cpu))));
        lanes.sort_unstable();
        let usable_cpus: Vec<u32> = machine.cores.iter().flat_map(|core| machine.usable_cpus(core)).map(|cpu| cpu.0).collect();
        prop_assert_eq!(lanes, usable_cpus, "each CPU is one lane");
        let budget: u64 = plan.numa.iter().map(|share| share.memory_budget_bytes).sum();
        prop_assert_eq!(budget, plan.memory_budget_bytes);
    }
}
