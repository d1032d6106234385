//! The ways in which a block, or a chain of them, is executed.

use crate::{
    machines::{optimistic, partitioned, serial},
    mixed::{Overlap, agree},
};
use citius_engine::{Block, BlockOutcome, Engine, ExecuteOptions, ExecutionError, scheduler::ScheduleFuzz};
use citius_state::MemoryState;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// A block, and what it did on its parent's state.
#[derive(Debug)]
pub(crate) struct Executed {
    pub(crate) block: Arc<Block>,
    /// Its changes are sorted.
    pub(crate) outcome: BlockOutcome,
}

/// Executes a block serially, with two threads, and in another way that the dice choose; all must agree.
///
/// # Errors
///
/// They do not agree, or the block is refused.
pub(crate) fn execute(
    engine: &Engine,
    before: &Arc<MemoryState>,
    block: &Arc<Block>,
    dice: &mut ChaCha8Rng,
) -> Result<BlockOutcome, String> {
    let run = |options: ExecuteOptions| {
        let mut outcome = engine.execute_block(Arc::clone(before) as _, Arc::clone(block), &options);
        if let Ok(outcome) = &mut outcome {
            outcome.changes.sort();
        }
        outcome
    };
    let serially = run(serial());
    let overlap = Arc::new(Overlap { seed: dice.random() }) as Arc<dyn ScheduleFuzz>;
    let (way, other) = match dice.random_range(0..4) {
        0 => ("1 thread", optimistic(1)),
        1 => ("3 threads", ExecuteOptions { fuzz: Some(overlap), ..optimistic(3) }),
        2 => ("4 threads", ExecuteOptions { fuzz: Some(overlap), ..optimistic(4) }),
        _ => ("partitioned", partitioned(2)),
    };
    for (way, options) in [("2 threads", optimistic(2)), (way, other)] {
        agree(&serially, &run(options)).map_err(|reason| format!("{way} against serial: {reason}"))?;
    }
    serially.map_err(|error| match error {
        ExecutionError::Refused(refusal) => format!("refused: {refusal}"),
        error => format!("no verdict: {error}"),
    })
}

/// Executes consecutive blocks as one stream of two threads, on the state before the first.
///
/// # Errors
///
/// A block does something else than alone.
pub(crate) fn check_stream(
    engine: &Engine,
    before: &Arc<MemoryState>,
    blocks: &[&Executed],
) -> Result<(), String> {
    let mut stream = engine.stream(Arc::clone(before) as _, &optimistic(2));
    for executed in blocks {
        stream.submit(Arc::clone(&executed.block));
    }
    for Executed { block, outcome } in blocks {
        let number = block.header.number;
        let mut streamed = stream.next().ok_or_else(|| format!("no outcome of block {number}"))?;
        if let Ok(streamed) = &mut streamed {
            streamed.changes.sort();
        }
        agree(&Ok(outcome.clone()), &streamed).map_err(|reason| format!("block {number}: {reason}"))?;
    }
    Ok(())
}
