//! What the budgets of memory and disk are shared out to, and what is refused.

#[path = "common/seeded.rs"]
mod seeded;

use citius_topology::{
    Devices, ExecutionPlan, HistoryPlan, Machine, MemoryParts, Plan, StoragePlan, TopologyError, plan,
    profile::{Auto, IoBackend, Profile, shipped},
};
use proptest::prelude::*;
use seeded::seeded;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
const GB: u64 = 1_000_000_000;

/// 16 GiB of memory, and a disk of so many bytes.
fn machine(disk: Option<u64>) -> Machine {
    let devices = Devices { disks_capacity_bytes: disk, ..Devices::default() };
    Machine::synthetic("[numa(memory=16GiB)] pack:1 core:8 pu:1").unwrap().with_devices(devices)
}

fn profile(body: &str) -> Result<Profile, TopologyError> {
    Profile::parse("test", &format!("name = 'test'\ndescription = 'for a test'\n{body}"))
}

fn planned(body: &str) -> Plan {
    plan(&machine(Some(60 * GB)), &profile(body).unwrap()).unwrap()
}

fn assert_refused(body: &str, field: &str, value: &str, expectation: &str) {
    match profile(body).and_then(|profile| plan(&machine(Some(60 * GB)), &profile)) {
        Err(TopologyError::ProfileField { field: named, value: shown, expected, .. }) => {
            assert_eq!((named.as_str(), shown.as_str()), (field, value), "{body}");
            assert!(expected.contains(expectation), "{body}: expected {expected:?}");
        }
        other => panic!("{body}\ngave {other:?}"),
    }
}

#[test]
fn the_reference_server_has_what_auto_would_give_it() {
    let machine = Machine::synthetic("pack:2 [numa(memory=64GB)] core:16 pu:1").unwrap();
    let given = shipped("reference-server").unwrap();
    let plan_of = |profile: &Profile| plan(&machine, profile).unwrap();
    let plan = plan_of(&given);
    let memory = MemoryParts {
        trie_nodes_bytes_max: 52 * GIB,
        flat_cache_bytes: 13 * GIB,
        page_cache_bytes: 13 * GIB,
        rest_bytes: 26 * GIB,
    };
    let storage = StoragePlan {
        page_bytes_max: 86 * GB,
        journal_bytes_max: 4 * GIB,
        segment_bytes: 64 * MIB,
        io_backend: IoBackend::Auto,
        io_queue_depth: 128,
        io_sqpoll: false,
    };
    assert_eq!((plan.memory_parts, plan.storage), (memory, storage));
    assert_eq!(plan.history, HistoryPlan { reorg_depth_blocks: 128, retention_blocks: 128 });
    let execution =
        ExecutionPlan { parked_per_worker_max: 32, reads_per_worker_max: 64, prefetch_entries_max: 32 };
    assert_eq!(plan.execution, execution);

    let mut auto = shipped("commodity-pc").unwrap();
    auto.memory.memory_budget_gib = given.memory.memory_budget_gib;
    auto.storage.ssd_capacity_gb = given.storage.ssd_capacity_gb;
    let auto = plan_of(&auto);
    assert_eq!((auto.memory_parts, auto.history, auto.execution), (memory, plan.history, execution));
    assert_eq!(auto.storage, StoragePlan { journal_bytes_max: 4 * GB, ..storage }, "GiB are not GB");
}

#[test]
fn parts_with_a_number_are_kept_and_the_others_share_the_rest() {
    let parts = |body: &str| {
        let parts = planned(&format!("[memory]\nmemory_budget_gib = 8\n{body}")).memory_parts;
        let bytes =
            [parts.trie_nodes_bytes_max, parts.flat_cache_bytes, parts.page_cache_bytes, parts.rest_bytes];
        bytes.map(|bytes| bytes / MIB)
    };
    assert_eq!(parts(""), [4096, 1024, 1024, 2048]);
    assert_eq!(parts("flat_cache_mib = 0"), [4681, 0, 1170, 2340], "four, one and two sevenths");
    assert_eq!(parts("trie_nodes_mib = 4192"), [4192, 1000, 1000, 2000]);
    let all = "trie_nodes_mib = 8000\nflat_cache_mib = 100\npage_cache_mib = 91";
    assert_eq!(parts(all), [8000, 100, 91, 1]);

    let storage = planned("[storage]\nssd_capacity_gb = 50\npage_file_gb = 36").storage;
    assert_eq!(
        (storage.page_bytes_max, storage.journal_bytes_max, storage.segment_bytes),
        (36 * GB, 4 * GB, 64 * MIB)
    );
    let storage = planned("[storage]\njournal_mib = 30\nio_backend = 'uring'\nio_sqpoll = true").storage;
    assert_eq!((storage.journal_bytes_max, storage.segment_bytes), (30 * MIB, 4 * MIB), "four at least");
    assert_eq!((storage.io_backend, storage.io_sqpoll), (IoBackend::Uring, true));
    let plan = planned("[storage]\nio_sqpoll = true");
    assert!(plan.notes.iter().any(|note| note.starts_with("SQPOLL keeps a core busy")), "{:?}", plan.notes);
    let storage = planned("[storage]\njournal_mib = 30\njournal_segment_mib = 10").storage;
    assert_eq!(storage.segment_bytes, 10 * MIB, "three if asked for");
}

#[test]
fn a_disk_that_is_not_visible_counts_as_100_gb() {
    let of = |disk: Option<u64>| plan(&machine(disk), &shipped("commodity-pc").unwrap()).unwrap();
    let (unseen, seen) = (of(None), of(Some(100 * GB)));
    assert_eq!(unseen.ssd_capacity_bytes, None);
    assert_eq!((unseen.storage, unseen.storage.page_bytes_max), (seen.storage, 86 * GB));
    assert_eq!(of(Some(0)).storage.segment_bytes, MIB, "whatever is found, auto is planned");
}

#[test]
fn the_queue_is_twice_as_deep_as_a_worker_waits_for_unless_said() {
    let depth = |body: &str| planned(body).storage.io_queue_depth;
    assert_eq!(depth(""), 128);
    assert_eq!(depth("[execution]\nreads_per_worker_max = 8"), 16);
    assert_eq!(depth("[execution]\nreads_per_worker_max = 4096"), 4096, "io_uring takes no more");
    assert_eq!(depth("[execution]\nreads_per_worker_max = 8\n[storage]\nio_queue_depth = 7"), 7);
}

#[test]
fn what_is_kept_reaches_as_deep_as_reorganisations() {
    let kept = |body: &str| planned(&format!("[history]\n{body}")).history;
    assert_eq!(kept("reorg_depth_blocks = 7"), HistoryPlan { reorg_depth_blocks: 7, retention_blocks: 7 });
    assert_eq!(kept("retention_blocks = 9000").retention_blocks, 9000);
    let body = "[history]\nretention_blocks = 127";
    assert_refused(body, "history.retention_blocks", "127", "at least 128, the history.reorg_depth_blocks");
}

#[test]
fn parts_that_exceed_their_budget_are_refused_with_the_sum() {
    assert_refused(
        "[memory]\nmemory_budget_gib = 8\ntrie_nodes_mib = 8000\nflat_cache_mib = 100\npage_cache_mib = 92",
        "memory.trie_nodes_mib",
        "8000",
        "trie_nodes_mib = 8000 + flat_cache_mib = 100 + page_cache_mib = 92 to be together below the 8192.0 MiB of the memory budget",
    );
    assert_refused(
        "[memory]\npage_cache_mib = 13108",
        "memory.page_cache_mib",
        "13108",
        "below the 13107.2 MiB",
    );
    let body = "[storage]\nssd_capacity_gb = 50\npage_file_gb = 1\njournal_mib = 47000";
    let sum =
        "page_file_gb = 1 + journal_mib = 47000 to be together below the 50.0 GB of storage.ssd_capacity_gb";
    assert_refused(body, "storage.journal_mib", "47000", sum);
    assert_refused("[storage]\npage_file_gb = 60", "storage.page_file_gb", "60", "below the 60.0 GB");
    let body = "[storage]\njournal_mib = 30\njournal_segment_mib = 11";
    assert_refused(
        body,
        "storage.journal_segment_mib",
        "11",
        "at most 10, a third of the journal's 30.0 MiB",
    );
}

#[test]
fn values_of_the_wrong_kind_or_range_are_refused() {
    for (section, key, bad, expectation) in [
        ("memory", "trie_nodes_mib", "0", "1 to"),
        ("memory", "flat_cache_mib", "-1", "0 to"),
        ("memory", "page_cache_mib", "\"much\"", "or \"auto\""),
        ("storage", "page_file_gb", "0", "1 to"),
        ("storage", "journal_mib", "2", "3 to"),
        ("storage", "journal_segment_mib", "4097", "1 to 4096"),
        ("storage", "io_queue_depth", "0", "1 to 4096"),
        ("storage", "io_queue_depth", "4097", "1 to 4096"),
        ("storage", "io_backend", "\"aio\"", "one of \"auto\", \"uring\", \"blocking\""),
        ("storage", "io_backend", "3", "one of \"auto\", \"uring\", \"blocking\""),
        ("storage", "io_sqpoll", "\"auto\"", "true or false"),
        ("history", "reorg_depth_blocks", "1000001", "0 to 1000000"),
        ("history", "retention_blocks", "1.5", "0 to 1000000"),
        ("execution", "parked_per_worker_max", "4097", "0 to 4096"),
        ("execution", "reads_per_worker_max", "0", "1 to 4096"),
        ("execution", "prefetch_entries_max", "65537", "0 to 65536"),
    ] {
        let body = format!("[{section}]\n{key} = {bad}");
        assert_refused(&body, &format!("{section}.{key}"), bad, expectation);
    }
    let body = "[storage]\nio_backend = 'blocking'\nio_sqpoll = true";
    assert_refused(body, "storage.io_sqpoll", "true", "false, since storage.io_backend = \"blocking\"");
    assert_refused("[history]\ndepth = 1", "history.depth", "1", "reorg_depth_blocks, retention_blocks");
    assert_refused("[execution]\nparked = 1", "execution.parked", "1", "reads_per_worker_max");
}

proptest! {
    #![proptest_config(seeded(512))]

    #[test]
    fn parts_add_up_to_the_budget_and_have_their_numbers_or_are_refused(
        gib in 1_u32..16,
        mib in proptest::collection::vec(proptest::option::of(0_u32..8192), 3),
        gb in proptest::option::of(1_u32..60),
        pages in proptest::option::of(1_u32..60),
        journal in proptest::option::of(3_u32..60_000),
    ) {
        let auto = |value: Option<u32>| value.map_or(Auto::Auto, Auto::Fixed);
        let mut profile = shipped("commodity-pc").unwrap();
        profile.memory.memory_budget_gib = Auto::Fixed(gib);
        profile.memory.trie_nodes_mib = auto(mib[0].map(|mib| mib.max(1)));
        profile.memory.flat_cache_mib = auto(mib[1]);
        profile.memory.page_cache_mib = auto(mib[2]);
        profile.storage.ssd_capacity_gb = auto(gb);
        profile.storage.page_file_gb = auto(pages);
        profile.storage.journal_mib = auto(journal);
        let (budget, disk) = (u64::from(gib) * GIB, gb.map_or(60 * GB, |gb| u64::from(gb) * GB));
        let bytes = |value: Option<u32>, unit: u64| value.map(|value| u64::from(value) * unit);
        let asked = [bytes(mib[0].map(|mib| mib.max(1)), MIB), bytes(mib[1], MIB), bytes(mib[2], MIB)];
        let asked_of_disk = [bytes(pages, GB), bytes(journal, MIB)];
        let fits = |asked: &[Option<u64>], budget: u64| asked.iter().flatten().sum::<u64>() < budget;
        let planned = plan(&machine(Some(60 * GB)), &profile);
        prop_assert_eq!(planned.is_ok(), fits(&asked, budget) && fits(&asked_of_disk, disk), "{:?}", planned);
        let Ok(plan) = planned else { return Ok(()) };
        let memory = plan.memory_parts;
        let parts = [memory.trie_nodes_bytes_max, memory.flat_cache_bytes, memory.page_cache_bytes];
        prop_assert_eq!(parts.iter().sum::<u64>() + memory.rest_bytes, budget);
        let storage = plan.storage;
        prop_assert!(storage.page_bytes_max + storage.journal_bytes_max <= disk);
        prop_assert!(storage.journal_bytes_max >= 3 * storage.segment_bytes && storage.segment_bytes >= MIB);
        let disk_parts = [storage.page_bytes_max, storage.journal_bytes_max];
        for (part, asked) in parts.iter().zip(asked).chain(disk_parts.iter().zip(asked_of_disk)) {
            prop_assert_eq!(*part, asked.unwrap_or(*part));
            prop_assert!(*part > 0 || asked == Some(0));
        }
    }
}
