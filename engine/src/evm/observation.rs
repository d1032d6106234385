use super::value::{AccountValue, EvmValue, EvmWrite};
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256, map::AddressMap};
use citius_state::Account;
use smallvec::SmallVec;

/// What an execution learnt of an EVM location.
#[derive(Debug)]
pub(crate) enum EvmObservation {
    /// The slot's exact value.
    Slot(U256),
    /// Some facts about an account.
    Account(AccountObservation),
}

impl EvmObservation {
    pub(crate) fn holds(&self, value: &EvmValue) -> bool {
        match (self, value) {
            (Self::Slot(seen), EvmValue::Slot(now)) => seen == now,
            (Self::Account(seen), EvmValue::Account(now)) => seen.holds(now.as_ref()),
            _ => false,
        }
    }

    /// As [`EvmObservation::holds`], but a nonce may be lower: nonces grow.
    pub(crate) fn may_come_to_hold(&self, value: &EvmValue) -> bool {
        match (self, value) {
            (Self::Account(seen), EvmValue::Account(now)) => seen.may_come_to_hold(now.as_ref()),
            _ => self.holds(value),
        }
    }

    /// What this tells of the value `start`, if it was made behind `writes` to that.
    /// `None` if the nonce was taken to be one that `writes` contradict.
    pub(crate) fn before<'a>(
        self,
        start: &EvmValue,
        writes: impl Iterator<Item = &'a EvmWrite> + Clone,
    ) -> Option<Self> {
        match (self, start) {
            (Self::Account(mut seen), EvmValue::Account(start)) => {
                if let Some(own) = writes.clone().filter_map(EvmWrite::nonce).last() {
                    if !seen.nonce.holds(own) {
                        return None;
                    }
                    seen.nonce = NonceFact::Any;
                }
                let nonce = seen.nonce;
                let exact = || AccountObservation::all_but_nonce(start.as_ref(), nonce);
                Some(Self::Account(seen.before(start.as_ref(), writes).unwrap_or_else(exact)))
            }
            // A slot's write says all of it: what stood there before does not matter.
            (_, EvmValue::Slot(start)) => Some(Self::Slot(*start)),
            (Self::Slot(_), EvmValue::Account(_)) => unreachable!("a slot's location holds a slot"),
        }
    }
}

/// Facts about an account *as it stood before the entry*. Whatever is not stated may be anything.
///
/// The balance is known to lie in a range: a debit that succeeded says "at least", one that failed says "less
/// than"; only an instruction that sees the balance makes the range a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountObservation {
    pub(crate) exists: Option<bool>,
    pub(crate) nonce: NonceFact,
    pub(crate) code_hash: Option<B256>,
    /// Inclusive.
    pub(crate) balance_min: U256,
    /// Inclusive.
    pub(crate) balance_max: U256,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NonceFact {
    Any,
    NotZero,
    Exactly(u64),
}

impl NonceFact {
    fn holds(self, nonce: u64) -> bool {
        match self {
            Self::Any => true,
            Self::NotZero => nonce != 0,
            Self::Exactly(exactly) => nonce == exactly,
        }
    }
}

impl AccountObservation {
    pub(crate) const NOTHING: Self = Self {
        exists: None,
        nonce: NonceFact::Any,
        code_hash: None,
        balance_min: U256::ZERO,
        balance_max: U256::MAX,
    };

    pub(crate) fn holds(&self, value: Option<&AccountValue>) -> bool {
        self.holds_but_for_nonce(value) && self.nonce.holds(value.map_or(0, |value| value.account.nonce))
    }

    fn holds_but_for_nonce(&self, value: Option<&AccountValue>) -> bool {
        let account = value.map_or(Account::EMPTY, |value| value.account);
        self.exists.is_none_or(|exists| exists == value.is_some())
            && self.code_hash.is_none_or(|hash| hash == account.code_hash)
            && account.balance >= self.balance_min
            && account.balance <= self.balance_max
    }

    fn may_come_to_hold(&self, value: Option<&AccountValue>) -> bool {
        let NonceFact::Exactly(nonce) = self.nonce else { return self.holds(value) };
        let now = value.map_or(0, |value| value.account.nonce);
        self.holds_but_for_nonce(value) && now <= nonce
    }

    /// Everything, except that the nonce is what was seen: that may be a prediction.
    fn all_but_nonce(value: Option<&AccountValue>, nonce: NonceFact) -> Self {
        let mut seen = Self::NOTHING;
        seen.everything(value.map(|value| &value.account));
        if nonce != NonceFact::Any {
            seen.nonce = nonce;
        }
        seen
    }

    /// What these facts, seen behind some writes, tell of the account before them. `None` if that takes more than
    /// moving the balance's range.
    fn before<'a>(
        mut self,
        start: Option<&AccountValue>,
        writes: impl Iterator<Item = &'a EvmWrite>,
    ) -> Option<Self> {
        if self.exists.is_some() {
            return None;
        }
        let first = start.map_or(U256::ZERO, |value| value.account.balance);
        let mut last = first;
        // All that was added on the way must have found room.
        let mut room = U256::MAX;
        for write in writes {
            let sum = write.sum()?;
            last = last.wrapping_add(sum.write.balance_delta);
            room = room.checked_sub(sum.gains)?;
        }
        if last >= first {
            let gain = last - first;
            self.balance_min = self.balance_min.saturating_sub(gain);
            self.balance_max = self.balance_max.checked_sub(gain)?.min(room);
        } else {
            let loss = first - last;
            self.balance_min = self.balance_min.checked_add(loss)?;
            self.balance_max = self.balance_max.saturating_add(loss).min(room);
        }
        (self.balance_min <= first && first <= self.balance_max).then_some(self)
    }

    pub(crate) fn exact_balance(&mut self, base: &Account) {
        self.balance_min = base.balance;
        self.balance_max = base.balance;
    }

    pub(crate) fn balance_at_least(&mut self, amount: U256) {
        self.balance_min = self.balance_min.max(amount);
    }

    pub(crate) fn balance_at_most(&mut self, amount: U256) {
        self.balance_max = self.balance_max.min(amount);
    }

    pub(crate) fn exact_nonce(&mut self, base: &Account) {
        self.nonce = NonceFact::Exactly(base.nonce);
    }

    pub(crate) fn exact_code(&mut self, base: &Account) {
        self.code_hash = Some(base.code_hash);
    }

    pub(crate) fn everything(&mut self, base: Option<&Account>) {
        let account = base.copied().unwrap_or_default();
        self.exists = Some(base.is_some());
        self.exact_balance(&account);
        self.exact_nonce(&account);
        self.exact_code(&account);
    }

    /// Somebody asked whether the account is empty, in the sense of the given rules.
    ///
    /// `now` is the account with this entry's own changes, `was_touched` whether there are any.
    pub(crate) fn emptiness(
        &mut self,
        base: Option<&Account>,
        now: &Account,
        was_touched: bool,
        asks_existence: bool,
    ) {
        let account = base.copied().unwrap_or_default();
        self.exact_code(&account);
        if asks_existence {
            self.exists = Some(base.is_some());
        }
        if now.code_hash != KECCAK256_EMPTY {
            return;
        }
        if now.nonce != 0 {
            if account.nonce != 0 && self.nonce == NonceFact::Any {
                self.nonce = NonceFact::NotZero;
            }
            return;
        }
        self.exact_nonce(&account);
        if was_touched {
            self.exact_balance(&account);
        } else if account.balance.is_zero() {
            self.balance_at_most(U256::ZERO);
        } else {
            self.balance_at_least(U256::from(1));
        }
    }
}

/// The account that an execution loaded first, and what it learnt of it since.
#[derive(Debug)]
pub(crate) struct Tracked {
    /// As the view gave it (with a predicted nonce, if one was).
    pub(crate) base: Option<Account>,
    pub(crate) observation: AccountObservation,
}

/// What an execution learnt of all accounts, by the order of their first loads.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    accounts: SmallVec<[Tracked; 8]>,
    /// Places of accounts that do not exist: the journal knows no id for these.
    absent: AddressMap<usize>,
}

impl Observed {
    pub(crate) fn clear(&mut self) {
        self.accounts.clear();
        if !self.absent.is_empty() {
            self.absent.clear();
        }
    }

    /// Adds an account as the view gave it, and returns its place.
    pub(crate) fn push(&mut self, address: Address, base: Option<Account>) -> usize {
        let place = self.accounts.len();
        if base.is_none() {
            self.absent.insert(address, place);
        }
        self.accounts.push(Tracked { base, observation: AccountObservation::NOTHING });
        place
    }

    /// The place of an account that does not exist.
    ///
    /// # Panics
    ///
    /// If it was not loaded: revm touches no such account, and reads none of its slots.
    pub(crate) fn place_of(&self, address: Address) -> usize {
        match self.absent.get(&address) {
            Some(place) => *place,
            None => panic!("{address} is used, but was not loaded"),
        }
    }

    /// All accounts, by place.
    pub(crate) fn accounts(&mut self) -> &mut [Tracked] {
        &mut self.accounts
    }

    /// The account's entry: at `id` if the journal knows it, else by its address.
    pub(crate) fn get(&mut self, id: Option<usize>, address: Address) -> Option<&mut Tracked> {
        let place = id.or_else(|| self.absent.get(&address).copied())?;
        self.accounts.get_mut(place)
    }
}

#[cfg(test)]
mod tests {
    use super::super::value::{AccountWrite, End};
    use super::*;

    fn value(balance: u64, nonce: u64) -> AccountValue {
        AccountValue {
            account: Account { balance: U256::from(balance), nonce, ..Account::EMPTY },
            code: None,
        }
    }

    #[test]
    fn a_debit_that_succeeded_survives_other_changes_of_the_balance() {
        let mut seen = AccountObservation::NOTHING;
        seen.balance_at_least(U256::from(10));
        assert!(seen.holds(Some(&value(10, 3))) && seen.holds(Some(&value(99, 4))));
        assert!(!seen.holds(Some(&value(9, 3))) && !seen.holds(None));
    }

    #[test]
    fn an_untouched_account_without_code_and_nonce_is_empty_by_its_balance() {
        let base = Account::EMPTY;
        let mut seen = AccountObservation::NOTHING;
        seen.emptiness(Some(&base), &base, false, false);
        assert!(seen.holds(None) && seen.holds(Some(&value(0, 0))));
        assert!(!seen.holds(Some(&value(1, 0))) && !seen.holds(Some(&value(0, 1))));
    }

    #[test]
    fn a_nonce_makes_an_account_full_whatever_its_balance() {
        let base = Account { nonce: 2, ..Account::EMPTY };
        let mut seen = AccountObservation::NOTHING;
        seen.emptiness(Some(&base), &base, true, false);
        assert!(seen.holds(Some(&value(0, 7))) && seen.holds(Some(&value(5, 1))));
        assert!(!seen.holds(Some(&value(5, 0))));
    }

    #[test]
    fn before_eip_161_existence_itself_is_observed() {
        let mut seen = AccountObservation::NOTHING;
        seen.emptiness(None, &Account::EMPTY, false, true);
        assert!(seen.holds(None));
        assert!(!seen.holds(Some(&value(0, 0))));
    }

    fn plain(delta: i64, nonce: Option<u64>) -> EvmWrite {
        let amount = U256::from(delta.unsigned_abs());
        let balance_delta = if delta < 0 { amount.wrapping_neg() } else { amount };
        EvmWrite::Account(AccountWrite { balance_delta, nonce, ..AccountWrite::default() })
    }

    /// What is known of the start, when `seen` was learnt behind some writes.
    fn before(seen: AccountObservation, start: u64, writes: &[EvmWrite]) -> Option<AccountObservation> {
        let start = EvmValue::Account(Some(value(start, 5)));
        match EvmObservation::Account(seen).before(&start, writes.iter())? {
            EvmObservation::Account(before) => Some(before),
            EvmObservation::Slot(_) => panic!("an account was seen"),
        }
    }

    fn at_least(amount: u64) -> AccountObservation {
        let mut seen = AccountObservation::NOTHING;
        seen.balance_at_least(U256::from(amount));
        seen
    }

    #[test]
    fn behind_own_writes_the_balance_s_range_is_that_of_the_start_moved() {
        let received = before(at_least(120), 100, &[plain(50, None)]).unwrap();
        assert!(received.holds(Some(&value(70, 5))) && !received.holds(Some(&value(69, 5))));
        let spent = before(at_least(20), 100, &[plain(-60, Some(6))]).unwrap();
        assert!(spent.holds(Some(&value(80, 9))) && !spent.holds(Some(&value(79, 9))));
        let fee = EvmWrite::Fee { amount: 30, end: End::Exists };
        let earned = before(at_least(120), 100, &[plain(-10, None), fee]).unwrap();
        assert!(earned.holds(Some(&value(100, 5))) && !earned.holds(Some(&value(99, 5))));
    }

    #[test]
    fn what_was_added_must_have_found_room() {
        let earned = before(at_least(0), 100, &[plain(50, None), plain(-50, None)]).unwrap();
        let most = U256::MAX - U256::from(50);
        let with = |balance| {
            let mut value = value(0, 5);
            value.account.balance = balance;
            earned.holds(Some(&value))
        };
        assert!(with(most) && !with(most + U256::from(1)));
    }

    #[test]
    fn a_nonce_behind_an_own_one_is_its_successor_or_a_wrong_prediction() {
        let seen =
            |nonce| AccountObservation { nonce: NonceFact::Exactly(nonce), ..AccountObservation::NOTHING };
        assert_eq!(before(seen(7), 100, &[plain(-1, Some(7))]).unwrap().nonce, NonceFact::Any);
        assert_eq!(before(seen(8), 100, &[plain(-1, Some(7))]), None);
        assert_eq!(before(seen(8), 100, &[plain(1, None)]).unwrap().nonce, NonceFact::Exactly(8));
    }

    #[test]
    fn behind_what_is_no_sum_everything_counts() {
        let destroyed = AccountWrite { end: End::Destroyed, ..AccountWrite::default() };
        let seen = before(at_least(0), 100, &[EvmWrite::Account(destroyed)]).unwrap();
        assert!(seen.holds(Some(&value(100, 5))) && !seen.holds(Some(&value(101, 5))));
    }
}
