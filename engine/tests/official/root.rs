use alloy_primitives::{Address, B256, KECCAK256_EMPTY, Log, U256, keccak256};
use alloy_trie::{
    TrieAccount,
    root::{state_root_unhashed, storage_root_unhashed},
};
use citius_state::{MemoryState, StateReader};

/// The state root ([Yellow Paper, section 4.1](https://ethereum.github.io/yellowpaper/paper.pdf)).
pub(crate) fn state_root(state: &MemoryState) -> B256 {
    let accounts = state.accounts().filter_map(|(address, account)| {
        let account = account?;
        let trie_account = TrieAccount {
            nonce: account.nonce,
            balance: account.balance,
            storage_root: storage_root(state, address),
            code_hash: account.code_hash,
        };
        Some((address, trie_account))
    });
    state_root_unhashed(accounts)
}

fn storage_root(state: &MemoryState, address: Address) -> B256 {
    storage_root_unhashed(
        state
            .slots(address)
            .filter(|(_, value)| !value.is_zero())
            .map(|(slot, value)| (B256::from(slot), value)),
    )
}

/// Keccak-256 of the logs as RLP.
pub(crate) fn logs_hash(logs: &[Log]) -> B256 {
    let mut encoded = Vec::new();
    alloy_rlp::encode_list::<_, Log>(logs, &mut encoded);
    keccak256(encoded)
}

/// Whether an account has storage, but neither nonce nor code: no transaction can bring a chain there
/// ([EIP-7610](https://eips.ethereum.org/EIPS/eip-7610)).
pub(crate) fn is_unreachable(state: &MemoryState, address: Address) -> bool {
    let account = state.account(address).ok().flatten();
    account.is_some_and(|account| account.nonce == 0 && account.code_hash == KECCAK256_EMPTY)
        && state.slots(address).any(|(_, value)| value != U256::ZERO)
}
