//! Whether two executions of a block agree, and whether one agrees with what was recorded.

use crate::recorded::RecordedOutcome;
use alloy_consensus::Header;
use citius_engine::{BlockOutcome, ExecutionError};
use citius_hashing::Hasher;
use citius_state::ChangeSet;

/// What an execution said about a block.
pub type Verdict = Result<BlockOutcome, ExecutionError>;

/// A verdict in short: the gas used, or why there is none.
pub type Brief = Result<u64, ExecutionError>;

/// The first difference between a block's serial and its parallel verdict, in words.
///
/// Compared are outcomes with their gas and logs, receipts, bloom, requests, the complete change set, or the error
/// with the transaction at fault; not the metrics. A verdict that is none (a cancelled block, a lack of memory) is a
/// difference in any case.
#[must_use]
pub fn verdicts(serial: &Verdict, parallel: &Verdict) -> Option<String> {
    match (serial, parallel) {
        (Ok(serial), Ok(parallel)) => outcomes(serial, parallel),
        (Err(serial @ ExecutionError::Refused(_)), Err(parallel @ ExecutionError::Refused(_))) => {
            (serial != parallel).then(|| format!("serial refuses: {serial}; parallel refuses: {parallel}"))
        }
        (Err(serial), Err(parallel)) => Some(format!("serial: {serial}; parallel: {parallel}")),
        (Ok(_), Err(parallel)) => Some(format!("serial accepts; parallel: {parallel}")),
        (Err(serial), Ok(_)) => Some(format!("serial: {serial}; parallel accepts")),
    }
}

/// How what a timed run said of a block differs from the reference, in words. A run that ended before the block said
/// nothing, which is a difference.
#[must_use]
pub fn briefs(reference: &Brief, timed: Option<&Brief>) -> Option<String> {
    let say = |brief: &Brief| match brief {
        Ok(gas) => format!("accepted with {gas} gas"),
        Err(error) => error.to_string(),
    };
    match timed {
        Some(timed) if timed == reference => None,
        Some(timed) => Some(format!("{}; the reference: {}", say(timed), say(reference))),
        None => Some(format!("ended before this block; the reference: {}", say(reference))),
    }
}

fn outcomes(serial: &BlockOutcome, parallel: &BlockOutcome) -> Option<String> {
    let pairs = serial.transactions.iter().zip(&parallel.transactions);
    if let Some(index) = pairs.into_iter().position(|(serial, parallel)| serial != parallel) {
        return Some(format!("outcome of transaction {index} is not the serial one"));
    }
    let fields = [
        ("number of transactions", serial.transactions.len() == parallel.transactions.len()),
        ("gas used", serial.gas_used == parallel.gas_used),
        ("blob gas used", serial.blob_gas_used == parallel.blob_gas_used),
        ("bloom", serial.logs_bloom == parallel.logs_bloom),
        ("requests", serial.requests == parallel.requests),
    ];
    if let Some((field, _)) = fields.iter().find(|(_, is_equal)| !is_equal) {
        return Some(format!("{field} is not the serial one"));
    }
    changes(&serial.changes, &parallel.changes)
}

fn changes(serial: &ChangeSet, parallel: &ChangeSet) -> Option<String> {
    let sorted = |changes: &ChangeSet| {
        let mut changes = changes.clone();
        changes.sort();
        changes
    };
    let (serial, parallel) = (sorted(serial), sorted(parallel));
    if serial == parallel {
        return None;
    }
    let pairs = serial.accounts.iter().zip(&parallel.accounts);
    Some(match pairs.into_iter().find(|(serial, parallel)| serial != parallel) {
        Some((serial, parallel)) if serial.address == parallel.address => {
            format!("change of account {} is {parallel:?}, serially {serial:?}", serial.address)
        }
        Some((serial, parallel)) => {
            let address = serial.address.min(parallel.address);
            format!("account {address} is in only one of the change sets")
        }
        None if serial.accounts.len() != parallel.accounts.len() => {
            format!("{} accounts changed, serially {}", parallel.accounts.len(), serial.accounts.len())
        }
        None => "deployed code is not the serial one".to_owned(),
    })
}

/// The first difference between an outcome and its block's header: gas, bloom, where receipts hold a status
/// (`has_status`, from Byzantium on) the receipts root, and the requests' hash where the header has one. Before, receipts
/// hold state roots between transactions, which are not made.
#[must_use]
pub fn header(outcome: &BlockOutcome, header: &Header, has_status: bool) -> Option<String> {
    if outcome.gas_used != header.gas_used {
        return Some(format!("gas used is {}, the header says {}", outcome.gas_used, header.gas_used));
    }
    if outcome.logs_bloom != header.logs_bloom {
        return Some("bloom is not the header's".to_owned());
    }
    if has_status {
        let root = outcome.receipts_root(&Hasher::cpu());
        if root != header.receipts_root {
            return Some(format!("receipts root is {root}, the header says {}", header.receipts_root));
        }
    }
    let told = header.requests_hash?;
    let found = outcome.requests.requests_hash();
    (found != told).then(|| format!("hash of the requests is {found}, the header says {told}"))
}

/// The first difference between an outcome and the recorded one.
#[must_use]
pub fn recorded(outcome: &BlockOutcome, expected: &RecordedOutcome, has_status: bool) -> Option<String> {
    RecordedOutcome::of(outcome, has_status)
        .difference(expected)
        .map(|difference| format!("expected.json: {difference}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, B256, Bloom, U256};
    use citius_engine::{BlockError, BlockMetrics, CancelReason};
    use citius_state::{Account, AccountChange};

    fn outcome() -> BlockOutcome {
        let change = AccountChange {
            address: Address::repeat_byte(1),
            before: None,
            after: Some(Account::EMPTY),
            storage_wiped: true,
            storage: Vec::new(),
        };
        BlockOutcome {
            transactions: Vec::new(),
            gas_used: 7,
            blob_gas_used: 0,
            logs_bloom: Bloom::ZERO,
            requests: Default::default(),
            changes: ChangeSet { accounts: vec![change], codes: Vec::new() },
            metrics: BlockMetrics::default(),
        }
    }

    fn refusal(index: usize) -> Verdict {
        let hash = B256::ZERO;
        Err(BlockError::BlockGasExceeded { index, hash, gas_limit: 2, available: 1 }.into())
    }

    #[test]
    fn metrics_and_order_are_no_difference() {
        let mut other = outcome();
        other.metrics.aborts = 3;
        assert_eq!(verdicts(&Ok(outcome()), &Ok(other)), None);
    }

    #[test]
    fn a_change_that_differs_is_named() {
        let mut other = outcome();
        other.changes.accounts[0].after = Some(Account { balance: U256::from(1), ..Account::EMPTY });
        let difference = verdicts(&Ok(outcome()), &Ok(other)).unwrap();
        assert!(difference.contains(&Address::repeat_byte(1).to_string()), "{difference}");
        let mut other = outcome();
        other.changes.accounts.clear();
        assert!(verdicts(&Ok(outcome()), &Ok(other)).is_some());
    }

    #[test]
    fn equal_refusals_match_and_different_ones_do_not() {
        assert_eq!(verdicts(&refusal(1), &refusal(1)), None);
        assert!(verdicts(&refusal(1), &refusal(2)).is_some());
        assert!(verdicts(&refusal(1), &Ok(outcome())).is_some());
    }

    #[test]
    fn no_verdict_never_matches() {
        let cancelled = || Err(ExecutionError::Cancelled { reason: CancelReason::Deadline });
        assert!(verdicts(&cancelled(), &cancelled()).is_some());
    }

    #[test]
    fn a_timed_run_must_say_what_the_reference_says() {
        let refused = || refusal(1).map(|_| 0);
        assert_eq!(briefs(&Ok(7), Some(&Ok(7))), None);
        assert_eq!(briefs(&refused(), Some(&refused())), None);
        let other_gas = briefs(&Ok(7), Some(&Ok(8))).unwrap();
        assert_eq!(other_gas, "accepted with 8 gas; the reference: accepted with 7 gas");
        assert!(briefs(&Ok(7), Some(&refused())).unwrap().contains("wants 2 gas"));
        assert!(briefs(&refused(), Some(&Ok(7))).is_some());
        assert!(briefs(&Ok(7), None).is_some());
    }

    #[test]
    fn the_receipts_root_counts_from_byzantium_on() {
        let wrong = Header { gas_used: 7, receipts_root: B256::repeat_byte(9), ..Header::default() };
        assert_eq!(header(&outcome(), &wrong, false), None);
        assert!(header(&outcome(), &wrong, true).unwrap().contains("receipts root"));
        let right = Header { receipts_root: alloy_consensus::constants::EMPTY_ROOT_HASH, ..wrong };
        assert_eq!(header(&outcome(), &right, true), None);
    }

    #[test]
    fn the_hash_of_requests_counts_where_the_header_has_one() {
        let mut before = Header { gas_used: 7, ..Header::default() };
        assert_eq!(header(&outcome(), &before, false), None);
        before.requests_hash = Some(alloy_eips::eip7685::EMPTY_REQUESTS_HASH);
        assert_eq!(header(&outcome(), &before, false), None);
        let mut other = outcome();
        other.requests.push_request(vec![1, 2, 3].into());
        assert!(header(&other, &before, false).unwrap().contains("hash of the requests"));
    }
}
