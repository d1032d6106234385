//! Contracts that blocks around a case need: our own, and the protocol's.

use crate::neighbours::own;
use alloy_eips::{
    eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE},
    eip4788::{BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CODE},
    eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_PREDEPLOY_CODE},
    eip7251::{CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_PREDEPLOY_CODE},
};
use alloy_primitives::{Address, U256};
use citius_state::{Account, MemoryState, StateReader};
use revm::{bytecode::Bytecode, primitives::hardfork::SpecId};

/// Our own contracts: each takes a list of accounts, and adds what it learns of one to a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Observer {
    /// Learns the balance.
    Balance,
    /// Learns the code's size.
    CodeSize,
    /// Learns the code's hash: zero only of an account that does not exist.
    CodeHash,
    /// Pays one wei: costs more if the account does not exist. Learns whether the call succeeded.
    Payer,
}

impl Observer {
    /// Those that a fork has the instructions for.
    pub(crate) fn all(spec: SpecId) -> &'static [Self] {
        const ALL: [Observer; 4] =
            [Observer::Balance, Observer::CodeSize, Observer::Payer, Observer::CodeHash];
        if spec.is_enabled_in(SpecId::PETERSBURG) { &ALL } else { &ALL[..3] }
    }

    pub(crate) fn address(self) -> Address {
        own(&format!("{self:?}"))
    }

    /// Gas for one account, the slot's included.
    pub(crate) fn gas(self) -> u64 {
        if self == Self::Payer { 110_000 } else { 40_000 }
    }

    fn code(self) -> Vec<u8> {
        let learn: &[u8] = match self {
            Self::Balance => &[0x31],
            Self::CodeSize => &[0x3b],
            Self::CodeHash => &[0x3f],
            Self::Payer => &[
                0x60, 0x00, 0x60, 0x00, 0x60, 0x00, 0x60, 0x00, // no output, no input
                0x60, 0x01, // PUSH1 1: the value
                0x85, // DUP6: the account
                0x61, 0x75, 0x30, // PUSH2 30000: the gas
                0xf1, 0x90, 0x50, // CALL SWAP1 POP
            ],
        };
        let mut code = vec![
            0x60, 0x00, // PUSH1 0: the offset
            0x5b, // JUMPDEST, at 2
            0x36, 0x81, 0x10, // CALLDATASIZE DUP2 LT
            0x60, 0x0a, 0x57, // PUSH1 10 JUMPI
            0x00, // STOP
            0x5b, // JUMPDEST, at 10
            0x80, 0x35, // DUP1 CALLDATALOAD: the account
        ];
        code.extend(learn);
        code.extend([
            0x81, 0x54, 0x01, // DUP2 SLOAD ADD
            0x81, 0x55, // DUP2 SSTORE
            0x60, 0x20, 0x01, // PUSH1 32 ADD
            0x60, 0x02, 0x56, // PUSH1 2 JUMP
        ]);
        code
    }
}

/// Init code of a contract that stores one, and whose code is one byte: STOP.
pub(crate) const SHORT_CONTRACT: [u8; 10] = [0x60, 0x01, 0x60, 0x00, 0x55, 0x60, 0x01, 0x60, 0x00, 0xf3];

/// Init code of a contract that destroys itself at once in favour of an account.
pub(crate) fn short_life(heir: Address) -> Vec<u8> {
    let mut code = vec![0x73];
    code.extend(heir);
    code.push(0xff);
    code
}

/// Deploys our own contracts, and those that the fork's system calls go to.
pub(crate) fn deploy_all(state: &mut MemoryState, spec: SpecId) {
    for observer in Observer::all(spec) {
        deploy(state, observer.address(), &observer.code());
        let account = state.account(observer.address()).ok().flatten().unwrap_or_default();
        state.set_account(observer.address(), Account { balance: U256::from(1) << 64, ..account });
    }
    if spec.is_enabled_in(SpecId::CANCUN) {
        deploy(state, BEACON_ROOTS_ADDRESS, &BEACON_ROOTS_CODE);
    }
    if spec.is_enabled_in(SpecId::PRAGUE) {
        deploy(state, HISTORY_STORAGE_ADDRESS, &HISTORY_STORAGE_CODE);
        deploy(state, WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, &WITHDRAWAL_REQUEST_PREDEPLOY_CODE);
        deploy(state, CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, &CONSOLIDATION_REQUEST_PREDEPLOY_CODE);
    }
}

/// Puts code where none is yet.
fn deploy(state: &mut MemoryState, address: Address, code: &[u8]) {
    let account = state.account(address).ok().flatten().unwrap_or_default();
    if !account.has_code() {
        let code_hash = state.set_code(Bytecode::new_raw(code.to_vec().into()));
        state.set_account(address, Account { code_hash, nonce: account.nonce.max(1), ..account });
    }
}
