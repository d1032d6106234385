use crate::artifact::Artifact;
use alloy_eips::{eip2935, eip4788, eip7002, eip7251};
use alloy_primitives::{Address, B256, Bytes, U256, uint};
use citius_state::{Account, MemoryState};
use revm::bytecode::Bytecode;

/// What every funded account begins with: 10^27 wei, more than the longest stream can spend.
pub(crate) const FUNDS_WEI: U256 = uint!(1_000_000_000_000_000_000_000_000_000_U256);

/// Builds the state before the first block.
#[derive(Debug)]
pub(crate) struct Genesis {
    state: MemoryState,
}

impl Genesis {
    /// A state that holds the system contracts of [EIP-4788](https://eips.ethereum.org/EIPS/eip-4788),
    /// [EIP-2935](https://eips.ethereum.org/EIPS/eip-2935), [EIP-7002](https://eips.ethereum.org/EIPS/eip-7002) and
    /// [EIP-7251](https://eips.ethereum.org/EIPS/eip-7251), which blocks call from Prague on.
    pub(crate) fn new() -> Self {
        let mut genesis = Self { state: MemoryState::complete() };
        for (address, code) in [
            (eip4788::BEACON_ROOTS_ADDRESS, &eip4788::BEACON_ROOTS_CODE),
            (eip2935::HISTORY_STORAGE_ADDRESS, &eip2935::HISTORY_STORAGE_CODE),
            (eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, &eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_CODE),
            (
                eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
                &eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_CODE,
            ),
        ] {
            let code_hash = genesis.code(code);
            genesis.contract(address, code_hash);
        }
        genesis
    }

    /// An account that can pay.
    pub(crate) fn fund(&mut self, address: Address) {
        self.state.set_account(address, Account { balance: FUNDS_WEI, ..Account::EMPTY });
    }

    /// One contract of ours.
    pub(crate) fn deploy(&mut self, address: Address, artifact: &Artifact) {
        let code_hash = self.code(&artifact.runtime);
        self.contract(address, code_hash);
    }

    /// A storage slot.
    pub(crate) fn store(&mut self, address: Address, slot: U256, value: U256) {
        self.state.set_storage(address, slot, value);
    }

    /// The state, and the hash of the block that it belongs to.
    pub(crate) fn finish(mut self, genesis_hash: B256) -> MemoryState {
        self.state.set_block_hash(0, genesis_hash);
        self.state
    }

    fn code(&mut self, code: &Bytes) -> B256 {
        self.state.set_code(Bytecode::new_legacy(code.clone()))
    }

    /// A contract begins with nonce 1 ([EIP-161](https://eips.ethereum.org/EIPS/eip-161)).
    fn contract(&mut self, address: Address, code_hash: B256) {
        self.state.set_account(address, Account { nonce: 1, code_hash, ..Account::EMPTY });
    }
}
