//! Random contracts that read and write each other: balances, code, storage, creation and destruction.

use alloy_primitives::{Address, Bytes, U256, keccak256};
use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use revm::{bytecode::opcode as op, primitives::hardfork::SpecId};

/// The addresses that a random contract may name.
pub(crate) struct Cast {
    pub(crate) everybody: Vec<Address>,
    pub(crate) contracts: Vec<Address>,
}

/// Code under construction. The accumulator of what was seen lies in memory at 0.
#[derive(Default)]
pub(crate) struct Code(Vec<u8>);

impl Code {
    fn op(&mut self, opcode: u8) -> &mut Self {
        self.0.push(opcode);
        self
    }

    fn push(&mut self, value: impl TryInto<u64>) -> &mut Self {
        let value: u64 = value.try_into().ok().expect("a small number");
        self.op(op::PUSH8);
        self.0.extend(value.to_be_bytes());
        self
    }

    fn push_address(&mut self, address: Address) -> &mut Self {
        self.op(op::PUSH20);
        self.0.extend(address);
        self
    }

    fn push_word(&mut self, word: [u8; 32]) -> &mut Self {
        self.op(op::PUSH32);
        self.0.extend(word);
        self
    }

    /// Mixes the top of the stack into the accumulator.
    fn mix(&mut self) -> &mut Self {
        self.push(0).op(op::MLOAD).push(3).op(op::MUL).op(op::ADD).push(0).op(op::MSTORE)
    }

    /// Runs `body` only if the bit of the call's first word is set.
    fn if_bit(&mut self, bit: u32, body: impl FnOnce(&mut Self)) {
        self.push(1).push(1u64 << bit).push(0).op(op::CALLDATALOAD).op(op::DIV).op(op::AND);
        self.op(op::ISZERO);
        self.unless(body);
    }

    /// Runs `body` unless the top of the stack is set.
    fn unless(&mut self, body: impl FnOnce(&mut Self)) {
        let jump = self.0.len();
        self.push(0).op(op::JUMPI);
        body(self);
        let target = self.0.len() as u64;
        self.op(op::JUMPDEST);
        self.0[jump + 1..jump + 9].copy_from_slice(&target.to_be_bytes());
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.0.into()
    }
}

/// The init code of a child that is a different contract each time it is created: what it deploys depends on
/// the beneficiary's balance at that moment (metamorphism by CREATE2).
pub(crate) fn metamorphic_init_code() -> Bytes {
    let mut code = Code::default();
    code.push_word(child_runtime(1, op::COINBASE)).push(0).op(op::MSTORE);
    code.push(1).op(op::COINBASE).op(op::BALANCE).op(op::AND);
    code.unless(|code| {
        code.push_word(child_runtime(7, op::CALLER)).push(0).op(op::MSTORE);
    });
    code.push(32).push(0).op(op::RETURN);
    code.into_bytes()
}

/// Adds to its slot 0, or, given call data, destroys itself in favour of whoever `heir` pushes.
fn child_runtime(amount: u8, heir: u8) -> [u8; 32] {
    let mut code = vec![op::CALLDATASIZE, op::PUSH1, 0, op::JUMPI];
    code.extend([op::PUSH1, amount, op::PUSH1, 0, op::SLOAD, op::ADD, op::PUSH1, 0, op::SSTORE, op::STOP]);
    code[2] = code.len() as u8;
    code.extend([op::JUMPDEST, heir, op::SELFDESTRUCT]);
    code.resize(32, op::STOP);
    code.try_into().expect("32 bytes")
}

/// Where a contract's metamorphic child lives.
pub(crate) fn child_of(parent: Address) -> Address {
    parent.create2(U256::ZERO.to_be_bytes::<32>(), keccak256(metamorphic_init_code()))
}

/// A random contract for a fork.
pub(crate) fn random_contract(rng: &mut ChaCha8Rng, spec: SpecId, cast: &Cast) -> Bytes {
    let mut code = Code::default();
    for bit in 0..rng.random_range(2..8) {
        let kind = rng.random_range(0..24);
        code.if_bit(bit, |code| snippet(code, rng, spec, cast, kind));
    }
    // What was seen ends in storage and in a log.
    code.push(0).op(op::MLOAD).push(rng.random_range(0..3u64)).op(op::SSTORE);
    code.push(32).push(0).op(op::LOG0).op(op::STOP);
    code.into_bytes()
}

fn snippet(code: &mut Code, rng: &mut ChaCha8Rng, spec: SpecId, cast: &Cast, kind: u32) {
    let anybody = *cast.everybody.choose(rng).expect("a cast");
    let contract = *cast.contracts.choose(rng).expect("a cast");
    let slot = rng.random_range(0..4u64);
    match kind {
        0..4 => {
            code.push(slot).op(op::SLOAD).mix();
        }
        4..7 => {
            code.push(slot).op(op::SLOAD).push(rng.random_range(1..5u64)).op(op::ADD);
            code.push(rng.random_range(0..4u64)).op(op::SSTORE);
        }
        7 => {
            code.push(0).push(slot).op(op::SSTORE);
        }
        8 | 9 => {
            code.push_address(anybody).op(op::BALANCE).mix();
        }
        10 => {
            code.op(op::COINBASE).op(op::BALANCE).mix();
        }
        11 => {
            code.push_address(anybody).op(op::EXTCODESIZE).mix();
        }
        12 if spec.is_enabled_in(SpecId::PETERSBURG) => {
            code.push_address(anybody).op(op::EXTCODEHASH).mix();
        }
        13..16 => {
            let to = if rng.random_bool(0.5) { contract } else { anybody };
            call(code, rng, to);
        }
        16 => {
            // DELEGATECALL came with Homestead.
            let opcode = if spec.is_enabled_in(SpecId::HOMESTEAD) { op::DELEGATECALL } else { op::CALLCODE };
            code.push(0).push(0).push(32).push(0);
            if opcode == op::CALLCODE {
                code.push(0);
            }
            code.push_address(contract).push(60_000).op(opcode).mix();
        }
        17 => create(code, rng.random_range(0..3)),
        18 | 19 if spec.is_enabled_in(SpecId::PETERSBURG) => create2(code),
        20 if rng.random_bool(0.5) => {
            // Only if a slot is odd, so that it does not happen first thing in every block.
            code.push(1).push(slot).op(op::SLOAD).op(op::AND).op(op::ISZERO);
            code.unless(|code| {
                code.push_address(anybody).op(op::SELFDESTRUCT);
            });
        }
        21 if spec.is_enabled_in(SpecId::BYZANTIUM) => {
            code.push(1).push(slot).op(op::SLOAD).op(op::AND).op(op::ISZERO);
            code.unless(|code| {
                code.push(0).push(0).op(op::REVERT);
            });
        }
        22 if spec.is_enabled_in(SpecId::CANCUN) => {
            code.push(slot).op(op::TLOAD).push(1).op(op::ADD).push(slot).op(op::TSTORE);
        }
        _ => {
            code.push(1).op(op::NUMBER).op(op::SUB).op(op::BLOCKHASH).mix();
        }
    }
}

/// Calls, with some of what came in, sometimes with value.
fn call(code: &mut Code, rng: &mut ChaCha8Rng, to: Address) {
    let value = if rng.random_bool(0.4) { rng.random_range(1..2_000u64) } else { 0 };
    let input = if rng.random_bool(0.7) { 32 } else { 0 };
    code.push(0).push(0).push(input).push(0).push(value).push_address(to).push(70_000).op(op::CALL).mix();
}

/// Creates a contract of one byte, with or without value.
fn create(code: &mut Code, value: u64) {
    // Init code: return one byte of zeros.
    let init = [op::PUSH1, 1, op::PUSH1, 0, op::RETURN];
    let mut word = [0; 32];
    word[..init.len()].copy_from_slice(&init);
    code.push_word(word).push(64).op(op::MSTORE);
    code.push(init.len()).push(64).push(value).op(op::CREATE).mix();
}

/// Creates the metamorphic child.
fn create2(code: &mut Code) {
    let init = metamorphic_init_code();
    for (index, chunk) in init.chunks(32).enumerate() {
        let mut word = [0; 32];
        word[..chunk.len()].copy_from_slice(chunk);
        code.push_word(word).push(64 + 32 * index).op(op::MSTORE);
    }
    code.push(0).push(init.len()).push(64).push(0).op(op::CREATE2).mix();
}
