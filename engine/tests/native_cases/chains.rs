//! Chains: presets, overridden forks, added precompiles, genesis files.

use crate::{
    case::{ALICE, BOB, CAROL, Case, ask, call, pay},
    code::Code,
};
use alloy_hardforks::{EthereumHardfork, ForkCondition};
use alloy_primitives::{Address, B256, Bytes, U256};
use citius_engine::{
    BlockError,
    chain::{ChainSpec, CustomPrecompile, Genesis},
};
use revm::{
    bytecode::opcode as op,
    context::TxEnv,
    precompile::{PrecompileError, PrecompileHalt, PrecompileOutput, PrecompileResult},
    primitives::hardfork::SpecId,
};
use std::{collections::BTreeMap, sync::Arc};

const WITNESS: Address = Address::repeat_byte(0x31);
const STRANGER: Address = Address::repeat_byte(0x57);
const ADDED: Address = Address::new([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0xdd]);

fn precompile(
    address: Address,
    run: impl Fn(&Bytes, u64, u64) -> PrecompileResult + Send + Sync + 'static,
) -> CustomPrecompile {
    CustomPrecompile { address, run: Arc::new(run) }
}

/// Three times the word that is given, for 1,000 gas.
fn tripler(address: Address) -> CustomPrecompile {
    precompile(address, |input, gas, reservoir| {
        if gas < 1_000 {
            return Ok(PrecompileOutput::halt(PrecompileHalt::OutOfGas, reservoir));
        }
        let word = U256::try_from_be_slice(input).unwrap_or_default() * U256::from(3);
        Ok(PrecompileOutput::new(1_000, word.to_be_bytes::<32>().into(), reservoir))
    })
}

/// Calls a contract with 14, stores success and answer in its slots 0 and 1, and adds the given word there.
fn witness(of: Address) -> Bytes {
    Code::new().call(of, 0, Some(14)).store(0).push(0).op(op::MLOAD).store(1).bytes()
}

#[test]
fn an_added_precompile_is_called() {
    let mut case = Case::new(SpecId::CANCUN)
        .with_contract(WITNESS, 0, witness(ADDED))
        .with(call(ALICE, 0, WITNESS))
        .with(ask(BOB, 0, ADDED, 5))
        .with(TxEnv { gas_limit: 21_999, ..call(CAROL, 0, ADDED) });
    case.chain = case.chain.with_precompile(tripler(ADDED));
    let done = case.executes();
    assert_eq!(done.storage(WITNESS), BTreeMap::from([(0, 1), (1, 42)]));
    let output = done.outcome.transactions[1].result.output().unwrap();
    assert_eq!(U256::from_be_slice(output), U256::from(15));
    // The third lacks one gas for it.
    assert_eq!(done.statuses(), [true, true, false]);
    assert_eq!(done.account(ADDED), None);
}

#[test]
fn an_added_precompile_hides_the_forks_own() {
    let identity = Address::with_last_byte(4);
    let mut case = Case::new(SpecId::CANCUN)
        .with_contract(WITNESS, 0, witness(identity))
        .with(call(ALICE, 0, WITNESS))
        .with(call(BOB, 0, WITNESS));
    assert_eq!(case.executes().slot(WITNESS, 1), 14);
    case.chain = case.chain.with_precompile(tripler(identity));
    assert_eq!(case.executes().slot(WITNESS, 1), 42);
    // Of two at one address the later counts.
    let nothing =
        precompile(identity, |_, _, reservoir| Ok(PrecompileOutput::new(0, Bytes::new(), reservoir)));
    case.chain = case.chain.with_precompile(nothing);
    assert_eq!(case.executes().slot(WITNESS, 1), 0);
}

#[test]
fn an_added_precompile_that_fails_refuses_the_block() {
    let fails = precompile(ADDED, |input, _, reservoir| {
        if input.is_empty() {
            return Ok(PrecompileOutput::new(0, Bytes::new(), reservoir));
        }
        Err(PrecompileError::Fatal("the oracle is out".into()))
    });
    let mut case = Case::new(SpecId::CANCUN)
        .with(call(ALICE, 0, ADDED))
        .with(ask(BOB, 0, ADDED, 5))
        .with(pay(CAROL, 0, STRANGER, 1));
    case.chain = case.chain.with_precompile(fails);
    let BlockError::Precompile { index: Some(1), reason } = case.is_refused() else {
        panic!("another error")
    };
    assert!(reason.contains("the oracle is out"), "{reason}");
}

#[test]
fn an_overridden_fork_changes_the_rules() {
    // PUSH0 came with Shanghai.
    let code = Bytes::from_static(&[op::PUSH0, op::STOP]);
    let case = Case::new(SpecId::SHANGHAI)
        .with_contract(WITNESS, 0, code)
        .with(call(ALICE, 0, WITNESS))
        .with(call(BOB, 0, WITNESS));
    assert_eq!(case.executes().statuses(), [true; 2]);
    let at = |condition| {
        let mut case = case.clone();
        case.chain = case.chain.with_fork(EthereumHardfork::Shanghai, condition);
        case.executes().statuses()
    };
    // The block's time is 1,000.
    assert_eq!(at(ForkCondition::Timestamp(1_000)), [true; 2]);
    assert_eq!(at(ForkCondition::Timestamp(1_001)), [false; 2]);
    assert_eq!(at(ForkCondition::Never), [false; 2]);
}

#[test]
fn presets_know_their_chains() {
    let code = Code::new().op(op::CHAINID).store(0).bytes();
    for (chain, id) in
        [(ChainSpec::mainnet(), 1), (ChainSpec::sepolia(), 11_155_111), (ChainSpec::hoodi(), 560_048)]
    {
        assert_eq!(chain.chain_id(), id);
        let mut case = Case::new(SpecId::OSAKA).with_contract(WITNESS, 0, code.clone());
        case.chain = chain;
        case.block.header.number = 24_500_000;
        case.block.header.timestamp = 1_771_000_000;
        assert_eq!(case.chain.spec_id(&case.block.header), SpecId::OSAKA);
        let with_id = |from, chain_id| TxEnv { chain_id: Some(chain_id), ..call(from, 0, WITNESS) };
        let case = case.with(with_id(ALICE, id)).with(with_id(BOB, id));
        assert_eq!(case.executes().slot(WITNESS, 0), id);
        let error = case.with(with_id(CAROL, id + 1)).is_refused();
        assert_eq!(error.transaction_index(), Some(2));
    }
}

#[test]
fn a_chain_from_a_genesis_file_executes_its_first_block() {
    let json = r#"{
        "config": {
            "chainId": 1337, "homesteadBlock": 0, "eip150Block": 0, "eip155Block": 0, "eip158Block": 0,
            "byzantiumBlock": 0, "constantinopleBlock": 0, "petersburgBlock": 0, "istanbulBlock": 0,
            "berlinBlock": 0, "londonBlock": 0, "terminalTotalDifficulty": 0, "shanghaiTime": 0,
            "cancunTime": 1000
        },
        "gasLimit": "0x1c9c380", "difficulty": "0x0", "baseFeePerGas": "0x7", "timestamp": "0x3d4",
        "alloc": {
            "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1": { "balance": "0xde0b6b3a7640000", "nonce": "0x5" },
            "b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0": { "balance": "0xde0b6b3a7640000" },
            "3131313131313131313131313131313131313131": {
                "balance": "0x0", "code": "0x60005460010160005546600155",
                "storage": { "0x00": "0x64" }
            }
        }
    }"#;
    let genesis = Genesis::from_json(json).unwrap();
    let mut case = Case::new(SpecId::SHANGHAI);
    case.chain = genesis.chain;
    case.state = genesis.state;
    let block = &mut case.block.header;
    (block.number, block.timestamp) = (genesis.header.number + 1, genesis.header.timestamp + 12);
    (block.parent_hash, block.gas_limit) = (genesis.header.hash_slow(), genesis.header.gas_limit);
    let case = case
        .with(TxEnv { chain_id: Some(1337), ..call(ALICE, 5, WITNESS) })
        .with(TxEnv { chain_id: Some(1337), ..call(BOB, 0, WITNESS) });
    let done = case.executes();
    assert_eq!(done.storage(WITNESS), BTreeMap::from([(0, 102), (1, 1337)]));

    // At 1,000 its Cancun begins, and with it a header's field that this block lacks.
    let mut late = case;
    late.block.header.timestamp = 1_000;
    late.block.header.excess_blob_gas = Some(0);
    (late.spec, late.block.header.parent_beacon_block_root) = (SpecId::CANCUN, Some(B256::ZERO));
    assert_eq!(late.executes().storage(WITNESS), BTreeMap::from([(0, 102), (1, 1337)]));
    late.block.header.parent_beacon_block_root = None;
    assert!(matches!(late.is_refused(), BlockError::HeaderField { .. }));
}
