use super::{
    ahead::{Ahead, AheadCounts},
    asked::Asked,
    batches::{Batching, Division},
    hints::Hints,
    recall::Recall,
    steps::{PreparedBlock, Step},
};
use crate::{
    Block, BlockOutcome, Transaction,
    chain::ChainSpec,
    scheduler::{AppendVec, EntryIndex, Interrupt},
};
use alloy_primitives::B256;
use citius_state::{CommitSink, ReadError, StateReader};
use crossbeam::queue::SegQueue;
use parking_lot::Mutex;
use revm::bytecode::Bytecode;
use revm::primitives::constants::BLOCK_HASH_HISTORY;
use std::{ops::Range, sync::Arc, time::Duration};

/// One stream of blocks as a machine for the scheduler: the rules, the state before it, its entries so far.
pub(crate) struct EvmStream {
    chain: Arc<ChainSpec>,
    reader: Arc<dyn StateReader>,
    /// What the reader said of itself.
    may_wait: bool,
    blocks: AppendVec<Box<Segment>>,
    entries: AppendVec<EntrySteps>,
    /// Sealed blocks that nobody has taken yet.
    outcomes: SegQueue<BlockOutcome>,
    /// Ancestors' hashes that the reader gave.
    block_hashes: Asked<u64, B256>,
    /// What is asked for ahead, if anything is.
    ahead: Option<Ahead>,
    /// Code that the reader gave.
    codes: Asked<B256, Bytecode>,
    /// What the blocks so far tell, if anything is to be learnt.
    hints: Option<Mutex<Hints>>,
    /// Who is told of commits.
    sink: Option<Arc<dyn CommitSink>>,
}

/// The steps of one entry.
#[derive(Debug, Clone, Copy)]
struct EntrySteps {
    segment: u32,
    first: u32,
    count: u32,
    /// How many of them are transactions.
    transactions: u32,
    /// Transactions of the stream up to the end of this entry.
    transactions_through: u32,
    /// The earlier entry that this one follows.
    follows: Option<EntryIndex>,
}

struct Segment {
    first: EntryIndex,
    entries: u32,
    /// Entries that should begin before their turn: the second of each pair, at the turn of the first.
    early: Vec<(EntryIndex, EntryIndex)>,
    prepared: PreparedBlock,
}

impl std::fmt::Debug for EvmStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EvmStream").field("blocks", &self.blocks.len()).finish_non_exhaustive()
    }
}

impl EvmStream {
    pub(crate) fn new(chain: Arc<ChainSpec>, reader: Arc<dyn StateReader>, learns: bool) -> Self {
        Self {
            chain,
            may_wait: reader.may_wait(),
            reader,
            blocks: AppendVec::new(),
            entries: AppendVec::new(),
            outcomes: SegQueue::new(),
            ahead: None,
            block_hashes: Asked::default(),
            codes: Asked::default(),
            hints: learns.then(Mutex::default),
            sink: None,
        }
    }

    /// Tells somebody of commits.
    pub(crate) fn with_sink(self, sink: Option<Arc<dyn CommitSink>>) -> Self {
        Self { sink, ..self }
    }

    /// Asks for likely reads ahead, if that can be of use.
    pub(crate) fn with_recall(self, recall: Option<&Arc<Recall>>) -> Self {
        let ahead = recall.filter(|_| self.may_wait).map(|recall| Ahead::new(Arc::clone(recall)));
        Self { ahead, ..self }
    }

    pub(super) fn ahead(&self) -> Option<&Ahead> {
        self.ahead.as_ref()
    }

    /// What was asked for ahead for a segment.
    pub(crate) fn ahead_counts(&self, segment: u32) -> AheadCounts {
        self.ahead().map(|ahead| ahead.counts(segment)).unwrap_or_default()
    }

    pub(super) fn reader(&self) -> &dyn StateReader {
        &*self.reader
    }

    pub(crate) fn sink(&self) -> Option<&Arc<dyn CommitSink>> {
        self.sink.as_ref()
    }

    /// Appends a block; returns its segment. Consecutive light transactions share an entry as the batching says.
    /// Called by one thread at a time.
    pub(crate) fn push(&self, block: Arc<Block>, batching: Batching) -> u32 {
        let prepared = PreparedBlock::new(&self.chain, block);
        let segment = self.blocks.len();
        let first = EntryIndex(self.entries.len());
        let mut transactions_through =
            first.0.checked_sub(1).map_or(0, |last| self.entries.get(last).transactions_through);
        let mut step = 0;
        let Division { counts, early, follows } = match &self.hints {
            Some(hints) => batching.divide(&prepared, &hints.lock()),
            None => batching.divide(&prepared, &Hints::default()),
        };
        for (place, count) in counts.into_iter().enumerate() {
            let follows = follows.get(&(place as u32)).map(|before| EntryIndex(first.0 + before));
            let is_transaction = matches!(prepared.steps[step as usize], Step::Transaction(_));
            let transactions = if is_transaction { count } else { 0 };
            transactions_through += transactions;
            let steps =
                EntrySteps { segment, first: step, count, transactions, transactions_through, follows };
            self.entries.push(steps);
            step += count;
        }
        let entries = self.entries.len() - first.0;
        let entry = |place| EntryIndex(first.0 + place);
        let early = early.into_iter().map(|(at, place)| (entry(at), entry(place))).collect();
        self.blocks.push(Box::new(Segment { first, entries, early, prepared }))
    }

    pub(crate) fn chain(&self) -> &ChainSpec {
        &self.chain
    }

    /// The block of a segment.
    pub(crate) fn block(&self, segment: u32) -> &PreparedBlock {
        &self.blocks.get(segment).prepared
    }

    /// First and one past the last entry of a segment.
    pub(crate) fn range(&self, segment: u32) -> (EntryIndex, EntryIndex) {
        let segment = self.blocks.get(segment);
        (segment.first, EntryIndex(segment.first.0 + segment.entries))
    }

    /// Entries of a segment that should begin before their turn, and at whose turn.
    pub(crate) fn early_entries(&self, segment: u32) -> Vec<(EntryIndex, EntryIndex)> {
        self.blocks.get(segment).early.clone()
    }

    /// Segment of an entry, and its steps within it.
    pub(crate) fn locate(&self, entry: EntryIndex) -> (u32, Range<usize>) {
        let EntrySteps { segment, first, count, .. } = *self.entries.get(entry.0);
        (segment, first as usize..(first + count) as usize)
    }

    /// The entry that an entry follows.
    pub(crate) fn before(&self, entry: EntryIndex) -> Option<EntryIndex> {
        self.entries.get(entry.0).follows
    }

    /// The transactions of an entry.
    pub(crate) fn transactions_of(&self, entry: EntryIndex) -> impl Iterator<Item = &Transaction> {
        let (segment, steps) = self.locate(entry);
        let prepared = self.block(segment);
        prepared.steps[steps].iter().filter_map(|step| match step {
            Step::Transaction(index) => Some(&prepared.block.transactions[*index]),
            _ => None,
        })
    }

    /// Lets the hints learn, if there are any.
    pub(crate) fn learn(&self, what: impl FnOnce(&mut Hints)) {
        if let Some(hints) = &self.hints {
            what(&mut hints.lock());
        }
    }

    /// Transactions among an entry's steps, and those of the stream up to its end.
    pub(crate) fn transactions(&self, entry: EntryIndex) -> (u32, u32) {
        let EntrySteps { transactions, transactions_through, .. } = *self.entries.get(entry.0);
        (transactions, transactions_through)
    }

    /// Asks the reader. The answer may be on its way: it is for the views to wait for it, parked if they can be.
    pub(crate) fn ask<T>(
        &self,
        question: impl FnOnce(&dyn StateReader) -> Result<T, ReadError>,
    ) -> Result<T, Interrupt<Self>> {
        question(&*self.reader).map_err(|error| match error {
            ReadError::Pending { ticket, .. } => Interrupt::Pending(ticket),
            error => Interrupt::Read(error),
        })
    }

    /// Whether an answer of the reader may be on its way.
    pub(crate) fn reader_may_wait(&self) -> bool {
        self.may_wait
    }

    /// Lets reads of the calling thread go on; whether any are in flight.
    pub(crate) fn let_reads_go_on(&self, wait: Option<Duration>) -> bool {
        self.reader.progress(wait)
    }

    /// Code by its hash, asked for once a stream.
    pub(crate) fn code(&self, code_hash: B256) -> Result<Bytecode, Interrupt<Self>> {
        self.codes.get_or_ask(code_hash, || self.ask(|reader| reader.code(code_hash)))
    }

    /// The hash of an ancestor of a segment's block: from the headers of this stream, else from the reader.
    pub(crate) fn block_hash(&self, segment: u32, number: u64) -> Result<B256, Interrupt<Self>> {
        // A block's header names its parent's hash. `BLOCKHASH` reaches no farther.
        for child in (segment.saturating_sub(BLOCK_HASH_HISTORY as u32)..=segment).rev() {
            let header = &self.block(child).block.header;
            if header.number == number + 1 {
                return Ok(header.parent_hash);
            }
        }
        self.block_hashes.get_or_ask(number, || self.ask(|reader| reader.block_hash(number)))
    }

    pub(crate) fn publish(&self, outcome: BlockOutcome) {
        self.outcomes.push(outcome);
    }

    pub(crate) fn take_outcome(&self) -> Option<BlockOutcome> {
        self.outcomes.pop()
    }

    pub(crate) fn outcome_count(&self) -> usize {
        self.outcomes.len()
    }
}
