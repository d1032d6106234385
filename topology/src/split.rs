//! What the budgets of memory and disk are for. `docs/profiles.md` says why the parts are what they are.

use crate::{
    ExecutionPlan, HistoryPlan, MemoryParts, StoragePlan, TopologyError,
    budget::GB,
    profile::{Auto, Profile},
};

/// Bytes of a MiB.
const MIB: u64 = 1 << 20;

/// The disk of the reference server, for machines whose disks are not visible.
const USUAL_SSD_BYTES: u64 = 100 * GB;

/// Weights of trie, flat cache and page cache, and of the rest.
const MEMORY_WEIGHTS: ([u64; 3], u64) = ([4, 1, 1], 2);

/// Weights of pages and journal, and of what stays free.
const STORAGE_WEIGHTS: ([u64; 2], u64) = ([86, 4], 10);

/// The largest of the journal's files, unless one is asked for.
const SEGMENT_BYTES_USUAL: u64 = 64 * MIB;

/// Files that a journal is at least: where the checkpoint before the last one begins, the last one, the next to write to.
const SEGMENTS_MIN: u64 = 3;

/// A part of a budget: what profiles call it, what they say, and what that is in bytes.
struct Part {
    field: &'static str,
    rule: Auto<u32>,
    unit_bytes: u64,
}

impl Part {
    fn bytes(&self) -> Option<u64> {
        self.rule.fixed().map(|count| u64::from(count) * self.unit_bytes)
    }
}

pub(crate) fn memory_parts(profile: &Profile, budget: u64) -> Result<MemoryParts, TopologyError> {
    let rules = &profile.memory;
    let part = |field, rule| Part { field, rule, unit_bytes: MIB };
    let parts = [
        part("memory.trie_nodes_mib", rules.trie_nodes_mib),
        part("memory.flat_cache_mib", rules.flat_cache_mib),
        part("memory.page_cache_mib", rules.page_cache_mib),
    ];
    let [trie_nodes_bytes_max, flat_cache_bytes, page_cache_bytes] =
        share_out(budget, &parts, MEMORY_WEIGHTS).ok_or_else(|| {
            let left = format!("the {:.1} MiB of the memory budget", budget as f64 / MIB as f64);
            refuse_sum(profile, &parts, &format!("below {left}, so that something is left to execution"))
        })?;
    let rest_bytes = budget - trie_nodes_bytes_max - flat_cache_bytes - page_cache_bytes;
    Ok(MemoryParts { trie_nodes_bytes_max, flat_cache_bytes, page_cache_bytes, rest_bytes })
}

pub(crate) fn storage(
    profile: &Profile,
    capacity: Option<u64>,
    reads_per_worker: u32,
) -> Result<StoragePlan, TopologyError> {
    const PAGES: &str = "storage.page_file_gb";
    const JOURNAL: &str = "storage.journal_mib";
    const SEGMENT: &str = "storage.journal_segment_mib";
    let rules = &profile.storage;
    let budget = capacity.unwrap_or(USUAL_SSD_BYTES);
    let parts = [
        Part { field: PAGES, rule: rules.page_file_gb, unit_bytes: GB },
        Part { field: JOURNAL, rule: rules.journal_mib, unit_bytes: MIB },
    ];
    let [page_bytes_max, journal_bytes_max] =
        share_out(budget, &parts, STORAGE_WEIGHTS).ok_or_else(|| {
            let left = format!("the {:.1} GB of storage.ssd_capacity_gb", budget as f64 / GB as f64);
            refuse_sum(profile, &parts, &format!("below {left}"))
        })?;
    // However small a disk is found, `auto` is never refused.
    let journal_bytes_max = journal_bytes_max.max(SEGMENTS_MIN * MIB);
    let most = journal_bytes_max / SEGMENTS_MIN;
    let segment_bytes = match rules.journal_segment_mib {
        Auto::Auto => power_of_two_up_to(journal_bytes_max / 4).clamp(MIB, SEGMENT_BYTES_USUAL),
        Auto::Fixed(mib) if u64::from(mib) * MIB > most => {
            let expected = format!(
                "at most {}, a third of the journal's {:.1} MiB",
                most / MIB,
                journal_bytes_max as f64 / MIB as f64
            );
            return Err(profile.refuse(SEGMENT, mib, expected));
        }
        Auto::Fixed(mib) => u64::from(mib) * MIB,
    };
    let usual_depth = reads_per_worker.saturating_mul(2).clamp(1, 4096);
    Ok(StoragePlan {
        page_bytes_max: page_bytes_max.max(MIB),
        journal_bytes_max,
        segment_bytes,
        io_backend: rules.io_backend,
        io_queue_depth: rules.io_queue_depth.fixed().unwrap_or(usual_depth),
        io_sqpoll: rules.io_sqpoll,
    })
}

pub(crate) fn history(profile: &Profile) -> HistoryPlan {
    let (reorg_depth_blocks, retention_blocks) = profile.history.blocks();
    HistoryPlan { reorg_depth_blocks, retention_blocks }
}

/// The usual numbers are those of the engine, which this room does not know; a test of `node` compares them.
pub(crate) fn execution(profile: &Profile) -> ExecutionPlan {
    let rules = &profile.execution;
    ExecutionPlan {
        parked_per_worker_max: rules.parked_per_worker_max.fixed().unwrap_or(32),
        reads_per_worker_max: rules.reads_per_worker_max.fixed().unwrap_or(64),
        prefetch_entries_max: rules.prefetch_entries_max.fixed().unwrap_or(32),
    }
}

/// Every part its number; the others, and a rest, share by their weights what is left. `None` if nothing is left.
fn share_out<const N: usize>(
    budget: u64,
    parts: &[Part; N],
    (weights, rest): ([u64; N], u64),
) -> Option<[u64; N]> {
    let asked = parts.each_ref().map(Part::bytes);
    let fixed = asked.iter().flatten().try_fold(0_u64, |sum, bytes| sum.checked_add(*bytes))?;
    let left = budget.checked_sub(fixed).filter(|left| *left > 0 || fixed == 0)?;
    let shared: u64 =
        rest + weights.iter().zip(&asked).filter(|(_, asked)| asked.is_none()).map(|(w, _)| w).sum::<u64>();
    let mut bytes = [0; N];
    for ((bytes, weight), asked) in bytes.iter_mut().zip(weights).zip(asked) {
        let share = u128::from(left) * u128::from(weight) / u128::from(shared);
        *bytes = asked.unwrap_or(u64::try_from(share).unwrap_or(left));
    }
    Some(bytes)
}

/// Names the largest part with a number, and the whole sum.
fn refuse_sum(profile: &Profile, parts: &[Part], expected: &str) -> TopologyError {
    let fixed: Vec<&Part> = parts.iter().filter(|part| part.rule.fixed().is_some()).collect();
    let largest = fixed.iter().max_by_key(|part| part.bytes());
    let (field, value) = largest.map_or(("memory", 0), |part| (part.field, part.rule.fixed().unwrap_or(0)));
    let key = |field: &'static str| field.split_once('.').map_or(field, |(_, key)| key);
    let sum: Vec<String> = fixed.iter().map(|part| format!("{} = {}", key(part.field), part.rule)).collect();
    profile.refuse(field, value, format!("{} to be together {expected}", sum.join(" + ")))
}

/// The largest power of two that is no larger; 1 for 0.
fn power_of_two_up_to(count: u64) -> u64 {
    1 << count.max(1).ilog2()
}
