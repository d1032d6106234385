use alloy_primitives::{Address, B256, U256};
use alloy_trie::{
    TrieAccount,
    root::{state_root_unhashed, storage_root_unhashed},
};
use citius_state::{Account, MemoryState};

/// An account as it goes into a trie that is built anew.
pub type AccountLeaf = (Address, TrieAccount);

/// The root of all accounts and slots that a state lists: a trie built anew by `alloy-trie`, every key hashed.
///
/// Of a partial state that is the root of a state in which nothing else exists.
#[must_use]
pub fn listed_root(state: &MemoryState) -> B256 {
    let accounts = state.accounts().filter_map(|(address, account)| Some((address, account?)));
    root_of(accounts.map(|(address, account)| leaf(address, account, state.slots(address))))
}

/// The root of accounts with their storage roots.
pub fn root_of(accounts: impl IntoIterator<Item = AccountLeaf>) -> B256 {
    state_root_unhashed(accounts)
}

/// An account with the root of its slots; those that are zero do not count.
pub(crate) fn leaf(
    address: Address,
    account: Account,
    slots: impl Iterator<Item = (U256, U256)>,
) -> AccountLeaf {
    let slots = slots.filter(|(_, value)| !value.is_zero());
    let storage_root = storage_root_unhashed(slots.map(|(slot, value)| (B256::from(slot), value)));
    let Account { balance, nonce, code_hash } = account;
    (address, TrieAccount { nonce, balance, storage_root, code_hash })
}
