use crate::{Account, ChangeSet, ReadError, StateKey, StateReader};
use alloy_primitives::{
    Address, B256, KECCAK256_EMPTY, U256,
    map::{AddressMap, B256Map, HashMap},
};
use revm::bytecode::Bytecode;

/// A state held in plain maps: the obvious implementation of [`StateReader`], for tests, tools and replays.
///
/// A *complete* state says of a missing account that it does not exist and of a missing slot that it is zero. A
/// *partial* one (a witness) answers [`ReadError::NotInWitness`] instead; there, absence must be stated with
/// [`MemoryState::set_absent`] and a zero slot must be listed.
#[derive(Debug, Clone, Default)]
pub struct MemoryState {
    accounts: AddressMap<Option<Account>>,
    storage: AddressMap<HashMap<U256, U256>>,
    codes: B256Map<Bytecode>,
    block_hashes: HashMap<u64, B256>,
    is_partial: bool,
}

impl MemoryState {
    /// An empty complete state.
    #[must_use]
    pub fn complete() -> Self {
        Self::default()
    }

    /// An empty partial state: every read is [`ReadError::NotInWitness`] until its key is set.
    #[must_use]
    pub fn partial() -> Self {
        Self { is_partial: true, ..Self::default() }
    }

    /// Sets an account's balance, nonce and code hash; its storage stays.
    pub fn set_account(&mut self, address: Address, account: Account) {
        self.accounts.insert(address, Some(account));
    }

    /// States that an account does not exist, and drops its storage.
    pub fn set_absent(&mut self, address: Address) {
        self.accounts.insert(address, None);
        self.storage.remove(&address);
    }

    /// Sets a storage slot (zero is remembered: a partial state then knows the slot).
    pub fn set_storage(&mut self, address: Address, slot: U256, value: U256) {
        self.storage.entry(address).or_default().insert(slot, value);
    }

    /// Stores code under its hash, and returns that hash.
    pub fn set_code(&mut self, code: Bytecode) -> B256 {
        let hash = code.hash_slow();
        if hash != KECCAK256_EMPTY {
            self.codes.insert(hash, code);
        }
        hash
    }

    /// Sets the hash of an ancestor block.
    pub fn set_block_hash(&mut self, number: u64, hash: B256) {
        self.block_hashes.insert(number, hash);
    }

    /// All accounts that are known, those stated absent included.
    pub fn accounts(&self) -> impl Iterator<Item = (Address, Option<Account>)> + '_ {
        self.accounts.iter().map(|(address, account)| (*address, *account))
    }

    /// All slots that are known of one account, zeros included.
    pub fn slots(&self, address: Address) -> impl Iterator<Item = (U256, U256)> + '_ {
        self.storage.get(&address).into_iter().flatten().map(|(slot, value)| (*slot, *value))
    }

    /// Whether anything was ever said about this account.
    #[must_use]
    pub fn knows_account(&self, address: Address) -> bool {
        self.accounts.contains_key(&address)
    }

    /// Whether a value is stored for this slot.
    #[must_use]
    pub fn knows_slot(&self, address: Address, slot: U256) -> bool {
        self.storage.get(&address).is_some_and(|slots| slots.contains_key(&slot))
    }

    /// Applies what a block did.
    pub fn apply(&mut self, changes: &ChangeSet) {
        for change in &changes.accounts {
            if change.storage_wiped || change.after.is_none() {
                self.storage.remove(&change.address);
            }
            self.accounts.insert(change.address, change.after);
            if change.after.is_some() && !change.storage.is_empty() {
                let slots = self.storage.entry(change.address).or_default();
                slots.extend(change.storage.iter().map(|slot| (slot.slot, slot.after)));
            }
        }
        self.codes.extend(changes.codes.iter().map(|(hash, code)| (*hash, code.clone())));
    }

    fn absent<T>(&self, key: StateKey, value: T) -> Result<T, ReadError> {
        if self.is_partial { Err(ReadError::NotInWitness { key }) } else { Ok(value) }
    }
}

impl StateReader for MemoryState {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        match self.accounts.get(&address) {
            Some(account) => Ok(*account),
            None => self.absent(StateKey::Account(address), None),
        }
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        match self.storage.get(&address).and_then(|slots| slots.get(&slot)) {
            Some(value) => Ok(*value),
            // What does not exist has no storage: that much even a witness says.
            None if self.accounts.get(&address) == Some(&None) => Ok(U256::ZERO),
            None => self.absent(StateKey::Storage(address, slot), U256::ZERO),
        }
    }

    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        match self.codes.get(&code_hash) {
            Some(code) => Ok(code.clone()),
            // Without its bytes a code hash means nothing: even a complete state cannot make code up.
            None => Err(ReadError::NotInWitness { key: StateKey::Code(code_hash) }),
        }
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        match self.block_hashes.get(&number) {
            Some(hash) => Ok(*hash),
            None => self.absent(StateKey::BlockHash(number), B256::ZERO),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountChange, SlotChange};

    const A: Address = Address::repeat_byte(0xaa);

    fn slot(slot: u64, before: u64, after: u64) -> SlotChange {
        SlotChange { slot: U256::from(slot), before: U256::from(before), after: U256::from(after) }
    }

    #[test]
    fn a_partial_state_names_what_it_does_not_hold() {
        let mut state = MemoryState::partial();
        assert_eq!(state.account(A), Err(ReadError::NotInWitness { key: StateKey::Account(A) }));
        state.set_absent(A);
        assert_eq!(state.account(A), Ok(None));
        assert_eq!(state.storage(A, U256::from(3)), Ok(U256::ZERO));
        state.set_account(A, Account::EMPTY);
        let error = state.storage(A, U256::from(3)).unwrap_err();
        assert_eq!(error.to_string(), format!("slot 0x3 of account {A} is not in this witness"));
    }

    #[test]
    fn a_wiped_account_keeps_only_the_listed_slots() {
        let mut state = MemoryState::complete();
        state.set_account(A, Account::EMPTY);
        state.set_storage(A, U256::from(1), U256::from(10));
        state.set_storage(A, U256::from(2), U256::from(20));
        state.apply(&ChangeSet {
            accounts: vec![AccountChange {
                address: A,
                before: Some(Account::EMPTY),
                after: Some(Account { nonce: 1, ..Account::EMPTY }),
                storage_wiped: true,
                storage: vec![slot(2, 20, 21)],
            }],
            codes: vec![],
        });
        assert_eq!(state.storage(A, U256::from(1)), Ok(U256::ZERO));
        assert_eq!(state.storage(A, U256::from(2)), Ok(U256::from(21)));
    }

    #[test]
    fn merged_change_sets_lead_to_the_same_state() {
        let account = |nonce| Some(Account { nonce, ..Account::EMPTY });
        let first = ChangeSet {
            accounts: vec![AccountChange {
                address: A,
                before: account(1),
                after: account(2),
                storage_wiped: false,
                storage: vec![slot(1, 0, 5), slot(2, 7, 8)],
            }],
            codes: vec![],
        };
        let second = ChangeSet {
            accounts: vec![AccountChange {
                address: A,
                before: account(2),
                after: account(1),
                storage_wiped: false,
                storage: vec![slot(1, 5, 0), slot(3, 0, 9)],
            }],
            codes: vec![],
        };
        let mut merged = first.clone();
        merged.merge(second.clone());
        merged.sort();
        assert_eq!(merged.accounts[0].storage, vec![slot(2, 7, 8), slot(3, 0, 9)]);
        let mut one = MemoryState::complete();
        one.set_account(A, account(1).unwrap());
        one.set_storage(A, U256::from(2), U256::from(7));
        let mut two = one.clone();
        one.apply(&first);
        one.apply(&second);
        two.apply(&merged);
        for key in 1..4u64 {
            assert_eq!(one.storage(A, U256::from(key)), two.storage(A, U256::from(key)));
        }
        assert_eq!(one.account(A), two.account(A));
    }
}
