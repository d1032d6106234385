//! A schedule fuzzer: delays, forced aborts and forced replays, all from one seed.

use citius_engine::scheduler::{EntryIndex, Incarnation, ScheduleFuzz};
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Condvar, Mutex},
    time::{Duration, Instant},
};

/// How much the fuzzer does, in percent of its chances.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    pub(crate) delay_percent: u64,
    pub(crate) abort_percent: u64,
    pub(crate) replay_percent: u64,
}

impl Rates {
    /// Rates drawn from a seed, none of them zero for long.
    pub(crate) fn from_seed(seed: u64) -> Self {
        let pick = |salt: u64, bound: u64| hash((seed, salt, "rates")) % bound;
        Self { delay_percent: pick(1, 60), abort_percent: pick(2, 40), replay_percent: pick(3, 15) }
    }
}

/// Delays, aborts and replays that depend on nothing but the seed and the entry.
pub(crate) struct SeededFuzz {
    seed: u64,
    rates: Rates,
    /// First transaction of a block -> its last; the first is held until a second of the block has started.
    blocks: Vec<(u32, u32)>,
    started: Mutex<HashMap<u32, u32>>,
    second_started: Condvar,
    holds_first: bool,
}

impl SeededFuzz {
    /// `blocks`: the first and one past the last transaction entry of each block of the stream.
    pub(crate) fn new(seed: u64, rates: Rates, blocks: Vec<(u32, u32)>, holds_first: bool) -> Self {
        Self {
            seed,
            rates,
            blocks,
            started: Mutex::new(HashMap::new()),
            second_started: Condvar::new(),
            holds_first,
        }
    }

    fn dice(&self, what: &str, entry: EntryIndex, incarnation: u32) -> u64 {
        hash((self.seed, what, entry.0, incarnation))
    }

    fn delay(&self, dice: u64) {
        if dice % 100 >= self.rates.delay_percent {
            return;
        }
        match dice / 100 % 3 {
            0 => std::thread::yield_now(),
            1 => (0..dice / 300 % 2_000).for_each(|_| std::hint::spin_loop()),
            _ => std::thread::sleep(Duration::from_micros(dice / 300 % 60)),
        }
    }

    /// Holds a block's first transaction until a second one has started.
    fn hold(&self, entry: EntryIndex) {
        let Some((first, end)) = self.blocks.iter().find(|(first, end)| (*first..*end).contains(&entry.0))
        else {
            return;
        };
        let mut started = self.started.lock().unwrap();
        if entry.0 != *first {
            *started.entry(*first).or_default() += 1;
            self.second_started.notify_all();
        } else if end - first >= 2 {
            // Bounded, so that a scheduler that runs nothing ahead fails the test instead of hanging it.
            let deadline = Instant::now() + Duration::from_secs(5);
            while started.get(first).is_none() && Instant::now() < deadline {
                started = self.second_started.wait_timeout(started, Duration::from_millis(50)).unwrap().0;
            }
        }
    }
}

impl ScheduleFuzz for SeededFuzz {
    fn never_pauses(&self) -> bool {
        self.holds_first
    }

    fn gives_up_after(&self) -> Option<u32> {
        let dice = hash((self.seed, "gives up"));
        dice.is_multiple_of(4).then_some((dice / 4 % 4) as u32)
    }

    fn before_execute(&self, entry: EntryIndex, incarnation: Incarnation, is_transaction: bool) {
        if self.holds_first && is_transaction && incarnation.0 == 0 {
            self.hold(entry);
        }
        self.delay(self.dice("execute", entry, incarnation.0));
    }

    fn after_read(&self, entry: EntryIndex) {
        let dice = self.dice("read", entry, 0);
        if dice.is_multiple_of(4) {
            self.delay(dice / 4);
        }
    }

    fn abort(&self, entry: EntryIndex, incarnation: Incarnation) -> bool {
        incarnation.0 < 3 && self.dice("abort", entry, incarnation.0) % 100 < self.rates.abort_percent
    }

    fn replay_suffix(&self, frontier: EntryIndex, incarnation: Incarnation) -> bool {
        incarnation.0 < 3 && self.dice("replay", frontier, incarnation.0) % 100 < self.rates.replay_percent
    }
}

/// A hash that is the same in every process.
pub(crate) fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The seed to begin with: `CITIUS_SEED` if set, else a fixed one.
pub(crate) fn first_seed() -> u64 {
    std::env::var("CITIUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// How many cases to run: `CITIUS_CASES`, or `long` with `CITIUS_LONG` set, or `short`.
pub(crate) fn cases(short: u64, long: u64) -> u64 {
    let given = std::env::var("CITIUS_CASES").ok().and_then(|cases| cases.parse().ok());
    given.unwrap_or(if std::env::var_os("CITIUS_LONG").is_some() { long } else { short })
}
