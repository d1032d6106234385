//! Random transfers between many accounts: who pays whom is a function of numbers alone.

use super::StoresError;
use crate::root::World;
use alloy_primitives::{Address, B256, U256, keccak256, map::HashMap};
use citius_hashing::Hasher;
use citius_state::{
    Account, AccountChange, ChangeSet,
    ssmt::{Ssmt, SsmtConfig},
};
use serde::Serialize;
use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher as _},
    path::Path,
    sync::Arc,
};

/// How many accounts there are, and what commits do to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Transfers {
    /// Accounts.
    pub accounts: u32,
    /// Transfers of one commit. Each reads two accounts and writes both.
    pub transfers: u32,
    /// Commits.
    pub commits: u32,
    /// Accounts that come into being in one commit while the state is filled, in no order.
    pub filled_at_a_time: u32,
}

/// What an account was, and what it is after a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    /// Whose account it is.
    pub address: Address,
    /// The hash of its address: the key in every contender.
    pub key: B256,
    /// What it was.
    pub before: Option<Account>,
    /// What it is now.
    pub after: Account,
}

/// A commit, its writes sorted by key.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Its number, from 1 on, those that fill the state included.
    pub number: u64,
    /// Ethereum's state root after it, for those who are told.
    pub root: B256,
    /// What it writes, each account once.
    pub writes: Vec<Write>,
}

/// What a commit is to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Ethereum's state root.
    pub root: B256,
    /// A digest of the accounts written.
    pub digest: u64,
}

const EXPECTED_BYTES: usize = 40;
/// What everybody has to give.
const BALANCE: u64 = 1 << 50;

impl Transfers {
    /// The commits that fill the state.
    #[must_use]
    pub fn fills(&self) -> u32 {
        self.accounts.div_ceil(self.filled_at_a_time.max(1))
    }

    /// An account as the state is filled with it.
    #[must_use]
    pub fn filled(account: u32) -> Account {
        Account { balance: U256::from(BALANCE + u64::from(account)), ..Account::EMPTY }
    }

    /// The writes of the commit that makes some of the accounts, from 0 on.
    #[must_use]
    pub fn fill(&self, number: u32) -> Vec<Write> {
        let start = number * self.filled_at_a_time;
        let end = (start + self.filled_at_a_time).min(self.accounts);
        let made = (start..end).map(|account| {
            let address = World::address(u64::from(account));
            Write { address, key: keccak256(address), before: None, after: Self::filled(account) }
        });
        let mut writes: Vec<Write> = made.collect();
        writes.sort_unstable_by_key(|write| write.key);
        writes
    }

    /// Who pays whom in a commit, from 0 on.
    pub fn pairs(&self, commit: u32) -> impl Iterator<Item = (u32, u32)> + use<> {
        let accounts = u64::from(self.accounts.max(1));
        let start = u64::from(commit) * u64::from(self.transfers);
        (start..start + u64::from(self.transfers)).map(move |transfer| {
            let draw = |side: u64| (World::draw(2 * transfer + side) % accounts) as u32;
            (draw(0), draw(1))
        })
    }

    /// The accounts of a commit, each once, with their keys, in the order in which transfers come to them.
    #[must_use]
    pub fn touched(&self, commit: u32) -> Vec<(u32, Address, B256)> {
        let mut seen = HashMap::<u32, ()>::default();
        let all = self.pairs(commit).flat_map(|(from, to)| [from, to]);
        let each = all.filter(|account| seen.insert(*account, ()).is_none());
        let keyed = each.map(|account| {
            let address = World::address(u64::from(account));
            (account, address, keccak256(address))
        });
        keyed.collect()
    }

    /// The writes of a commit over what its accounts were: of each transfer one from the one to the other.
    #[must_use]
    pub fn apply(
        &self,
        commit: u32,
        touched: &[(u32, Address, B256)],
        before: &[Option<Account>],
    ) -> Vec<Write> {
        let mut places: HashMap<u32, usize> = HashMap::default();
        let mut writes: Vec<Write> = Vec::with_capacity(touched.len());
        for ((account, address, key), before) in touched.iter().zip(before) {
            places.insert(*account, writes.len());
            let after = before.unwrap_or(Account::EMPTY);
            writes.push(Write { address: *address, key: *key, before: *before, after });
        }
        for (from, to) in self.pairs(commit) {
            let payer = &mut writes[places[&from]].after;
            payer.nonce += 1;
            payer.balance = payer.balance.wrapping_sub(U256::ONE);
            let payee = &mut writes[places[&to]].after;
            payee.balance = payee.balance.wrapping_add(U256::ONE);
        }
        writes.sort_unstable_by_key(|write| write.key);
        writes
    }

    /// What every commit is to leave, those that fill the state first: by the trie in memory.
    ///
    /// # Errors
    ///
    /// [`StoresError::State`].
    pub fn expected(&self, workers: Arc<dyn citius_state::Workers>) -> Result<Vec<Expected>, StoresError> {
        let config = SsmtConfig { history: 0, flat_cache_bytes: 0, ..SsmtConfig::default() };
        let trie = Ssmt::new(config, Arc::new(Hasher::cpu()), workers);
        let seal = |writes: &[Write]| {
            let sealed = trie.seal(trie.head(), &Arc::new(change_set(writes)))?;
            trie.set_head(sealed.version)?;
            Ok::<_, StoresError>(Expected { root: sealed.root, digest: digest(writes) })
        };
        let mut accounts: Vec<Account> = (0..self.accounts).map(Self::filled).collect();
        let mut expected = Vec::new();
        for number in 0..self.fills() {
            expected.push(seal(&self.fill(number))?);
        }
        for commit in 0..self.commits {
            let touched = self.touched(commit);
            let before: Vec<Option<Account>> =
                touched.iter().map(|(account, ..)| Some(accounts[*account as usize])).collect();
            let writes = self.apply(commit, &touched, &before);
            let after: HashMap<B256, Account> = writes.iter().map(|write| (write.key, write.after)).collect();
            for (account, _, key) in &touched {
                accounts[*account as usize] = after[key];
            }
            expected.push(seal(&writes)?);
        }
        Ok(expected)
    }
}

/// A digest of the accounts written, in order.
#[must_use]
pub fn digest(writes: &[Write]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for Write { key, after, .. } in writes {
        (key, after).hash(&mut hasher);
    }
    hasher.finish()
}

/// The same as a block did it.
#[must_use]
pub fn change_set(writes: &[Write]) -> ChangeSet {
    let accounts = writes.iter().map(|write| AccountChange {
        address: write.address,
        before: write.before,
        after: Some(write.after),
        storage_wiped: write.before.is_none(),
        storage: Vec::new(),
    });
    ChangeSet { accounts: accounts.collect(), codes: Vec::new() }
}

/// Keeps what commits are to leave where other processes find it.
///
/// # Errors
///
/// [`StoresError::System`].
pub fn save(expected: &[Expected], path: &Path) -> Result<(), StoresError> {
    let mut bytes = Vec::with_capacity(expected.len() * EXPECTED_BYTES);
    for Expected { root, digest } in expected {
        bytes.extend_from_slice(&root[..]);
        bytes.extend_from_slice(&digest.to_le_bytes());
    }
    Ok(fs::write(path, bytes)?)
}

/// Finds it again.
///
/// # Errors
///
/// [`StoresError::System`].
pub fn saved(path: &Path) -> Result<Vec<Expected>, StoresError> {
    let bytes = fs::read(path)?;
    let (each, _) = bytes.as_chunks::<EXPECTED_BYTES>();
    let expected = each.iter().map(|bytes| {
        let mut digest = [0; 8];
        digest.copy_from_slice(&bytes[32..]);
        Expected { root: B256::from_slice(&bytes[..32]), digest: u64::from_le_bytes(digest) }
    });
    Ok(expected.collect())
}
