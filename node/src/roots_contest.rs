//! From recovered transactions to the state root: the engine and the trie against plain revm and `alloy-trie`.

use crate::{
    baseline::Baseline,
    clock::{self, Sample, Times},
    execution::{Case, Executed, Runner},
    roots::{StateTrie, listed_root},
};
use alloy_primitives::B256;
use citius_engine::{Block, StrategyChoice};
use citius_state::{
    ChangeSet, CommitSink, Committed, MemoryState,
    ssmt::{Draft, Sealed, SsmtError},
};
use revm::primitives::hardfork::SpecId;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// The state root after a block, and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootContest {
    /// The root.
    pub root: B256,
    /// Whether it is a root of the whole state, as headers have it, not of what was listed of it.
    pub is_whole: bool,
    /// Nodes hashed for it.
    pub nodes_hashed: u64,
    /// The root's work alone, after the execution, on the same threads.
    pub alone: Times,
    /// From recovered transactions to the root.
    pub end_to_end: Times,
    /// From the block's last commit to its root, wall time of runs between the timed ones.
    pub seal_ns: u64,
    /// From recovered transactions to a root by plain revm over a `CacheDB` and `alloy-trie`; zero if not measured.
    pub cachedb: Times,
}

/// Which roots are found, and against what.
#[derive(Debug, Clone, Copy)]
pub struct RootSettings<'a> {
    /// The trie before the case's first block.
    pub trie: &'a StateTrie,
    /// Whether plain revm and `alloy-trie` take the same way, for comparison.
    pub has_baseline: bool,
}

/// A root of a block, or why there is none; `None` behind a block that has none.
type Found = Option<Result<Sealed, SsmtError>>;

/// What is known of a case's roots, and how long they took.
pub(crate) struct RootRace<'a> {
    settings: RootSettings<'a>,
    case: &'a Case,
    strategy: StrategyChoice,
    /// By block, as far as they were executed: the serial run's.
    changes: Vec<Arc<ChangeSet>>,
    reference: Vec<Found>,
    alone: Vec<Sample>,
    end_to_end: Vec<Sample>,
    cachedb: Vec<Sample>,
    seals_ns: Vec<Vec<u64>>,
    differences: Vec<Option<String>>,
}

/// Who takes a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Alone,
    EndToEnd,
    CacheDb,
}

/// Over three repetitions, everybody stands in each place.
fn turns(contest: usize, repetition: usize) -> [Who; 3] {
    let mut order = [Who::Alone, Who::EndToEnd, Who::CacheDb];
    order.rotate_left((contest + repetition) % 3);
    order
}

impl<'a> RootRace<'a> {
    /// Finds the roots after the serial run, and holds those of a listed state against `alloy-trie`'s.
    pub(crate) fn new(
        settings: RootSettings<'a>,
        case: &'a Case,
        strategy: StrategyChoice,
        serial: &[Executed],
    ) -> Self {
        let outcomes = serial.iter().map_while(|executed| executed.verdict.as_ref().ok());
        let changes: Vec<_> = outcomes.map(|outcome| Arc::new(outcome.changes.clone())).collect();
        let mut line = settings.trie.line();
        let mut is_broken = false;
        let reference: Vec<Found> = changes
            .iter()
            .map(|changes| {
                let found = (!is_broken).then(|| line.seal(changes));
                is_broken |= matches!(found, Some(Err(_)));
                found
            })
            .collect();
        drop(line);
        let differences = if settings.trie.is_witnessed() {
            reference.iter().map(error_text).collect()
        } else {
            let mut state = MemoryState::clone(&case.state);
            let pairs = reference.iter().zip(&changes);
            pairs.map(|(found, changes)| listed_difference(&mut state, found, changes)).collect()
        };
        let seals_ns = vec![Vec::new(); changes.len()];
        Self {
            settings,
            case,
            strategy,
            changes,
            reference,
            alone: Vec::new(),
            end_to_end: Vec::new(),
            cachedb: Vec::new(),
            seals_ns,
            differences,
        }
    }

    /// Lets everybody warm up, or takes the next sample of everybody.
    pub(crate) fn repeat(&mut self, runner: &Runner<'_>, contest: usize, repetition: Option<usize>) {
        for who in turns(contest, repetition.unwrap_or(0)) {
            let sample = match who {
                Who::Alone => self.sample_alone(),
                Who::EndToEnd => self.sample_end_to_end(runner),
                Who::CacheDb if self.settings.has_baseline => sample_cachedb(self.case),
                Who::CacheDb => continue,
            };
            if repetition.is_some() {
                match who {
                    Who::Alone => self.alone.push(sample),
                    Who::EndToEnd => self.end_to_end.push(sample),
                    Who::CacheDb => self.cachedb.push(sample),
                }
            }
        }
        if repetition.is_some() {
            self.time_seals(runner);
        }
    }

    /// What was found of each block that has a root, and each block's first difference.
    pub(crate) fn finish(self) -> Vec<(Option<RootContest>, Option<String>)> {
        let [alone, end_to_end, cachedb] =
            [&self.alone, &self.end_to_end, &self.cachedb].map(|samples| clock::medians(samples));
        let of = |medians: &Sample, block: usize| medians.get(block).copied().unwrap_or_default();
        let is_whole = self.settings.trie.is_witnessed();
        let blocks = self.reference.iter().zip(self.seals_ns).zip(self.differences).enumerate();
        let found = blocks.map(|(block, ((found, seals_ns), difference))| {
            let contest = found.as_ref().and_then(|found| found.as_ref().ok()).map(|sealed| RootContest {
                root: sealed.root,
                is_whole,
                nodes_hashed: sealed.nodes_hashed,
                alone: of(&alone, block),
                end_to_end: of(&end_to_end, block),
                seal_ns: clock::median(seals_ns),
                cachedb: of(&cachedb, block),
            });
            (contest, difference)
        });
        found.collect()
    }

    fn sample_alone(&mut self) -> Sample {
        let mut found = Vec::new();
        let sample = clock::sample(|laps| {
            found.clear();
            let mut line = self.settings.trie.line();
            for changes in self.changes.iter().take(self.sealed()) {
                found.push(Some(line.seal(changes)));
                laps.lap();
            }
        });
        self.check("the root's work alone", &found);
        sample
    }

    fn sample_end_to_end(&mut self, runner: &Runner<'_>) -> Sample {
        let mut found = Vec::new();
        let sample = clock::sample(|laps| {
            found.clear();
            let (blocks, trie) = (&self.case.blocks, self.settings.trie);
            run_to_roots(runner, blocks, self.strategy, trie, None, |root, _| {
                laps.lap();
                found.push(root);
            });
        });
        self.check("a timed end-to-end run", &found);
        sample
    }

    /// Takes the time from each block's last commit to its root.
    fn time_seals(&mut self, runner: &Runner<'_>) {
        let last_commits = Arc::new(LastCommits::default());
        let mut found = Vec::new();
        let sink = Some(Arc::clone(&last_commits) as Arc<dyn CommitSink>);
        let seals_ns = &mut self.seals_ns;
        let (blocks, trie) = (&self.case.blocks, self.settings.trie);
        run_to_roots(runner, blocks, self.strategy, trie, sink, |root, sealed_at| {
            let now = Instant::now();
            let block = found.len();
            let number = self.case.blocks[block].header.number;
            // Where nothing changed nothing was told.
            let since = last_commits.of(number).or(sealed_at);
            if let (Some(since), Some(seals_ns)) = (since, seals_ns.get_mut(block)) {
                seals_ns.push(clock::nanoseconds(now.saturating_duration_since(since)));
            }
            found.push(root);
        });
        self.check("an observed end-to-end run", &found);
    }

    /// How many blocks have a root.
    fn sealed(&self) -> usize {
        self.reference.iter().take_while(|found| matches!(found, Some(Ok(_)))).count()
    }

    fn check(&mut self, who: &str, found: &[Found]) {
        let say = |found: Option<&Found>| match found {
            Some(Some(Ok(sealed))) => sealed.root.to_string(),
            Some(Some(Err(error))) => error.to_string(),
            Some(None) | None => "none".to_owned(),
        };
        for (block, difference) in self.differences.iter_mut().enumerate().take(found.len().max(1)) {
            let (mine, reference) = (say(found.get(block)), say(self.reference.get(block)));
            if difference.is_none() && mine != reference {
                *difference = Some(format!("{who}: state root is {mine}; the reference: {reference}"));
            }
        }
    }
}

/// Executes the case, and makes each block's state root as soon as its changes are known. `on_root` gets the root, and
/// when the block's outcome was sealed.
///
/// While a single block executes, what it commits is told to a draft of its version, which idle threads work at. A
/// stream's trie begins when a block has ended: there the next block is what threads have to do meanwhile.
fn run_to_roots(
    runner: &Runner<'_>,
    blocks: &[Arc<Block>],
    strategy: StrategyChoice,
    trie: &StateTrie,
    listener: Option<Arc<dyn CommitSink>>,
    mut on_root: impl FnMut(Found, Option<Instant>),
) {
    let mut line = trie.line();
    let mut draft = match blocks {
        [block] => line.draft(block.header.number).ok(),
        _ => None,
    };
    let lease = draft.as_ref().map(|draft| runner.lend(draft.idle_work()));
    let sinks: Vec<_> = draft.iter().map(Draft::sink).chain(listener).collect();
    let sink = (!sinks.is_empty()).then(|| Arc::new(Sinks(sinks)) as Arc<dyn CommitSink>);
    let mut is_broken = false;
    runner.run(strategy, sink, |executed| {
        let outcome = executed.verdict.ok().filter(|_| !is_broken);
        let sealed_at = outcome.as_ref().and_then(|outcome| outcome.metrics.times.sealed_at);
        let found = outcome.map(|outcome| {
            let changes = Arc::new(outcome.changes);
            match draft.take() {
                Some(draft) => line.finish(draft, &changes),
                None => line.seal(&changes),
            }
        });
        is_broken |= !matches!(found, Some(Ok(_)));
        on_root(found, sealed_at);
    });
    drop(lease);
}

/// Several who are told of commits.
#[derive(Debug)]
struct Sinks(Vec<Arc<dyn CommitSink>>);

impl CommitSink for Sinks {
    fn committed(&self, block_number: u64, changes: &[Committed]) {
        self.0.iter().for_each(|sink| sink.committed(block_number, changes));
    }
}

/// The baseline's whole way, block by block.
fn sample_cachedb(case: &Case) -> Sample {
    clock::sample(|laps| {
        let mut baseline = Baseline::new(&case.chain, &case.state);
        let mut is_refused = false;
        for block in &case.blocks {
            is_refused = is_refused || baseline.execute(block).is_err();
            if !is_refused {
                let spec = case.chain.spec_id(&block.header);
                let root = baseline.state_root(!spec.is_enabled_in(SpecId::SPURIOUS_DRAGON));
                std::hint::black_box(root);
            }
            laps.lap();
        }
    })
}

fn error_text(found: &Found) -> Option<String> {
    let error = found.as_ref()?.as_ref().err()?;
    Some(format!("no state root: {error}"))
}

/// Applies a block's changes to a listed state, and compares both roots after it.
fn listed_difference(state: &mut MemoryState, found: &Found, changes: &ChangeSet) -> Option<String> {
    state.apply(changes);
    match found.as_ref()? {
        Ok(sealed) => {
            let expected = listed_root(state);
            (sealed.root != expected)
                .then(|| format!("state root is {}, alloy-trie computes {expected}", sealed.root))
        }
        Err(_) => error_text(found),
    }
}

/// When each block's last change was told.
#[derive(Debug, Default)]
struct LastCommits {
    by_number: Mutex<Vec<(u64, Instant)>>,
}

impl LastCommits {
    fn of(&self, number: u64) -> Option<Instant> {
        let by_number = self.by_number.lock().unwrap_or_else(PoisonError::into_inner);
        by_number.iter().find(|(known, _)| *known == number).map(|(_, at)| *at)
    }
}

impl CommitSink for LastCommits {
    fn committed(&self, block_number: u64, _changes: &[Committed]) {
        let mut by_number = self.by_number.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match by_number.iter_mut().find(|(known, _)| *known == block_number) {
            Some((_, at)) => *at = now,
            None => by_number.push((block_number, now)),
        }
    }
}
