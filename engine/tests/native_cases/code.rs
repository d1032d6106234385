//! A small assembler.

use alloy_primitives::{Address, Bytes, U256, keccak256};
use revm::bytecode::opcode as op;

/// Code under construction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Code(Vec<u8>);

impl Code {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn op(mut self, opcode: u8) -> Self {
        self.0.push(opcode);
        self
    }

    pub(crate) fn ops(mut self, opcodes: &[u8]) -> Self {
        self.0.extend(opcodes);
        self
    }

    pub(crate) fn push(self, number: u64) -> Self {
        self.push_word(U256::from(number))
    }

    pub(crate) fn push_address(self, address: Address) -> Self {
        self.push_word(address.into_word().into())
    }

    /// A push as short as the number allows.
    pub(crate) fn push_word(mut self, word: U256) -> Self {
        let length = word.byte_len().max(1);
        self.0.push(op::PUSH1 + length as u8 - 1);
        self.0.extend(&word.to_be_bytes::<32>()[32 - length..]);
        self
    }

    /// Stores the top of the stack into a slot.
    pub(crate) fn store(self, slot: u64) -> Self {
        self.push(slot).op(op::SSTORE)
    }

    /// Puts a slot's value on the stack.
    pub(crate) fn load(self, slot: u64) -> Self {
        self.push(slot).op(op::SLOAD)
    }

    /// Stores the top of the stack into the slot that the call's first word names.
    pub(crate) fn store_where_told(self) -> Self {
        self.argument().op(op::SSTORE)
    }

    /// Puts the call's first word on the stack.
    pub(crate) fn argument(self) -> Self {
        self.push(0).op(op::CALLDATALOAD)
    }

    /// Calls with a value and one word of input; leaves the success on the stack. What it returns is in memory
    /// at 0. (The gas is a number: before EIP-150 a call with all of it fails.)
    pub(crate) fn call(self, to: Address, value: u64, input: Option<u64>) -> Self {
        let input_length = if input.is_some() { 32 } else { 0 };
        self.push(input.unwrap_or_default())
            .push(64)
            .op(op::MSTORE)
            .push(32)
            .push(0)
            .push(input_length)
            .push(64)
            .push(value)
            .push_address(to)
            .push(100_000)
            .op(op::CALL)
    }

    /// Creates by CREATE2 with salt 0 and leaves the address on the stack.
    pub(crate) fn create2(self, init: &Bytes, value: u64) -> Self {
        let mut code = self;
        for (index, chunk) in init.chunks(32).enumerate() {
            let mut word = [0; 32];
            word[..chunk.len()].copy_from_slice(chunk);
            code = code.push_word(U256::from_be_bytes(word)).push(128 + 32 * index as u64).op(op::MSTORE);
        }
        code.push(0).push(init.len() as u64).push(128).push(value).op(op::CREATE2)
    }

    /// Returns the top of the stack.
    pub(crate) fn return_top(self) -> Self {
        self.push(0).op(op::MSTORE).push(32).push(0).op(op::RETURN)
    }

    /// Runs `body`, which must have no jump of its own, only if the top of the stack is not zero.
    pub(crate) fn when(self, body: Self) -> Self {
        let mut code = self.op(op::ISZERO).op(op::PUSH2);
        let hole = code.0.len();
        code = code.ops(&[0, 0, op::JUMPI]).ops(&body.0);
        let target = code.0.len() as u16;
        code.0[hole..hole + 2].copy_from_slice(&target.to_be_bytes());
        code.op(op::JUMPDEST)
    }

    pub(crate) fn bytes(self) -> Bytes {
        self.0.into()
    }
}

/// Init code that runs `before` and then deploys `runtime`.
pub(crate) fn deploys(before: Code, runtime: &Bytes) -> Bytes {
    let mut code = before.0;
    let start = code.len() + 13;
    let (length, start) = ((runtime.len() as u16).to_be_bytes(), (start as u16).to_be_bytes());
    code.extend([op::PUSH2, length[0], length[1], op::DUP1, op::PUSH2, start[0], start[1]]);
    code.extend([op::PUSH1, 0, op::CODECOPY, op::PUSH1, 0, op::RETURN]);
    code.extend(runtime);
    code.into()
}

/// Where a factory's CREATE2 with salt 0 puts a contract.
pub(crate) fn created_by(factory: Address, init: &Bytes) -> Address {
    factory.create2([0; 32], keccak256(init))
}

/// One word of call data.
pub(crate) fn word(number: u64) -> Bytes {
    U256::from(number).to_be_bytes::<32>().into()
}
