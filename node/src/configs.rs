//! What a plan means to engine, state trie, store and disk: none of them knows the plan.

use citius_engine::EngineConfig;
use citius_io::{Backend, DiskConfig};
use citius_state::{cold::StoreConfig, durable::DurableConfig, ssmt::SsmtConfig};
use citius_topology::{HistoryPlan, Plan, profile::IoBackend};

/// The bounds of an engine on the plan's workers; what the plan does not say is as usual.
#[must_use]
pub fn engine_config(plan: &Plan) -> EngineConfig {
    EngineConfig {
        parked_per_worker_max: plan.execution.parked_per_worker_max,
        reads_per_worker_max: plan.execution.reads_per_worker_max,
        prefetch_entries_max: plan.execution.prefetch_entries_max,
        ..EngineConfig::default()
    }
}

/// What a state trie keeps in the plan's memory.
#[must_use]
pub fn ssmt_config(plan: &Plan) -> SsmtConfig {
    SsmtConfig {
        history: plan.history.reorg_depth_blocks as usize,
        flat_cache_bytes: plan.memory_parts.flat_cache_bytes,
        node_bytes_max: plan.memory_parts.trie_nodes_bytes_max,
        ..SsmtConfig::default()
    }
}

/// What a store takes of the plan's disk and memory.
#[must_use]
pub fn store_config(plan: &Plan) -> StoreConfig {
    StoreConfig {
        segment_bytes: plan.storage.segment_bytes,
        page_bytes_max: plan.storage.page_bytes_max,
        journal_bytes_max: plan.storage.journal_bytes_max,
        page_cache_bytes: plan.memory_parts.page_cache_bytes,
        ..StoreConfig::default()
    }
}

/// A state in the plan's memory and on its disk. Checkpoints are made as often as by default.
#[must_use]
pub fn durable_config(plan: &Plan) -> DurableConfig {
    let HistoryPlan { reorg_depth_blocks, retention_blocks } = plan.history;
    DurableConfig {
        store: store_config(plan),
        ssmt: ssmt_config(plan),
        retained_blocks: u64::from(retention_blocks.saturating_sub(reorg_depth_blocks)),
        ..DurableConfig::default()
    }
}

/// How a store's disk is opened.
#[must_use]
pub fn disk_config(plan: &Plan) -> DiskConfig {
    DiskConfig {
        backend: match plan.storage.io_backend {
            IoBackend::Auto => Backend::Auto,
            IoBackend::Uring => Backend::Uring,
            IoBackend::Blocking => Backend::Blocking,
        },
        queue_depth: plan.storage.io_queue_depth,
        sqpoll: plan.storage.io_sqpoll,
        ..DiskConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use citius_topology::{Machine, plan, profile::Profile};

    fn planned(body: &str) -> Plan {
        let machine = Machine::synthetic("[numa(memory=2560MiB)] pack:1 core:4 pu:1").unwrap();
        let text = format!("name = 'test'\ndescription = 'for a test'\n{body}");
        plan(&machine, &Profile::parse("test", &text).unwrap()).unwrap()
    }

    #[test]
    fn what_a_plan_takes_for_usual_is_the_default_of_each() {
        let plan = planned("");
        let (engine, usual) = (engine_config(&plan), EngineConfig::default());
        assert_eq!(format!("{engine:?}"), format!("{usual:?}"));
        assert_eq!(format!("{:?}", ssmt_config(&plan)), format!("{:?}", SsmtConfig::default()));
        assert_eq!(disk_config(&plan), DiskConfig::default());
        let (store, usual) = (store_config(&plan), StoreConfig::default());
        let sized = StoreConfig { page_bytes_max: 86_000_000_000, journal_bytes_max: 4_000_000_000, ..usual };
        assert_eq!(store, sized, "of 2 GiB, an eighth each for pages and flat cache");
    }

    #[test]
    fn every_number_of_a_profile_reaches_its_room() {
        let plan = planned(
            "[memory]\nflat_cache_mib = 3\npage_cache_mib = 5\n\
             [storage]\npage_file_gb = 7\njournal_mib = 33\njournal_segment_mib = 11\n\
             io_backend = 'uring'\nio_queue_depth = 13\nio_sqpoll = true\n\
             [history]\nreorg_depth_blocks = 17\nretention_blocks = 31\n\
             [execution]\nparked_per_worker_max = 19\nreads_per_worker_max = 23\nprefetch_entries_max = 29",
        );
        let engine = engine_config(&plan);
        let numbers =
            [engine.parked_per_worker_max, engine.reads_per_worker_max, engine.prefetch_entries_max];
        assert_eq!(numbers, [19, 23, 29]);
        let trie = ssmt_config(&plan);
        assert_eq!((trie.history, trie.flat_cache_bytes), (17, 3 << 20));
        assert_eq!(durable_config(&plan).retained_blocks, 31 - 17);
        let store = store_config(&plan);
        assert_eq!((store.page_bytes_max, store.page_cache_bytes), (7_000_000_000, 5 << 20));
        assert_eq!((store.journal_bytes_max, store.segment_bytes), (33 << 20, 11 << 20));
        let disk = disk_config(&plan);
        assert_eq!((disk.backend, disk.queue_depth, disk.sqpoll), (Backend::Uring, 13, true));
        let blocking = planned("[storage]\nio_backend = 'blocking'");
        assert_eq!(disk_config(&blocking).backend, Backend::Blocking);
    }
}
