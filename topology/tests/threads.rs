//! Real threads on this machine, and refusals for machines that are not this one.

use citius_topology::{
    Check, Limits, Machine, PlacementReport, Plan, TopologyError, data_parallel_pool, pin_current_thread,
    pin_current_thread_to_role, plan, pool_placement, profile::shipped,
};
use std::{collections::HashSet, path::Path, thread};

fn own_plan() -> Plan {
    plan(&Machine::discover().unwrap(), &shipped("commodity-pc").unwrap()).unwrap()
}

/// True if this process may pin threads at all; tests of pinning say so and pass nothing otherwise.
fn may_pin(plan: &Plan) -> bool {
    let slot = plan.workers[0].clone();
    let refused = thread::spawn(move || pin_current_thread(&slot)).join().unwrap();
    refused.inspect_err(|error| eprintln!("skipped: {error}")).is_ok()
}

#[test]
fn this_machine_is_found_whole() {
    let machine = Machine::discover().unwrap();
    let allowed = thread::available_parallelism().unwrap().get();
    let cpus: usize = machine.cores.iter().map(|core| machine.usable_cpus(core).len()).sum();
    assert!(machine.bindable && cpus >= allowed, "{cpus} usable CPUs, the standard library sees {allowed}");
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let kib: u64 = meminfo.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(machine.memory_bytes, kib * 1024);
    let numa = machine.numa_nodes.iter().map(|node| node.memory_bytes).sum::<u64>();
    assert!(machine.numa_nodes.len() > 1 || numa == machine.memory_bytes);
}

#[test]
fn workers_are_found_where_the_plan_says() {
    let plan = own_plan();
    if !may_pin(&plan) {
        return;
    }
    for slot in plan.with_threads(plan.worker_lanes.len() * 2).workers {
        let report = thread::spawn(move || PlacementReport::take(&slot)).join().unwrap();
        assert_eq!(report.core, Check::Verified);
        assert!(!report.is_wrong(), "{report:?}");
        if plan.memory_nodes_count == 1 {
            assert!(matches!(report.pages, Check::Skipped { .. }));
        }
    }
}

#[test]
fn an_unpinned_thread_is_found_misplaced() {
    let plan = own_plan();
    if plan.worker_lanes.len() < 2 {
        return eprintln!("skipped: on one CPU every thread is in place");
    }
    let report = PlacementReport::check(&plan.workers[0]);
    assert!(report.is_wrong() && matches!(report.core, Check::Wrong { .. }), "{report:?}");
}

#[test]
fn a_thread_on_another_workers_cpu_is_found_misplaced() {
    let plan = own_plan().with_threads(2);
    if plan.worker_lanes.len() < 2 || !may_pin(&plan) {
        return eprintln!("skipped: needs two CPUs");
    }
    let report = thread::spawn(move || {
        pin_current_thread(&plan.workers[1]).unwrap();
        PlacementReport::check(&plan.workers[0])
    });
    assert!(report.join().unwrap().is_wrong());
}

#[test]
fn pages_are_checked_where_there_are_nodes_to_mistake() {
    let mut slot = own_plan().workers[0].clone();
    slot.memory_nodes_count = 2;
    let right = thread::spawn({
        let slot = slot.clone();
        move || PlacementReport::take(&slot)
    });
    let right = right.join().unwrap();
    if let Check::Skipped { reason } = &right.pages {
        return eprintln!("skipped: {reason}");
    }
    assert_eq!(right.pages, Check::Verified);
    slot.lane.numa = citius_topology::NumaId(slot.lane.numa.0 + 777);
    assert!(matches!(PlacementReport::check(&slot).pages, Check::Wrong { .. }));
}

#[test]
fn a_cpu_that_does_not_exist_is_refused_not_a_panic() {
    let mut slot = own_plan().workers[0].clone();
    for cpu in [1023, 1024, u32::MAX] {
        slot.lane.cpu = citius_topology::CpuId(cpu);
        assert!(matches!(pin_current_thread(&slot), Err(TopologyError::PinRefused { .. })), "{cpu}");
        assert!(matches!(PlacementReport::take(&slot).core, Check::Skipped { .. }));
    }
}

#[test]
fn nothing_is_bound_by_the_plan_of_a_described_machine() {
    let described = [
        Machine::synthetic("pack:1 core:2 pu:1").unwrap(),
        Machine::from_xml(Path::new("tests/fixtures/memory-only-node.xml")).unwrap(),
    ];
    for machine in described {
        let plan = plan(&machine, &shipped("commodity-pc").unwrap()).unwrap();
        let before = Limits::of_this_thread();
        let refusals = [
            pin_current_thread(&plan.workers[0]).unwrap_err(),
            pin_current_thread_to_role(&plan.io).unwrap_err(),
            data_parallel_pool(&plan).unwrap_err(),
        ];
        assert!(
            refusals.iter().all(|error| matches!(error, TopologyError::NotBindable { .. })),
            "{refusals:?}"
        );
        let report = PlacementReport::take(&plan.workers[0]);
        assert!(
            matches!(report.core, Check::Skipped { .. }) && matches!(report.pages, Check::Skipped { .. })
        );
        assert_eq!(Limits::of_this_thread(), before, "the mask is untouched");
    }
}

#[test]
fn a_role_is_kept_on_its_cpus() {
    let plan = own_plan();
    if !may_pin(&plan) {
        return;
    }
    let cpus = plan.hashing.cpus();
    let mask = thread::spawn(move || {
        pin_current_thread_to_role(&plan.hashing).unwrap();
        Limits::of_this_thread().cpus.unwrap()
    });
    let mut expected = cpus;
    expected.sort_unstable();
    assert_eq!(mask.join().unwrap(), expected);
}

#[test]
fn the_pool_has_a_named_pinned_thread_for_each_core() {
    let plan = own_plan();
    let crowded = plan.with_threads(3 * plan.workers.len() + 1);
    assert_eq!(data_parallel_pool(&crowded).unwrap().current_num_threads(), plan.workers.len());
    let pool = data_parallel_pool(&plan).unwrap();
    let names: HashSet<String> =
        pool.broadcast(|_| thread::current().name().unwrap().to_owned()).into_iter().collect();
    let expected: HashSet<String> = (0..plan.workers.len()).map(|i| format!("citius-data-{i}")).collect();
    assert_eq!(names, expected);
    if may_pin(&plan) {
        let reports = pool_placement(&pool, &plan);
        assert_eq!(reports.len(), plan.workers.len());
        assert!(reports.iter().all(|report| report.core == Check::Verified), "{reports:?}");
    }
}

#[test]
fn discovery_after_pinning_sees_one_cpu() {
    // The reason why a plan is made before any pinning; if this fails, the documentation of `discover` is stale.
    let plan = own_plan();
    if !may_pin(&plan) {
        return;
    }
    let slot = plan.workers[0].clone();
    let machine = thread::spawn(move || {
        pin_current_thread(&slot).unwrap();
        Machine::discover().unwrap()
    });
    assert_eq!(machine.join().unwrap().usable_cores_count(), 1);
}
