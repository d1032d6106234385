use crate::{
    WorkloadError, WorkloadSpec,
    dice::Dice,
    genesis::Genesis,
    headers::{BASE_FEE_WEI, CHAIN_ID, Headers},
    scenario::{self, Draft},
};
use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_primitives::{Address, TxKind, keccak256, map::AddressMap};
use citius_engine::{Block, Transaction, chain::ChainSpec};
use citius_state::MemoryState;
use revm::{context::TxEnv, primitives::hardfork::SpecId};

/// What every transaction pays the beneficiary per gas, in wei.
const PRIORITY_FEE_WEI: u128 = 1_000_000_000;
/// What every transaction offers per gas, in wei. Just what it pays, so that senders need no reserve.
pub(crate) const MAX_FEE_WEI: u128 = PRIORITY_FEE_WEI + BASE_FEE_WEI as u128;

/// A stream of blocks and the state that it begins with.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The spec in words: equal for equal specs only.
    pub name: String,
    /// The rules: chain id 1337, all forks until Osaka from genesis on.
    pub chain: ChainSpec,
    /// The state of block 0; it knows that block's hash too.
    pub genesis: MemoryState,
    /// Blocks 1, 2, and so on, each the child of the one before.
    ///
    /// Senders are addresses without a key: transactions carry no signature, and each one's hash is that of its
    /// sender followed by its [EIP-1559](https://eips.ethereum.org/EIPS/eip-1559) signing payload. In headers,
    /// roots, bloom and gas used are those of an empty block; the gas limit is at least twice what the
    /// transactions ask for.
    pub blocks: Vec<Block>,
}

/// Generates a workload. Executed in order, every transaction is valid and succeeds.
///
/// # Errors
///
/// [`WorkloadError::Field`] if [`WorkloadSpec::validate`] refuses the spec.
pub fn generate(spec: &WorkloadSpec) -> Result<Workload, WorkloadError> {
    spec.validate()?;
    let mut scenario = scenario::of(spec);
    let mut genesis = Genesis::new();
    scenario.fill(&mut genesis);

    let mut dice = Dice::new(spec.seed);
    let mut nonces = AddressMap::default();
    let mut headers = Headers::new(u64::from(spec.transactions_per_block) * scenario.gas_limit_max());
    let genesis = genesis.finish(headers.latest_hash());
    let blocks = (0..spec.blocks).map(|_| {
        let drafts = scenario.block(&mut dice);
        let transactions: Vec<_> = drafts.into_iter().map(|draft| transaction(draft, &mut nonces)).collect();
        let header = headers.next(&transactions, dice.word(), dice.word());
        Block { header, transactions, ommers: Vec::new(), withdrawals: Vec::new() }
    });
    Ok(Workload {
        name: spec.to_string(),
        chain: ChainSpec::with_all_forks_until(CHAIN_ID, SpecId::OSAKA),
        blocks: blocks.collect(),
        genesis,
    })
}

fn transaction(draft: Draft, nonces: &mut AddressMap<u64>) -> Transaction {
    let Draft { from, to, value, data, gas_limit } = draft;
    let next_nonce: &mut u64 = nonces.entry(from).or_default();
    let nonce = *next_nonce;
    *next_nonce += 1;

    let payload = TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit,
        max_fee_per_gas: MAX_FEE_WEI,
        max_priority_fee_per_gas: PRIORITY_FEE_WEI,
        to: TxKind::Call(to),
        value,
        input: data.clone(),
        ..TxEip1559::default()
    };
    let env = TxEnv {
        tx_type: 2,
        caller: from,
        gas_limit,
        gas_price: MAX_FEE_WEI,
        gas_priority_fee: Some(PRIORITY_FEE_WEI),
        kind: TxKind::Call(to),
        value,
        data,
        nonce,
        chain_id: Some(CHAIN_ID),
        ..TxEnv::default()
    };
    Transaction::new(env, hash(from, &payload))
}

/// Differs for any two transactions of a workload, as these differ in sender or nonce.
fn hash(from: Address, payload: &TxEip1559) -> alloy_primitives::B256 {
    let mut preimage = from.to_vec();
    payload.encode_for_signing(&mut preimage);
    keccak256(preimage)
}
