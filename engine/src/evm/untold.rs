use citius_state::Committed;

/// Which of the changes noted in a block are still to be told, each once however often it changed since.
#[derive(Debug, Default)]
pub(super) struct Untold {
    /// Numbers of accounts and of slots, in the order of their first change since the last telling.
    accounts: Vec<u32>,
    slots: Vec<u32>,
    /// By number of the account.
    account_marks: Vec<AccountMark>,
    /// By number of the slot: whether it is among `slots`.
    slot_marks: Vec<bool>,
    /// Some account's storage was reset in this block: slots may stand otherwise than they were noted.
    has_wipes: bool,
    /// Empty, for the next telling.
    told: Vec<Committed>,
}

#[derive(Debug, Clone, Copy, Default)]
struct AccountMark {
    /// It is among the untold.
    is_untold: bool,
    /// Its storage was reset since the last telling.
    is_wiped: bool,
}

/// Values that one call tells at most: a buffer that stays in a core's cache.
const TOLD_AT_ONCE_MAX: usize = 256;

impl Untold {
    pub(super) fn len(&self) -> usize {
        self.accounts.len() + self.slots.len()
    }

    pub(super) fn note_account(&mut self, number: u32, resets_storage: bool) {
        let mark = mark(&mut self.account_marks, number);
        mark.is_wiped |= resets_storage;
        self.has_wipes |= resets_storage;
        if !std::mem::replace(&mut mark.is_untold, true) {
            self.accounts.push(number);
        }
    }

    pub(super) fn note_slot(&mut self, number: u32) {
        if !std::mem::replace(mark(&mut self.slot_marks, number), true) {
            self.slots.push(number);
        }
    }

    /// Adds those of changes that are appended behind this many others.
    pub(super) fn append(&mut self, other: &Self, accounts: u32, slots: u32) {
        for number in &other.accounts {
            self.note_account(accounts + number, other.account_marks[*number as usize].is_wiped);
        }
        other.slots.iter().for_each(|number| self.note_slot(slots + number));
    }

    /// Tells all: `account` is given a number and whether its storage was wiped, `slot` a number and whether it may stand
    /// otherwise than it was noted. All accounts come before all slots.
    pub(super) fn tell(
        &mut self,
        mut account: impl FnMut(u32, bool) -> Committed,
        mut slot: impl FnMut(u32, bool) -> Committed,
        tell: impl Fn(&[Committed]),
    ) {
        let Self { accounts, slots, account_marks, slot_marks, has_wipes, told } = self;
        let accounts = accounts.drain(..).map(|number| {
            let AccountMark { is_wiped, .. } = std::mem::take(&mut account_marks[number as usize]);
            account(number, is_wiped)
        });
        let slots = slots.drain(..).map(|number| {
            slot_marks[number as usize] = false;
            slot(number, *has_wipes)
        });
        for value in accounts.chain(slots) {
            told.push(value);
            if told.len() == TOLD_AT_ONCE_MAX {
                tell(told);
                told.clear();
            }
        }
        if !told.is_empty() {
            tell(told);
            told.clear();
        }
    }
}

fn mark<T: Clone + Default>(marks: &mut Vec<T>, number: u32) -> &mut T {
    let place = number as usize;
    if marks.len() <= place {
        marks.resize(place + 1, T::default());
    }
    &mut marks[place]
}
