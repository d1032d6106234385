use crate::{
    Block, BlockError, BlockMetrics, BlockOutcome, CancelToken, ExecutionError, PhaseTimes, StrategyChoice,
    WorkerPool,
    cancel::Limits,
    chain::ChainSpec,
    evm::{Batching, EvmStream, Recall},
    parking::Bounds,
    policy::{Chosen, Decision, Recent, decide},
    pool::{Announcement, cores},
    scheduler::{Optimistic, Partitioned, Run, RunSettings, ScheduleFuzz, Serial, Stop, Strategy},
};
use alloy_hardforks::EthereumHardforks;
use citius_state::{CommitSink, StateReader};
use parking_lot::Mutex;
use std::{num::NonZeroUsize, sync::Arc, time::Instant};

/// Executes blocks of one chain. Cheap to keep, and to share between threads; several engines can share workers.
pub struct Engine {
    pub(crate) chain: Arc<ChainSpec>,
    pub(crate) pool: Arc<WorkerPool>,
    config: EngineConfig,
    pub(crate) serial: Serial<EvmStream>,
    pub(crate) optimistic: Optimistic<EvmStream>,
    partitioned: Partitioned<EvmStream>,
    recent: Mutex<Recent>,
    recall: Arc<Recall>,
}

/// Bounds of an engine.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Memory that a block may use for locations, versions and observations, in bytes; beyond it the block ends with
    /// [`ExecutionError::MemoryLimit`]. A stream has this much for each block submitted so far. (EVM memory is
    /// bounded by gas, and the outcome by what is executed; neither counts here.)
    pub memory_per_block_bytes_max: usize,
    /// Entries (transactions and block begin and end steps) that may be executed ahead of the commit frontier.
    pub look_ahead_entries_max: u32,
    /// Threads that may work on one execution at one time, however many it is allowed. More than there are cores
    /// take these from each other, so that is what this is by default.
    pub active_threads_max: NonZeroUsize,
    /// Work, in gas, that consecutive light transactions may be to be executed as one entry: scheduling one costs
    /// about as much as executing a small one. A payment counts for as much as it takes, a call for its gas limit.
    /// 0 makes every transaction an entry of its own.
    pub batch_gas_max: u64,
    /// Entries that remain for every thread at least: blocks of less work have smaller entries, so that all threads
    /// have something to do to the end. 0 for no such bound.
    pub batches_per_thread_min: u32,
    /// Blocks of a stream that may be submitted and not yet taken; [`BlockStream::submit`] works at the oldest
    /// until there is room.
    pub look_ahead_blocks_max: NonZeroUsize,
    /// Executions that a worker may have parked, each of which waits for a cold read, while it runs another one: an entry's
    /// execution that misses leaves its stack as it is, and its worker runs others. With so many the next one that misses
    /// keeps the worker, which goes on with the first of all whose read is there. 0 for no parking: whoever misses waits.
    /// Each takes a stack and an EVM, which are kept. Only readers that may wait
    /// ([`StateReader::may_wait`]) make executions begin on such stacks.
    pub parked_per_worker_max: u32,
    /// Reads that a worker may have in flight to begin a further execution: those that parked ones wait for, and those that
    /// were begun for the commit of what was written without a look. At least one.
    pub reads_per_worker_max: u32,
    /// Entries, from one that begins on, whose likely reads a reader that may wait is asked for ahead: senders, receivers,
    /// access lists, and what the last calls of the same function read. Partitioned blocks are asked for as a whole. 0 for
    /// none.
    pub prefetch_entries_max: u32,
    /// Whether `auto` learns from block to block where these are executed each by itself. To be turned off where the same
    /// block is executed again and again, which would then be another.
    pub learns_from_blocks: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            memory_per_block_bytes_max: 1 << 30,
            look_ahead_entries_max: 1 << 10,
            active_threads_max: NonZeroUsize::new(cores()).unwrap_or(NonZeroUsize::MIN),
            batch_gas_max: 150_000,
            batches_per_thread_min: 12,
            look_ahead_blocks_max: NonZeroUsize::new(8).unwrap_or(NonZeroUsize::MIN),
            parked_per_worker_max: Bounds::default().parked_max,
            reads_per_worker_max: Bounds::default().reads_max,
            prefetch_entries_max: 32,
            learns_from_blocks: true,
        }
    }
}

/// How one block or stream is to be executed.
#[derive(Clone, Default)]
pub struct ExecuteOptions {
    /// The strategy. One that is named is the one that runs.
    pub strategy: StrategyChoice,
    /// Threads that may work, the caller included; all workers of the pool if none is given.
    pub threads: Option<NonZeroUsize>,
    /// Ends the execution from another thread.
    pub cancel: CancelToken,
    /// Ends the execution at this time.
    pub deadline: Option<Instant>,
    /// Disturbs the schedule, for tests.
    pub fuzz: Option<Arc<dyn ScheduleFuzz>>,
    /// Is told of commits, in order, while the block executes: as soon as they happen where they happen one after another,
    /// at the block's end where it is partitioned.
    pub commit_sink: Option<Arc<dyn CommitSink>>,
}

impl std::fmt::Debug for ExecuteOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecuteOptions")
            .field("strategy", &self.strategy)
            .field("threads", &self.threads)
            .field("deadline", &self.deadline)
            .field("commit_sink", &self.commit_sink)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("chain_id", &self.chain.chain_id()).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine for a chain, on some workers.
    #[must_use]
    pub fn new(chain: ChainSpec, pool: Arc<WorkerPool>, config: EngineConfig) -> Self {
        let chain = Arc::new(chain);
        Self {
            chain,
            pool,
            config,
            serial: Serial::default(),
            optimistic: Optimistic::default(),
            partitioned: Partitioned::default(),
            recent: Mutex::default(),
            recall: Arc::default(),
        }
    }

    /// The chain's rules.
    #[must_use]
    pub fn chain(&self) -> &ChainSpec {
        &self.chain
    }

    /// Executes one block on the state that `reader` shows. The calling thread works too.
    ///
    /// # Errors
    ///
    /// [`ExecutionError::Refused`] is a verdict on the block, the same for every strategy, thread count and
    /// schedule. The others say that there is none.
    pub fn execute_block(
        &self,
        reader: Arc<dyn StateReader>,
        block: Arc<Block>,
        options: &ExecuteOptions,
    ) -> Result<BlockOutcome, ExecutionError> {
        self.measure_block(reader, block, options).0
    }

    /// Executes one block like [`Engine::execute_block`], and says how the work went even if there is no outcome.
    pub fn measure_block(
        &self,
        reader: Arc<dyn StateReader>,
        block: Arc<Block>,
        options: &ExecuteOptions,
    ) -> (Result<BlockOutcome, ExecutionError>, BlockMetrics) {
        let mut stream = self.begin(reader, options, true);
        stream.submit(block);
        let verdict = stream.next().unwrap_or_else(|| unreachable!("a submitted block has an outcome"));
        stream.remember();
        (verdict, stream.metrics())
    }

    /// Begins a stream of blocks on the state that `reader` shows.
    #[must_use]
    pub fn stream(&self, reader: Arc<dyn StateReader>, options: &ExecuteOptions) -> BlockStream<'_> {
        self.begin(reader, options, false)
    }

    /// A stream; one of a single block has nobody to learn for.
    fn begin(
        &self,
        reader: Arc<dyn StateReader>,
        options: &ExecuteOptions,
        is_alone: bool,
    ) -> BlockStream<'_> {
        BlockStream {
            engine: self,
            vm: Arc::new(
                EvmStream::new(Arc::clone(&self.chain), reader, !is_alone)
                    .with_recall((self.config.prefetch_entries_max > 0).then_some(&self.recall))
                    .with_sink(options.commit_sink.clone()),
            ),
            options: options.clone(),
            run: None,
            decision: None,
            is_alone,
            submitted: 0,
            taken: 0,
            failed: None,
        }
    }
}

/// Consecutive blocks, executed as one sequence: a block's transactions start while the tail of the one before
/// still runs (where they run ahead: `Serial` and `Partitioned` take block after block). An invalid block ends the stream there; everything before it stands.
pub struct BlockStream<'e> {
    engine: &'e Engine,
    vm: Arc<EvmStream>,
    options: ExecuteOptions,
    run: Option<Arc<dyn Run<EvmStream>>>,
    decision: Option<Decision>,
    is_alone: bool,
    submitted: u32,
    taken: u32,
    failed: Option<Failure>,
}

/// Why a stream ended early.
#[derive(Debug, Clone)]
enum Failure {
    Refused { segment: u32, number: u64, error: BlockError },
    Other(ExecutionError),
}

impl std::fmt::Debug for BlockStream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockStream")
            .field("submitted", &self.submitted)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

impl<'e> BlockStream<'e> {
    /// Appends a block, whose state before is the state after the block appended last. Workers begin with it at
    /// once. At the bound of blocks in flight this works at the oldest until it is done; its outcome then waits
    /// for [`BlockStream::next`].
    pub fn submit(&mut self, block: Arc<Block>) {
        // Held until the work is there.
        let _announcement = if self.run.is_none() { self.start(&block) } else { None };
        let bound = self.engine.config.look_ahead_blocks_max.get() as u32;
        let Some(run) = &self.run else { unreachable!("started right above") };
        let in_flight = self.submitted - self.taken;
        if in_flight >= bound {
            let done = in_flight - bound + 1;
            run.drive(&|| self.vm.outcome_count() >= done as usize);
        }
        let segment = self.vm.push(block, self.batching());
        self.submitted += 1;
        run.submit(segment, self.engine.config.memory_per_block_bytes_max);
    }

    /// The outcome of the next block, in order; `None` when there is none left. The calling thread works until it is
    /// there, at later blocks too, and ends the transaction that it is at first.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not be submitted to meanwhile")]
    pub fn next(&mut self) -> Option<Result<BlockOutcome, ExecutionError>> {
        if self.taken == self.submitted {
            return None;
        }
        let segment = self.taken;
        self.taken += 1;
        let Some(run) = &self.run else { unreachable!("a submitted block started the run") };
        if self.failed.is_none() {
            run.drive(&|| self.vm.outcome_count() > 0);
            if let Some(mut outcome) = self.vm.take_outcome() {
                outcome.metrics = self.metrics();
                return Some(Ok(outcome));
            }
            self.failed = Some(self.failure(&**run));
        }
        self.failed.clone().map(|failure| Err(failure.at(segment)))
    }

    /// Threads that the caller allows.
    fn threads(&self) -> NonZeroUsize {
        let size = self.engine.pool.size();
        self.options.threads.map_or(size, |threads| threads.min(size))
    }

    /// Threads that work at one time. A schedule that is disturbed on purpose needs all of them.
    fn active_threads(&self) -> usize {
        if self.options.fuzz.is_some() {
            return self.threads().get();
        }
        self.threads().min(self.engine.config.active_threads_max).get()
    }

    /// How the blocks are divided into entries: only where these run ahead does it matter how many there are.
    fn batching(&self) -> Batching {
        match &self.decision {
            Some(decision) if decision.chosen == Chosen::Optimistic => {
                let config = &self.engine.config;
                Batching {
                    gas_max: config.batch_gas_max,
                    entries_per_thread_min: config.batches_per_thread_min.into(),
                    threads: self.active_threads() as u64,
                }
            }
            _ => Batching::OFF,
        }
    }

    fn start(&mut self, first: &Block) -> Option<Announcement<'e>> {
        let engine = self.engine;
        let active = self.active_threads();
        let plans_payments = !engine.chain.is_amsterdam_active_at_timestamp(first.header.timestamp);
        let mut decision = decide(self.options.strategy, first, active, !self.is_alone, plans_payments);
        let is_free = self.options.strategy == StrategyChoice::Auto && self.is_alone;
        if is_free && engine.config.learns_from_blocks && decision.chosen == Chosen::Optimistic {
            decision = engine.recent.lock().reconsider(decision);
        }
        let may_spin = active <= cores();
        let is_shared = decision.chosen.is_parallel() && active > 1 && may_spin;
        let announcement = is_shared.then(|| engine.pool.announce());
        let gas: u64 =
            first.transactions.iter().map(|tx| tx.outline().gas_limit).fold(0, u64::saturating_add);
        let fuzz = self.options.fuzz.as_deref();
        let may_pause = !fuzz.is_some_and(ScheduleFuzz::never_pauses);
        let settings = RunSettings {
            pool: Arc::clone(&engine.pool),
            threads: active,
            may_pause,
            // Blocks that follow may be others.
            may_give_up: may_pause
                && (self.is_alone || fuzz.is_some_and(|fuzz| fuzz.gives_up_after().is_some())),
            may_spin,
            limits: Limits { token: self.options.cancel.clone(), deadline: self.options.deadline },
            fuzz: self.options.fuzz.clone(),
            look_ahead_entries_max: engine.config.look_ahead_entries_max.max(1),
            parking: Bounds {
                parked_max: engine.config.parked_per_worker_max,
                reads_max: engine.config.reads_per_worker_max,
            },
            prefetch_entries_max: engine.config.prefetch_entries_max,
            expected_locations: expected_locations(gas.min(first.header.gas_limit)),
        };
        let vm = Arc::clone(&self.vm);
        let strategy: &dyn Strategy<EvmStream> = match decision.chosen {
            Chosen::Serial => &engine.serial,
            Chosen::Optimistic => &engine.optimistic,
            Chosen::Partitioned => &engine.partitioned,
        };
        self.run = Some(strategy.start(vm, settings));
        self.decision = Some(decision);
        announcement
    }

    /// Remembers of a single block whether running ahead was worth it.
    fn remember(&self) {
        let learns = self.engine.config.learns_from_blocks && self.options.strategy == StrategyChoice::Auto;
        let ran_ahead = |decision: &Decision| decision.chosen == Chosen::Optimistic;
        if let Some(run) = &self.run
            && learns
            && self.decision.as_ref().is_some_and(ran_ahead)
        {
            let gave_up = run.metrics(0).gave_up_after.is_some();
            self.engine.recent.lock().note(gave_up);
        }
    }

    /// How the work on the block that was taken last went, also if it has no outcome; of a block that was never
    /// begun, since the stream ended before it, nothing but the decision. Default before a block was taken.
    #[must_use]
    pub fn metrics(&self) -> BlockMetrics {
        let (Some(run), Some(decision), Some(segment)) =
            (&self.run, &self.decision, self.taken.checked_sub(1))
        else {
            return BlockMetrics::default();
        };
        let metrics = run.metrics(segment);
        let threads = self.threads().get();
        let ahead = self.vm.ahead_counts(segment);
        BlockMetrics {
            strategy: decision.chosen.name(),
            reason: match metrics.gave_up_after {
                Some(count) => format!("{}; serially after {count} for their conflicts", decision.reason),
                None => decision.reason.clone(),
            },
            threads: if decision.chosen.is_parallel() { threads } else { 1 },
            executions: metrics.executions,
            aborts: metrics.aborts,
            validations: metrics.validations,
            waits: metrics.waits,
            max_in_flight: metrics.max_in_flight,
            locations: metrics.locations,
            parked: metrics.parked,
            parks: metrics.parks,
            reads_waited_for: metrics.reads_waited_for,
            keys_asked_ahead: ahead.asked,
            keys_ahead_useful: ahead.useful,
            keys_ahead_useless: ahead.useless,
            times: PhaseTimes {
                wall: metrics.wall,
                execute: metrics.execute,
                repeated: metrics.repeated,
                commit: metrics.commit,
                idle: metrics.idle,
                lent: metrics.lent,
                sealed_at: metrics.sealed_at,
            },
        }
    }

    fn failure(&self, run: &dyn Run<EvmStream>) -> Failure {
        match run.stopped() {
            Some(Stop::Refused { segment, refusal }) => Failure::Refused {
                segment,
                number: self.vm.block(segment).block.header.number,
                error: refusal,
            },
            Some(stop) => Failure::Other(stop.into()),
            None => unreachable!("a run without outcome was stopped"),
        }
    }
}

impl From<Stop<EvmStream>> for ExecutionError {
    /// What the stop means for the block that the run stopped in.
    fn from(stop: Stop<EvmStream>) -> Self {
        match stop {
            Stop::Refused { refusal, .. } => Self::Refused(refusal),
            Stop::Cancelled(reason) => Self::Cancelled { reason },
            Stop::MemoryLimit { limit_bytes } => Self::MemoryLimit { limit_bytes },
            Stop::Panicked { message } => Self::WorkerPanicked { message },
        }
    }
}

impl Failure {
    /// What the failure means for a block.
    fn at(self, block: u32) -> ExecutionError {
        match self {
            Self::Refused { segment, error, .. } if segment == block => ExecutionError::Refused(error),
            Self::Refused { number, error, .. } => {
                ExecutionError::Refused(BlockError::AncestorRefused { number, error: Box::new(error) })
            }
            Self::Other(error) => error,
        }
    }
}

impl Drop for BlockStream<'_> {
    fn drop(&mut self) {
        if let Some(run) = self.run.take() {
            run.close();
        }
    }
}

/// Locations to expect in a block: about one in 15,000 gas of real blocks, three in a plain transfer; limits exceed
/// use. Gas limits can be anything, so the guess is bounded; more locations only make the tables grow.
fn expected_locations(gas: u64) -> usize {
    usize::try_from(gas / 10_000).unwrap_or(usize::MAX).clamp(1 << 8, 1 << 16)
}
