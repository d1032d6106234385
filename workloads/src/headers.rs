use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Header};
use alloy_primitives::{Address, B256, address, keccak256};
use citius_engine::Transaction;

/// The chain id of every workload.
pub const CHAIN_ID: u64 = 1337;

/// Who gets the priority fees of every block.
pub const BENEFICIARY: Address = address!("00000000000000000000000000000000c17105fe");

/// The base fee of every block, in wei.
///
/// It is the least that [EIP-1559](https://eips.ethereum.org/EIPS/eip-1559) arrives at; as no block fills half of
/// its gas limit, it stays.
pub const BASE_FEE_WEI: u64 = 7;

const GENESIS_TIMESTAMP: u64 = 1_800_000_000;
const SECONDS_PER_BLOCK: u64 = 12;

/// Makes the headers of a stream, each the child of the one before.
///
/// Roots, bloom and gas used are those of an empty block: nothing is executed here. The extra data is the hash of
/// the transactions' hashes, so blocks of different content have different hashes.
#[derive(Debug)]
pub(crate) struct Headers {
    parent: Header,
}

impl Headers {
    /// Headers for blocks whose transactions' gas limits never add up to more than `gas_limits_sum`.
    pub(crate) fn new(gas_limits_sum: u64) -> Self {
        Self {
            parent: Header {
                ommers_hash: EMPTY_OMMER_ROOT_HASH,
                beneficiary: BENEFICIARY,
                gas_limit: 2 * gas_limits_sum,
                timestamp: GENESIS_TIMESTAMP,
                base_fee_per_gas: Some(BASE_FEE_WEI),
                withdrawals_root: Some(EMPTY_ROOT_HASH),
                blob_gas_used: Some(0),
                excess_blob_gas: Some(0),
                parent_beacon_block_root: Some(B256::ZERO),
                requests_hash: Some(alloy_eips::eip7685::EMPTY_REQUESTS_HASH),
                ..Header::default()
            },
        }
    }

    /// The hash of the latest header; at first, of the genesis header.
    pub(crate) fn latest_hash(&self) -> B256 {
        self.parent.hash_slow()
    }

    pub(crate) fn next(
        &mut self,
        transactions: &[Transaction],
        prev_randao: B256,
        beacon_root: B256,
    ) -> Header {
        let hashes: Vec<u8> = transactions.iter().flat_map(|transaction| transaction.hash().0).collect();
        let header = Header {
            parent_hash: self.latest_hash(),
            number: self.parent.number + 1,
            timestamp: self.parent.timestamp + SECONDS_PER_BLOCK,
            extra_data: keccak256(hashes).into(),
            mix_hash: prev_randao,
            parent_beacon_block_root: Some(beacon_root),
            ..self.parent.clone()
        };
        self.parent = header.clone();
        header
    }
}
