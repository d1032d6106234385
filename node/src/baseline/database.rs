use alloy_primitives::{Address, B256, U256};
use citius_state::{MemoryState, ReadError, StateReader};
use revm::{DatabaseRef, bytecode::Bytecode, database::DBErrorMarker, state::AccountInfo};

/// revm's view of a [`MemoryState`]. Code is handed out when it is asked for, not with the account: most accounts
/// that a transaction touches are never called.
pub(super) struct PreState<'a>(pub(super) &'a MemoryState);

/// The state before a block could not be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct PreStateError(#[from] ReadError);

impl DBErrorMarker for PreStateError {}

impl DatabaseRef for PreState<'_> {
    type Error = PreStateError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Self::Error> {
        Ok(self.0.account(address)?.map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            code: if account.has_code() { None } else { Some(Bytecode::default()) },
            ..AccountInfo::default()
        }))
    }

    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, Self::Error> {
        Ok(self.0.code(code_hash)?)
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, Self::Error> {
        Ok(self.0.storage(address, slot)?)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Self::Error> {
        Ok(self.0.block_hash(number)?)
    }
}
