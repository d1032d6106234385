use super::Baseline;
use crate::roots::{AccountLeaf, leaf, root_of};
use alloy_primitives::{B256, KECCAK256_EMPTY};
use citius_state::Account;
use revm::database::{AccountState, DbAccount};

impl Baseline<'_> {
    /// The root of all accounts and slots that are known, the cache's before the state's: `alloy-trie` has no trie that
    /// could be changed, so one is built anew, every key hashed. What who has no more than that would do.
    ///
    /// `keeps_empty`: before [EIP-161](https://eips.ethereum.org/EIPS/eip-161), empty accounts exist.
    #[must_use]
    pub fn state_root(&self, keeps_empty: bool) -> B256 {
        let cached = &self.database.cache.accounts;
        let state = self.database.db.0;
        let unread = state.accounts().filter(|(address, _)| !cached.contains_key(address));
        let unread =
            unread.filter_map(|(address, account)| Some(leaf(address, account?, state.slots(address))));
        let read = cached.iter().filter_map(|(address, found)| -> Option<AccountLeaf> {
            let account = account(found).filter(|account| keeps_empty || !account.is_empty())?;
            let own = found.storage.iter().map(|(slot, value)| (*slot, *value));
            if found.account_state.is_storage_cleared() {
                return Some(leaf(*address, account, own));
            }
            let others = state.slots(*address).filter(|(slot, _)| !found.storage.contains_key(slot));
            Some(leaf(*address, account, own.chain(others)))
        });
        root_of(unread.chain(read))
    }
}

/// An account as the cache has it; `None` if it does not exist.
fn account(found: &DbAccount) -> Option<Account> {
    if found.account_state == AccountState::NotExisting {
        return None;
    }
    let code_hash = if found.info.code_hash.is_zero() { KECCAK256_EMPTY } else { found.info.code_hash };
    Some(Account { balance: found.info.balance, nonce: found.info.nonce, code_hash })
}
