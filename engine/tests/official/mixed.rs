use crate::{
    case::Case,
    machines::{Machines, Rules, THREADS, optimistic, partitioned, serial},
    neighbours::surround,
    oracle::oracle_block,
    selection::seed,
};
use citius_engine::{
    BlockOutcome, ExecuteOptions, ExecutionError,
    scheduler::{EntryIndex, Incarnation, ScheduleFuzz},
};
use std::{fmt::Debug, sync::Arc, time::Duration};

/// Executes a case inside a block of neighbours: the oracle, serially and in parallel must agree on everything.
///
/// Returns how the block ended.
///
/// # Errors
///
/// The first difference, in words.
pub(crate) fn check(case: &Case, machines: &mut Machines) -> Result<&'static str, String> {
    let Ok(transaction) = &case.transaction else {
        return Ok("without a block: the transaction does not decode");
    };
    let (state, block) = surround(case, transaction);
    let engine = machines.engine(case.spec, Rules::WholeBlock);
    let expected = oracle_block(engine.chain(), &state, &block);
    let (reader, block) = (Arc::new(state), Arc::new(block));
    let run = |options: ExecuteOptions| {
        let mut outcome = engine.execute_block(reader.clone(), Arc::clone(&block), &options);
        if let Ok(outcome) = &mut outcome {
            outcome.changes.sort();
        }
        outcome
    };
    let one = run(serial());
    for threads in THREADS {
        let fuzz: Option<Arc<dyn ScheduleFuzz>> =
            (threads > 2).then(|| Arc::new(Overlap { seed: seed(&case.name) }) as Arc<dyn ScheduleFuzz>);
        let many = run(ExecuteOptions { fuzz, ..optimistic(threads) });
        agree(&one, &many).map_err(|reason| format!("{threads} threads against one: {reason}"))?;
    }
    let divided = run(partitioned(2));
    agree(&one, &divided).map_err(|reason| format!("partitioned against one: {reason}"))?;
    match (&one, expected) {
        (Ok(outcome), Ok(expected)) => {
            expected.check(&reader, outcome)?;
            Ok("block executed")
        }
        (Err(error), Err(expected)) => {
            expected.check(error)?;
            Ok("block refused")
        }
        (Ok(_), Err(expected)) => Err(format!("engine accepts, oracle refuses: {expected:?}")),
        (Err(error), Ok(_)) => Err(format!("engine refuses ({error}), oracle accepts")),
    }
}

/// Lets workers start together on transactions of a block that is too small for them: whoever takes one sleeps for
/// a moment first, while the others take more.
pub(crate) struct Overlap {
    pub(crate) seed: u64,
}

/// No longer sleep, in microseconds.
const SLEEP_US_MAX: u64 = 150;

impl ScheduleFuzz for Overlap {
    fn before_execute(&self, entry: EntryIndex, incarnation: Incarnation, is_transaction: bool) {
        if is_transaction && incarnation.0 == 0 {
            let dice = self.seed.rotate_left(entry.0 * 7);
            std::thread::sleep(Duration::from_micros(dice % SLEEP_US_MAX));
        }
    }
}

/// Compares two answers, all but their metrics.
pub(crate) fn agree(
    one: &Result<BlockOutcome, ExecutionError>,
    many: &Result<BlockOutcome, ExecutionError>,
) -> Result<(), String> {
    let (one, many) = match (one, many) {
        (Ok(one), Ok(many)) => (one, many),
        (one, many) => return equal("verdict", &one.as_ref().err(), &many.as_ref().err()),
    };
    for (index, (one, many)) in one.transactions.iter().zip(&many.transactions).enumerate() {
        equal(&format!("result of transaction {index}"), &one.result, &many.result)?;
        equal(&format!("transaction {index}"), one, many)?;
    }
    equal("number of transactions", &one.transactions.len(), &many.transactions.len())?;
    equal("gas used", &one.gas_used, &many.gas_used)?;
    equal("blob gas used", &one.blob_gas_used, &many.blob_gas_used)?;
    equal("logs bloom", &one.logs_bloom, &many.logs_bloom)?;
    equal("requests", &one.requests, &many.requests)?;
    for (one, many) in one.changes.accounts.iter().zip(&many.changes.accounts) {
        equal("account", one, many)?;
    }
    equal("changes", &one.changes, &many.changes)
}

fn equal<T: PartialEq + Debug>(what: &str, one: &T, many: &T) -> Result<(), String> {
    if one == many { Ok(()) } else { Err(format!("{what}: {many:?} against {one:?}")) }
}
