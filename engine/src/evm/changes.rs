use super::{
    stream::EvmStream,
    untold::Untold,
    value::{AccountValue, EvmKey, EvmValue},
};
use crate::scheduler::{Change, LocationId};
use alloy_primitives::{Address, B256, U256, map::HashMap};
use citius_state::{Account, AccountChange, ChangeSet, CommitSink, Committed, SlotChange};
use revm::bytecode::Bytecode;

/// What a block's commits changed so far: a change set in the making.
#[derive(Debug, Default)]
pub(super) struct Changes {
    accounts: Vec<AccountChange>,
    /// Their locations.
    locations: Vec<LocationId>,
    slots: Vec<Slot>,
    /// New code, with its hash, of accounts by number.
    codes: HashMap<u32, (B256, Bytecode)>,
    /// What somebody is still to be told of; `None` if nobody listens.
    untold: Option<Box<Untold>>,
}

#[derive(Debug)]
struct Slot {
    account: LocationId,
    location: LocationId,
    change: SlotChange,
}

impl Changes {
    pub(super) fn new(has_listener: bool) -> Self {
        Self { untold: has_listener.then(Box::default), ..Self::default() }
    }

    pub(super) fn has_listener(&self) -> bool {
        self.untold.is_some()
    }

    /// Makes room for what a block of so many transactions is likely to change.
    pub(super) fn reserve(&mut self, transactions: usize) {
        self.accounts.reserve(2 * transactions);
        self.locations.reserve(2 * transactions);
        self.slots.reserve(2 * transactions);
    }

    /// Notes the first change of an account or slot, and gives it a number.
    pub(super) fn note(&mut self, change: Change<'_, EvmStream>) -> u32 {
        match (change.key, change.before, change.after) {
            (EvmKey::Account(address), EvmValue::Account(before), EvmValue::Account(after)) => {
                let number = self.accounts.len() as u32;
                let before = before.as_ref().map(|value| value.account);
                self.accounts.push(account_change(*address, before, after.as_ref(), change.resets_children));
                self.locations.push(change.location);
                self.note_code(number, after.as_ref());
                if let Some(untold) = &mut self.untold {
                    untold.note_account(number, change.resets_children);
                }
                number
            }
            (EvmKey::Slot(account, slot), EvmValue::Slot(before), EvmValue::Slot(after)) => {
                let number = self.slots.len() as u32;
                let change_ = SlotChange { slot: *slot, before: *before, after: *after };
                self.slots.push(Slot { account: *account, location: change.location, change: change_ });
                if let Some(untold) = &mut self.untold {
                    untold.note_slot(number);
                }
                number
            }
            (key, before, after) => panic!("{key:?} went from {before:?} to {after:?}"),
        }
    }

    /// Notes one more change of an account or slot.
    pub(super) fn note_again(&mut self, number: u32, after: &EvmValue, resets_storage: bool) {
        match after {
            EvmValue::Account(after) => {
                let change = &mut self.accounts[number as usize];
                change.after = after.as_ref().map(|value| value.account);
                change.storage_wiped |= resets_storage;
                self.note_code(number, after.as_ref());
                if let Some(untold) = &mut self.untold {
                    untold.note_account(number, resets_storage);
                }
            }
            EvmValue::Slot(after) => {
                self.slots[number as usize].change.after = *after;
                if let Some(untold) = &mut self.untold {
                    untold.note_slot(number);
                }
            }
        }
    }

    fn note_code(&mut self, number: u32, after: Option<&AccountValue>) {
        if let Some(AccountValue { account, code: Some(code) }) = after {
            self.codes.insert(number, (account.code_hash, code.clone()));
        }
    }

    /// Values that are noted and not told.
    pub(super) fn untold(&self) -> usize {
        self.untold.as_ref().map_or(0, |untold| untold.len())
    }

    /// Tells what was noted since it was told last.
    ///
    /// Of several changes of a key the last one is told, so what is told is a state that was committed. A slot is told
    /// as it stands behind all resets: so wipes may be told first, whatever the order was.
    pub(super) fn tell(
        &mut self,
        sink: &dyn CommitSink,
        block_number: u64,
        lookup: &dyn Fn(LocationId) -> (EvmKey, EvmValue),
    ) {
        let Self { accounts, slots, untold: Some(untold), .. } = self else { return };
        let account = |number: u32, storage_wiped| {
            let AccountChange { address, after, .. } = &accounts[number as usize];
            Committed::Account { address: *address, after: *after, storage_wiped }
        };
        // Slots of one account mostly come together.
        let mut last = None;
        let slot = |number: u32, may_be_wiped: bool| {
            let Slot { account, location, change } = &slots[number as usize];
            let address = match last {
                Some((location, address)) if location == *account => address,
                _ => match lookup(*account).0 {
                    EvmKey::Account(address) => address,
                    key => panic!("the parent of a slot is an account, not {key:?}"),
                },
            };
            last = Some((*account, address));
            let after = match may_be_wiped.then(|| lookup(*location).1) {
                Some(EvmValue::Slot(after)) => after,
                _ => change.after,
            };
            Committed::Slot { address, slot: change.slot, after }
        };
        untold.tell(account, slot, |told| sink.committed(block_number, told));
    }

    /// Adds what was noted apart, of other accounts and slots.
    pub(super) fn append(&mut self, other: Self) {
        let Self { mut accounts, mut locations, mut slots, codes, untold } = other;
        let first = self.accounts.len() as u32;
        if let (Some(untold), Some(other)) = (&mut self.untold, untold) {
            untold.append(&other, first, self.slots.len() as u32);
        }
        self.accounts.append(&mut accounts);
        self.locations.append(&mut locations);
        self.slots.append(&mut slots);
        self.codes.extend(codes.into_iter().map(|(number, code)| (first + number, code)));
    }

    /// All changes, the slots with their accounts.
    pub(super) fn into_set(mut self, lookup: &dyn Fn(LocationId) -> (EvmKey, EvmValue)) -> ChangeSet {
        let codes = self.take_codes();
        self.place_slots(lookup);
        self.accounts.retain(AccountChange::is_change);
        ChangeSet { accounts: self.accounts, codes }
    }

    /// Code that is new in the state, each once.
    fn take_codes(&mut self) -> Vec<(B256, Bytecode)> {
        let mut codes = Vec::new();
        for (number, (hash, code)) in std::mem::take(&mut self.codes) {
            let AccountChange { before, after, .. } = &self.accounts[number as usize];
            let is_there = |account: &Option<Account>| {
                account.is_some_and(|account| account.has_code() && account.code_hash == hash)
            };
            if is_there(after) && !is_there(before) && !codes.iter().any(|(other, _)| *other == hash) {
                codes.push((hash, code));
            }
        }
        codes
    }

    /// Puts the slots with their accounts. One of which only slots changed is added.
    fn place_slots(&mut self, lookup: &dyn Fn(LocationId) -> (EvmKey, EvmValue)) {
        let slots = std::mem::take(&mut self.slots);
        // Slots of one account mostly come together.
        let mut last = None;
        let written = self.locations.iter().enumerate().filter(|_| !slots.is_empty());
        let mut places: HashMap<LocationId, usize> =
            written.map(|(place, location)| (*location, place)).collect();
        for Slot { account, location, change: mut slot } in slots {
            let place = match last {
                Some((location, place)) if location == account => place,
                _ => *places.entry(account).or_insert_with(|| {
                    let (EvmKey::Account(address), EvmValue::Account(value)) = lookup(account) else {
                        panic!("the parent of a slot is an account")
                    };
                    let before = value.as_ref().map(|value| value.account);
                    self.accounts.push(account_change(address, before, value.as_ref(), false));
                    self.accounts.len() - 1
                }),
            };
            last = Some((account, place));
            let change = &mut self.accounts[place];
            if change.storage_wiped {
                // What stood there before the wipe depends on who asked: it is left out.
                slot.before = U256::ZERO;
                // The wipe may have come after the slot's last change.
                if let (_, EvmValue::Slot(after)) = lookup(location) {
                    slot.after = after;
                }
            }
            if change.after.is_some() && slot.before != slot.after {
                change.storage.push(slot);
            }
        }
    }
}

fn account_change(
    address: Address,
    before: Option<Account>,
    after: Option<&AccountValue>,
    resets_storage: bool,
) -> AccountChange {
    AccountChange {
        address,
        before,
        after: after.map(|value| value.account),
        storage_wiped: resets_storage || before.is_none(),
        storage: Vec::new(),
    }
}
