use crate::scheduler::LocationId;
use alloy_primitives::{Address, B256, U256};
use citius_state::Account;
use revm::bytecode::Bytecode;
use std::hash::{Hash, Hasher};

/// What the EVM calls a location. A slot is named by its account's dense id: as exact as the address, and
/// shorter to hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EvmKey {
    Account(Address),
    Slot(LocationId, U256),
}

impl Hash for EvmKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Account(address) => {
                let [a, b, c] = words(address);
                state.write_u64(a);
                state.write_u64(b);
                state.write_u64(c);
            }
            Self::Slot(account, slot) => {
                let [a, b, c, d] = slot.into_limbs();
                state.write_u64(a ^ u64::from(account.0) << 32);
                state.write_u64(b);
                state.write_u64(c);
                state.write_u64(d);
            }
        }
    }
}

/// An address as three words, the last of which overlaps the second: quicker to hash than bytes.
fn words(address: &Address) -> [u64; 3] {
    let word = |from: usize| address[from..from + 8].try_into().map_or(0, u64::from_le_bytes);
    [word(0), word(8), word(12)]
}

/// What an EVM location holds.
#[derive(Debug, Clone)]
pub(crate) enum EvmValue {
    /// An account, `None` if it does not exist.
    Account(Option<AccountValue>),
    Slot(U256),
}

/// An account with its code, if that was deployed in this stream.
#[derive(Debug, Clone)]
pub(crate) struct AccountValue {
    pub(crate) account: Account,
    pub(crate) code: Option<Bytecode>,
}

impl PartialEq for EvmValue {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            // The hash stands for the code.
            (Self::Account(a), Self::Account(b)) => {
                a.as_ref().map(|value| value.account) == b.as_ref().map(|value| value.account)
            }
            (Self::Slot(a), Self::Slot(b)) => a == b,
            _ => false,
        }
    }
}

impl EvmValue {
    /// The account without its code; a slot's value is none.
    pub(crate) fn account(&self) -> Option<&Account> {
        match self {
            Self::Account(account) => account.as_ref().map(|value| &value.account),
            Self::Slot(_) => None,
        }
    }

    /// The account; a slot's value is none.
    pub(crate) fn into_account(self) -> Option<AccountValue> {
        match self {
            Self::Account(account) => account,
            Self::Slot(_) => None,
        }
    }
}

/// What an entry does to an EVM location.
#[derive(Debug, Clone)]
pub(crate) enum EvmWrite {
    Account(AccountWrite),
    Slot(U256),
    /// What a transaction pays to the block's beneficiary, unless the balance would overflow (then it is lost, as in
    /// revm). Written late.
    Fee {
        /// In wei.
        amount: u128,
        /// Whether the account stays if it is empty.
        end: End,
    },
    /// Several writes of one entry, in order, that no single one can stand for.
    Sequence(Box<Sequence>),
}

/// Several writes of one entry to one account, in order.
#[derive(Debug, Clone)]
pub(crate) struct Sequence {
    parts: Vec<EvmWrite>,
    /// What they come to, if they are plain, and no fee is lost.
    sum: Option<Sum>,
}

/// What plain writes and fees come to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sum {
    pub(crate) write: AccountWrite,
    /// All that is added on the way: a balance with room for that loses no fee.
    pub(crate) gains: U256,
}

/// Differences of balances of more than that are not summed up: which of them are negative would be a guess.
const SUMMED_MAX: U256 = U256::from_limbs([0, 0, 0, 1 << 60]);

impl EvmWrite {
    /// Makes one write of this one and one behind it.
    pub(crate) fn merge(&mut self, second: Self) {
        match (&mut *self, second) {
            (Self::Slot(value), Self::Slot(second)) => *value = second,
            (Self::Account(first), Self::Account(second)) if first.is_plain() && second.is_plain() => {
                first.then(&second);
            }
            (Self::Sequence(sequence), second) => sequence.push(second),
            (_, second) => {
                let mut sequence = Box::new(Sequence { parts: Vec::new(), sum: Some(Sum::default()) });
                sequence.push(std::mem::replace(self, Self::Slot(U256::ZERO)));
                sequence.push(second);
                *self = Self::Sequence(sequence);
            }
        }
    }

    /// The nonce that the write leaves behind, if it sets one.
    pub(crate) fn nonce(&self) -> Option<u64> {
        match self {
            Self::Account(write) if write.end == End::Destroyed => Some(0),
            Self::Account(write) => write.nonce,
            Self::Slot(_) | Self::Fee { .. } => None,
            Self::Sequence(sequence) => sequence.parts.iter().rev().find_map(Self::nonce),
        }
    }

    /// What the write comes to, if it is plain, or a fee that is not lost.
    pub(crate) fn sum(&self) -> Option<Sum> {
        match self {
            Self::Account(write) if write.is_plain() => {
                let is_loss = write.balance_delta.wrapping_neg() < SUMMED_MAX;
                let gains = if is_loss { U256::ZERO } else { write.balance_delta };
                (gains < SUMMED_MAX).then(|| Sum { write: write.clone(), gains })
            }
            Self::Fee { amount, end } => {
                let gains = U256::from(*amount);
                Some(Sum {
                    write: AccountWrite { balance_delta: gains, end: *end, ..AccountWrite::default() },
                    gains,
                })
            }
            Self::Account(_) | Self::Slot(_) => None,
            Self::Sequence(sequence) => sequence.sum.clone(),
        }
    }
}

impl Sequence {
    /// The writes, in order.
    pub(crate) fn parts(&self) -> &[EvmWrite] {
        &self.parts
    }

    /// One write in place of all of them, for an account with this balance.
    pub(crate) fn sum_for(&self, balance: U256) -> Option<&AccountWrite> {
        let sum = self.sum.as_ref()?;
        balance.checked_add(sum.gains).map(|_| &sum.write)
    }

    fn push(&mut self, write: EvmWrite) {
        self.sum = self.sum.take().zip(write.sum()).and_then(|(mut sum, second)| {
            sum.write.then(&second.write);
            sum.gains = sum.gains.checked_add(second.gains)?;
            Some(sum)
        });
        self.parts.push(write);
    }
}

/// What an entry does to an account: relative for the balance, absolute for the rest.
#[derive(Debug, Clone, Default)]
pub(crate) struct AccountWrite {
    /// Added to the balance, modulo 2^256: a debit is the two's complement of its amount.
    pub(crate) balance_delta: U256,
    pub(crate) nonce: Option<u64>,
    pub(crate) end: End,
    /// What few writes do.
    pub(crate) rare: Option<Box<RareWrite>>,
}

/// What an entry seldom does to an account.
#[derive(Debug, Clone, Default)]
pub(crate) struct RareWrite {
    /// The account was created or destroyed: all its earlier storage is gone.
    pub(crate) resets_storage: bool,
    /// What the protocol credits at a block's end, added as far as the balance can hold it.
    pub(crate) credit: U256,
    pub(crate) code: Option<(B256, Bytecode)>,
}

/// What becomes of an account at the end of a transaction that touched it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum End {
    /// It is removed if it is empty ([EIP-161](https://eips.ethereum.org/EIPS/eip-161)).
    #[default]
    ClearIfEmpty,
    /// It exists, empty or not: the rule before EIP-161.
    Exists,
    /// It is gone.
    Destroyed,
}

impl End {
    /// Removes the account if it may not stay.
    fn settle(self, value: &mut Option<AccountValue>) {
        let stays = |value: &AccountValue| match self {
            Self::Exists => true,
            Self::ClearIfEmpty => !value.account.is_empty(),
            Self::Destroyed => false,
        };
        if !value.as_ref().is_some_and(stays) {
            *value = None;
        }
    }
}

/// Adds a fee to the balance if that can hold it.
pub(crate) fn apply_fee(amount: u128, end: End, value: &mut Option<AccountValue>) {
    let target = value.get_or_insert(AccountValue { account: Account::EMPTY, code: None });
    let balance = &mut target.account.balance;
    *balance = balance.checked_add(U256::from(amount)).unwrap_or(*balance);
    end.settle(value);
}

impl AccountWrite {
    pub(crate) fn apply(&self, value: &mut Option<AccountValue>) {
        if self.end == End::Destroyed {
            *value = None;
            return;
        }
        let target = value.get_or_insert(AccountValue { account: Account::EMPTY, code: None });
        let account = &mut target.account;
        account.balance = account.balance.wrapping_add(self.balance_delta);
        if let Some(nonce) = self.nonce {
            account.nonce = nonce;
        }
        if let Some(RareWrite { credit, code, .. }) = self.rare.as_deref() {
            account.balance = account.balance.saturating_add(*credit);
            if let Some((hash, code)) = code {
                account.code_hash = *hash;
                target.code = Some(code.clone());
            }
        }
        self.end.settle(value);
    }

    /// Whether only balance and nonce change.
    pub(crate) fn is_plain(&self) -> bool {
        self.end != End::Destroyed && self.rare.is_none()
    }

    /// Adds a plain write behind this plain one. An account that this one leaves empty may be gone or not: what is
    /// added to it comes to the same.
    fn then(&mut self, second: &Self) {
        self.balance_delta = self.balance_delta.wrapping_add(second.balance_delta);
        self.nonce = second.nonce.or(self.nonce);
        self.end = second.end;
    }

    /// Whether only the balance is written, so that hardly any reader is disturbed.
    pub(crate) fn is_relative(&self) -> bool {
        self.end != End::Destroyed
            && self.rare.as_ref().is_none_or(|rare| !rare.resets_storage && rare.code.is_none())
    }

    pub(crate) fn resets_storage(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.resets_storage)
    }
}
