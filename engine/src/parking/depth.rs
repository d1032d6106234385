//! How deep executions come: every precompile at inputs that make it work hardest, calls as deep as they may be, panics.

use super::{Stacks, stacks::STACK_BYTES};
use crate::{
    Block, BlockOutcome, Engine, EngineConfig, ExecuteOptions, ExecutionError, StrategyChoice, Transaction,
    WorkerPool,
    chain::{ChainSpec, CustomPrecompile},
    scheduler::Optimistic,
};
use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex};
use citius_state::{Account, MemoryState, ReadError, StateReader};
use revm::{
    bytecode::{Bytecode, opcode as op},
    context::TxEnv,
    precompile::PrecompileOutput,
    primitives::hardfork::SpecId,
};
use std::{backtrace::Backtrace, hint::black_box, num::NonZeroUsize, sync::Arc};

const ALICE: Address = Address::repeat_byte(0xa1);
const DEEP: Address = Address::repeat_byte(0xde);
const FRAGILE: Address = Address::repeat_byte(0xff);

/// A state whose executions are on stacks of their own, though nothing of it is ever on its way.
struct Near(MemoryState);

impl StateReader for Near {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        self.0.account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        self.0.storage(address, slot)
    }

    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        self.0.code(code_hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        self.0.block_hash(number)
    }

    fn may_wait(&self) -> bool {
        true
    }
}

/// Executes one call, and tells how much of its stack it used.
fn used(spec: SpecId, to: Address, data: Vec<u8>) -> (usize, Result<BlockOutcome, ExecutionError>) {
    let fall_over = |_: &Bytes, _: u64, _: u64| -> Result<PrecompileOutput, _> {
        // What the panic hook does where it prints one.
        black_box(Backtrace::force_capture().to_string());
        panic!("it fell over")
    };
    let chain = ChainSpec::with_all_forks_until(1, spec)
        .without_system_calls()
        .with_precompile(CustomPrecompile { address: FRAGILE, run: Arc::new(fall_over) });
    let pool = WorkerPool::unpinned(NonZeroUsize::MIN).unwrap();
    let engine = Engine::new(chain, pool, EngineConfig::default());
    let mut state = MemoryState::complete();
    let balance = U256::from(10).pow(U256::from(30));
    state.set_account(ALICE, Account { balance, ..Account::EMPTY });
    // Calls itself with all its gas, and when that comes back, given any data, the one that falls over.
    let mut code = vec![op::CALLDATASIZE, op::PUSH0, op::PUSH0, op::CALLDATACOPY];
    for target in [DEEP, FRAGILE] {
        code.extend([op::PUSH0, op::PUSH0, op::CALLDATASIZE, op::PUSH0, op::PUSH0, op::PUSH20]);
        code.extend(target);
        code.extend([op::GAS, op::CALL]);
        if target == DEEP {
            // To the end where nothing is to fall over.
            code.extend([op::POP, op::CALLDATASIZE, op::ISZERO, op::PUSH1, 0, op::JUMPI]);
        }
    }
    let end = code.len() as u8;
    let jump = code.iter().position(|byte| *byte == op::JUMPI).unwrap();
    code[jump - 1] = end;
    code.extend([op::JUMPDEST, op::STOP]);
    let code_hash = state.set_code(Bytecode::new_legacy(code.into()));
    state.set_account(DEEP, Account { nonce: 1, code_hash, ..Account::EMPTY });
    // From Osaka on no transaction has more.
    let gas_limit = if spec.is_enabled_in(SpecId::OSAKA) { 1 << 24 } else { 1 << 40 };
    let env = TxEnv {
        caller: ALICE,
        kind: TxKind::Call(to),
        data: data.into(),
        gas_limit,
        gas_price: 1,
        chain_id: None,
        ..TxEnv::default()
    };
    let header = Header {
        number: 1,
        timestamp: 1_000,
        gas_limit: 1 << 41,
        base_fee_per_gas: Some(1),
        excess_blob_gas: Some(0),
        ..Header::default()
    };
    let block = Block { header, transactions: vec![Transaction::new(env, B256::ZERO)], ..Block::default() };
    let options = ExecuteOptions { strategy: StrategyChoice::Optimistic, ..ExecuteOptions::default() };
    let outcome = engine.execute_block(Arc::new(Near(state)), Arc::new(block), &options);
    let stacks: &Stacks = Optimistic::stacks(&engine.optimistic);
    assert!(stacks.spare() > 0, "it ran on a stack of its own");
    (stacks.most_used(), outcome)
}

fn word(number: u64) -> Vec<u8> {
    B256::from(U256::from(number)).to_vec()
}

/// A field element of BLS12-381, as EIP-2537 has it.
fn fp(digits: [u8; 48]) -> Vec<u8> {
    [vec![0; 16], digits.to_vec()].concat()
}

/// Names, addresses and inputs.
fn precompiles() -> Vec<(&'static str, u64, Vec<u8>)> {
    let mut all = Vec::new();
    let mut add = |name, address, parts: Vec<Vec<u8>>| all.push((name, address, parts.concat()));
    let big = vec![0xff_u8; 1 << 20];
    let x = hex!("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798").to_vec();
    add("ecrecover", 1, vec![vec![7; 32], word(27), x.clone(), word(1)]);
    add("sha256", 2, vec![big.clone()]);
    add("ripemd160", 3, vec![big.clone()]);
    add("identity", 4, vec![big]);
    for (name, last) in [("modexp, odd", 0xff), ("modexp, even", 0xfe), ("modexp, a power of two", 0)] {
        let mut modulus = vec![if last == 0 { 0 } else { 0xff }; 1024];
        modulus[0] = 0x80;
        modulus[1023] = last;
        let lengths = [word(1024), word(1024), word(1024)].concat();
        add(name, 5, vec![lengths, vec![0xfd; 1024], vec![0xff; 1024], modulus]);
    }
    let g1 = [word(1), word(2)].concat();
    add("bn254 add", 6, vec![g1.clone(), g1.clone()]);
    add("bn254 mul", 7, vec![g1.clone(), vec![0xff; 32]]);
    let g2 = hex!(
        "198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2"
        "1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed"
        "090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b"
        "12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa"
    );
    for (name, pairs) in [("bn254 pairing, 1", 1), ("bn254 pairing, 40", 40)] {
        add(name, 8, vec![[g1.clone(), g2.to_vec()].concat(); pairs]);
    }
    add("blake2f", 9, vec![vec![0, 1, 0, 0], vec![0xab; 208], vec![1]]);
    // From the tests of c-kzg-4844 (verify_kzg_proof_case_correct_proof_4_4); the first word is the versioned hash.
    let commitment = hex!(
        "8f59a8d2a1a625a17f3fea0fe5eb8c896db3764f3185481bc22f91b4aaffcca25f26936857bc3a7c2539ea8ec3a952b7"
    );
    let mut hash = revm::precompile::Crypto::sha256(&revm::precompile::DefaultCrypto, &commitment);
    hash[0] = 1;
    let z = hex!("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000000");
    let y = hex!("1522a4a7f34e1ea350ae07c29c96c7e79655aa926122e95fe69fcbd932ca49e9");
    let proof = hex!(
        "a62ad71d14c5719385c0686f1871430475bf3a00f0aa3f7b8dd99a9abc2160744faf0070725e00b60ad9a026a15b1a8c"
    );
    add("kzg", 10, vec![hash.to_vec(), z.to_vec(), y.to_vec(), commitment.to_vec(), proof.to_vec()]);
    let g1 = [
        fp(hex!(
            "17f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
        )),
        fp(hex!(
            "08b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1"
        )),
    ]
    .concat();
    let g2 = [
        fp(hex!(
            "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
        )),
        fp(hex!(
            "13e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
        )),
        fp(hex!(
            "0ce5d527727d6e118cc9cdc6da2e351aadfd9baa8cbdd3a76d429a695160d12c923ac9cc3baca289e193548608b82801"
        )),
        fp(hex!(
            "0606c4a02ea734cc32acd2b02bc28b99cb3e287e85a763af267492ab572e99ab3f370d275cec1da1aaa9075ff05f79be"
        )),
    ]
    .concat();
    add("bls g1 add", 11, vec![g1.clone(), g1.clone()]);
    add("bls g2 add", 13, vec![g2.clone(), g2.clone()]);
    for (name, count) in [("bls g1 msm, 1", 1), ("bls g1 msm, 31", 31), ("bls g1 msm, 256", 256)] {
        add(name, 12, vec![[g1.clone(), vec![0x7f; 32]].concat(); count]);
    }
    for (name, count) in [("bls g2 msm, 1", 1), ("bls g2 msm, 31", 31), ("bls g2 msm, 256", 256)] {
        add(name, 14, vec![[g2.clone(), vec![0x7f; 32]].concat(); count]);
    }
    for (name, count) in [("bls pairing, 1", 1), ("bls pairing, 40", 40)] {
        add(name, 15, vec![[g1.clone(), g2.clone()].concat(); count]);
    }
    add("bls map to g1", 16, vec![fp([7; 48])]);
    add("bls map to g2", 17, vec![fp([7; 48]), fp([9; 48])]);
    all
}

#[test]
fn no_execution_uses_half_of_its_stack() {
    let mut most = 0;
    let mut note = |name: &str, used: usize| {
        eprintln!("{name:24} {used:7} bytes");
        most = most.max(used);
    };
    for (name, address, input) in precompiles() {
        let to = Address::with_last_byte(address as u8);
        let (used, outcome) = used(SpecId::PRAGUE, to, input);
        let result = &outcome.unwrap().transactions[0].result;
        assert!(result.is_success() && !result.output().unwrap().is_empty(), "{name}: {result:?}");
        note(name, used);
    }
    // From the tests of revm: a signature that is right.
    let signed = hex!(
        "4cee90eb86eaa050036147a12d49004b6b9c72bd725d39d4785011fe190f0b4d"
        "a73bd4903f0ce3b639bbbf6e8e80d16931ff4bcf5993d58468e8fb19086e8cac"
        "36dbcd03009df8c59286b162af3bd7fcc0450c9aa81be5d10d312af6c66b1d60"
        "4aebd3099c618202fcfe16ae7770b0c49ab5eadf74b754204a3bb6060e44eff3"
        "7618b065f9832de4ca6ca971a7a1adc826d0f7c00181a5fb2ddf79ae00b4e10e"
    );
    let p256 = Address::from_word(B256::from(U256::from(0x100)));
    let (p256, outcome) = used(SpecId::OSAKA, p256, signed.to_vec());
    let result = &outcome.unwrap().transactions[0].result;
    assert!(result.is_success() && !result.output().unwrap().is_empty(), "{result:?}");
    note("p256 verify", p256);
    let (calls, outcome) = used(SpecId::PRAGUE, DEEP, Vec::new());
    let result = &outcome.unwrap().transactions[0].result;
    assert!(result.is_success(), "{result:?}");
    note("calls, 1024 deep", calls);
    for (name, to) in [("a panic", FRAGILE), ("a panic, 1024 deep", DEEP)] {
        let (used, outcome) = used(SpecId::PRAGUE, to, vec![1]);
        assert!(matches!(outcome, Err(ExecutionError::WorkerPanicked { .. })), "{name}");
        note(name, used);
    }
    assert!(most * 2 <= STACK_BYTES, "{most} of {STACK_BYTES} bytes");
    assert!(calls >= 1 << 10, "something is measured");
}
