use super::{RecordedError, json::Node};
use alloy_primitives::{Bytes, KECCAK256_EMPTY};
use citius_state::{Account, MemoryState};
use revm::bytecode::Bytecode;

/// Decodes `{address: {balance, nonce, code?, storage?: {slot: value}}}`, the form of geth's prestate tracer. What
/// it does not list does not exist.
pub(super) fn decode(root: &Node<'_>) -> Result<MemoryState, RecordedError> {
    let mut state = MemoryState::complete();
    for (_, entry) in root.fields()? {
        let address = entry.key_address()?;
        let code = entry.optional("code")?.map(|code| code.bytes()).transpose()?.unwrap_or_default();
        let code_hash = if code.is_empty() { KECCAK256_EMPTY } else { state.set_code(analysed(code)) };
        let account = Account {
            balance: entry.required("balance")?.u256()?,
            nonce: entry.optional("nonce")?.map_or(Ok(0), |nonce| nonce.u64())?,
            code_hash,
        };
        state.set_account(address, account);
        if let Some(storage) = entry.optional("storage")? {
            for (_, value) in storage.fields()? {
                state.set_storage(address, value.key_u256()?, value.u256()?);
            }
        }
    }
    Ok(state)
}

/// Code that merely begins like a delegation ([EIP-7702](https://eips.ethereum.org/EIPS/eip-7702)) is ordinary code.
fn analysed(code: Bytes) -> Bytecode {
    Bytecode::new_raw_checked(code.clone()).unwrap_or_else(|_| Bytecode::new_legacy(code))
}
