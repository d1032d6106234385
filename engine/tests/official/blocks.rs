//! Block tests: whole chains, side branches included, each block executed on its parent's state.

use crate::{
    archive::{ArchiveError, Entry},
    block_fixture::{BlockTest, BlockTests, OfferedBlock},
    chain::{Chain, Link, NaiveRoots, Roots, Version},
    decoded::DecodedBlock,
    exceptions::Tests,
    fixture::state_of,
    header,
    machines::{Machines, Rules},
    networks::Network,
    oracle::check_states,
    selection::{Selection, seed},
    suite::{self, Worker},
    tally::Tally,
    ways::{Executed, check_stream, execute},
};
use alloy_primitives::B256;
use citius_engine::Block;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

/// What computes the state roots of a chain. Each must agree with every header.
fn roots() -> Vec<Box<dyn Roots>> {
    vec![Box::new(NaiveRoots)]
}

/// Runs the [block tests][format] of an archive.
///
/// [format]: https://ethereum-tests.readthedocs.io/en/latest/test_types/blockchain_tests.html
pub(crate) fn run(path: &Path, selection: &Selection) -> Result<Tally, ArchiveError> {
    suite::run(path, Tests::Blocks, selection, run_file)
}

fn run_file(worker: &mut Worker<'_>, entry: Entry) {
    let Entry { path, bytes } = entry;
    // Beside them the legacy archive has state tests.
    if !path.contains("BlockchainTests/") {
        return;
    }
    let tests: BlockTests = match serde_json::from_slice(&bytes) {
        Ok(tests) => tests,
        Err(error) => return worker.tally.failures.push(format!("{path}: {error}")),
    };
    // Chains of several blocks are few, and what this suite is for: a sample leaves none out. Most tests are state tests
    // in a block each.
    let is_always_taken = worker.selection.is_sample() && !path.contains("/GeneralStateTests/");
    for (test_name, test) in &tests {
        let name = format!("{path}::{test_name}");
        if is_always_taken || worker.selection.takes(&name) {
            run_test(worker, &name, test);
        }
    }
}

fn run_test(worker: &mut Worker<'_>, name: &str, test: &BlockTest) {
    if let Some(reason) = worker.unsupported(&test.network) {
        return worker.tally.skip(&format!("network {}: {reason}", test.network));
    }
    let mut counts = Counts::default();
    worker.run(name, |machines| {
        check(name, test, machines, &mut counts).map(|()| "chains whose every valid block holds")
    });
    for (what, count) in counts.0 {
        worker.tally.note(what, count);
    }
}

/// How many blocks there were, and of what kind.
#[derive(Debug, Default)]
struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    fn add(&mut self, what: &'static str, count: usize) {
        if count > 0 {
            *self.0.entry(what).or_default() += count as u64;
        }
    }
}

fn check(name: &str, test: &BlockTest, machines: &mut Machines, counts: &mut Counts) -> Result<(), String> {
    let network =
        Network::named(&test.network).ok_or_else(|| format!("network `{}` is unknown", test.network))?;
    let mut run = Run {
        test,
        network,
        chain: begin(test).map_err(|reason| format!("genesis: {reason}"))?,
        executed: HashMap::new(),
        dice: ChaCha8Rng::seed_from_u64(seed(name)),
        machines,
    };
    for (index, offered) in test.blocks.iter().enumerate() {
        match (&offered.header, &offered.exception) {
            (Some(_), None) => {
                let executed =
                    run.import(offered).map_err(|reason| format!("block {index} of the list: {reason}"))?;
                counts.add("blocks executed", 1);
                counts.add("transactions executed", executed.transactions.len());
                counts.add("ommers rewarded", executed.ommers.len());
            }
            (None, Some(_)) => counts.add("blocks skipped: invalid, for the reason stated", 1),
            (None, None) => counts.add("blocks skipped: invalid, for no reason stated", 1),
            (Some(_), Some(exception)) => {
                return Err(format!("block {index} has a header, and should be refused: {exception}"));
            }
        }
    }
    run.check_end()?;
    counts.add("blocks executed again, in streams of a canonical chain", run.check_streams()?);
    Ok(())
}

/// The chain of the genesis block alone.
fn begin(test: &BlockTest) -> Result<Chain, String> {
    let fields = &test.genesis_block_header;
    let link = Link {
        hash: fields.hash,
        number: fields.number.to_u64()?,
        difficulty: fields.difficulty.0,
        state_root: fields.state_root,
    };
    if let Some(rlp) = &test.genesis_rlp {
        let genesis = DecodedBlock::from_hex(&rlp.to_string())?;
        genesis.check_parts()?;
        if genesis.link() != link {
            return Err(format!("RLP says {:?}, expected {link:?}", genesis.link()));
        }
    }
    Chain::new(link, state_of(&test.pre)?, roots())
}

/// One test, while it runs.
struct Run<'a> {
    test: &'a BlockTest,
    network: Network,
    chain: Chain,
    /// By the block's hash.
    executed: HashMap<B256, Executed>,
    dice: ChaCha8Rng,
    machines: &'a mut Machines,
}

impl Run<'_> {
    /// Executes a valid block on its parent's state, compares with its header, and adds it to the chain.
    fn import(&mut self, offered: &OfferedBlock) -> Result<Arc<Block>, String> {
        let decoded = DecodedBlock::from_hex(&offered.rlp)?;
        let link = decoded.link();
        let stated = offered.header.as_ref().map(|header| header.hash);
        if stated != Some(link.hash) {
            return Err(format!("hash {}, expected {stated:?}", link.hash));
        }
        decoded.check_parts()?;
        let header = &decoded.header;
        let parent = self.chain.version(header.parent_hash);
        let Version { number, total_difficulty, state, .. } =
            parent.ok_or_else(|| format!("parent {} is unknown", header.parent_hash))?.clone();
        if number + 1 != header.number {
            return Err(format!("number {} behind number {number}", header.number));
        }
        let phase = self.network.phase_after(total_difficulty);
        let block = decoded.to_engine(phase.chain.spec_id(header))?;
        if block.transactions.iter().any(|transaction| transaction.env().gas_limit > 1 << 30) {
            self.machines.shrink();
        }
        let engine = self.machines.engine_of_network(phase, Rules::WholeBlock);
        let outcome = execute(engine, &state, &block, &mut self.dice)?;
        let receipts = header::receipts(phase, self.machines, &state, &block, &outcome)?;
        header::check(header, &outcome, &receipts)?;
        self.chain.extend(header.parent_hash, link, &outcome.changes)?;
        self.executed.insert(link.hash, Executed { block: Arc::clone(&block), outcome });
        Ok(block)
    }

    /// Compares the canonical head's state with what the test says.
    fn check_end(&self) -> Result<(), String> {
        let head = self.test.last_block_hash;
        let version = self.chain.version(head).ok_or_else(|| format!("head {head} is unknown"))?;
        if let Some(accounts) = &self.test.post_state {
            check_states(&version.state, &state_of(accounts)?)
                .map_err(|reason| format!("state at the end: {reason}"))?;
        }
        match self.test.post_state_hash {
            Some(root) if root != version.state_root => {
                Err(format!("state root at the end {}, expected {root}", version.state_root))
            }
            _ => Ok(()),
        }
    }
    /// Executes the chain up to the canonical head as a stream, and compares with its blocks one by one. Where proof of
    /// stake begins by difficulty, a second stream does. Returns how many blocks there were: a single one is no stream.
    fn check_streams(&mut self) -> Result<usize, String> {
        let mut blocks = Vec::new();
        let mut hash = self.test.last_block_hash;
        while let Some(executed) = self.executed.get(&hash) {
            hash = executed.block.header.parent_hash;
            let Version { total_difficulty, state, .. } =
                self.chain.version(hash).ok_or_else(|| format!("parent {hash} is unknown"))?;
            blocks.push((self.network.phase_after(*total_difficulty), state, executed));
        }
        blocks.reverse();
        let mut streamed = 0;
        for part in blocks.chunk_by(|(one, ..), (next, ..)| one.is_merged == next.is_merged) {
            if part.len() == 1 {
                continue;
            }
            let (phase, before, _) = part[0];
            let engine = self.machines.engine_of_network(phase, Rules::WholeBlock);
            let executed: Vec<&Executed> = part.iter().map(|(.., executed)| *executed).collect();
            check_stream(engine, before, &executed).map_err(|reason| format!("as a stream: {reason}"))?;
            streamed += part.len();
        }
        Ok(streamed)
    }
}
