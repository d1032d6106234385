use super::{
    db::{EvmDb, Interrupted},
    observation::AccountObservation,
    stream::EvmStream,
};
use crate::scheduler::{Interrupt, View};
use alloy_primitives::{
    Address, B256, Log, U256,
    map::{AddressMap, AddressSet, HashSet},
};
use citius_state::Account as PlainAccount;
use revm::{
    bytecode::Bytecode,
    context::{JournalEntry, JournalInner},
    context_interface::{
        JournalTr,
        context::{SStoreResult, SelfDestructResult, StateLoad},
        journaled_state::{
            AccountInfoLoad, AccountLoad, JournalCheckpoint, JournalLoadError, TransferError,
            account::JournaledAccount,
        },
    },
    primitives::hardfork::SpecId,
    state::{Account, AccountInfo, EvmState, TransactionId},
};

/// revm's journal, which remembers what the execution learnt of each account.
///
/// All state changes are revm's own. Around each question this journal notes what its answer tells of the
/// account *before* the entry; a way of asking that it does not know counts as learning everything.
pub(crate) struct EvmJournal<W> {
    pub(crate) database: EvmDb<W>,
    pub(crate) inner: JournalInner<JournalEntry>,
    /// Accounts asked for, so that calls notice a cancelled execution now and then.
    asked: u32,
}

/// Accounts asked for between two looks at whether to stop.
const ASKS_INTERVAL: u32 = 1 << 6;

/// What a journal entry of an account says, copied out of the journal.
struct Glance {
    id: Option<usize>,
    now: PlainAccount,
    was_touched: bool,
}

fn glance(account: &Account) -> Glance {
    Glance {
        id: account.info.account_id.map(|id| id.get()),
        now: plain(&account.info),
        was_touched: account.is_touched(),
    }
}

fn plain(info: &AccountInfo) -> PlainAccount {
    PlainAccount { balance: info.balance, nonce: info.nonce, code_hash: info.code_hash }
}

impl<W: View<EvmStream>> EvmJournal<W> {
    /// Notes something learnt of an account that is loaded. Free where nobody observes.
    #[inline]
    pub(crate) fn learn(
        &mut self,
        address: Address,
        what: impl FnOnce(&mut AccountObservation, Option<&PlainAccount>, &PlainAccount, bool),
    ) {
        if !W::OBSERVES {
            return;
        }
        let Some(account) = self.inner.state.get(&address) else { return };
        let Glance { id, now, was_touched } = glance(account);
        if let Some(tracked) = self.database.observed.get(id, address) {
            what(&mut tracked.observation, tracked.base.as_ref(), &now, was_touched);
        }
    }

    fn learn_everything(&mut self, address: Address) {
        self.learn(address, |seen, base, _, _| seen.everything(base));
    }

    fn learn_emptiness(&mut self, address: Address) {
        // Before EIP-161 what counts is whether the account exists.
        let asks_existence = !self.inner.cfg.spec.is_enabled_in(SpecId::SPURIOUS_DRAGON);
        self.learn(address, |seen, base, now, touched| seen.emptiness(base, now, touched, asks_existence));
    }

    fn learn_code(&mut self, address: Address) {
        self.learn(address, |seen, base, _, _| seen.exact_code(&base.copied().unwrap_or_default()));
    }

    fn learn_balance(&mut self, address: Address) {
        self.learn(address, |seen, base, _, _| seen.exact_balance(&base.copied().unwrap_or_default()));
    }

    /// `from` has, or has not, the amount to send; `to` can, or can not, take it.
    fn learn_transfer(&mut self, from: Address, to: Address, amount: U256) {
        self.learn(from, |seen, base, now, _| {
            let base = base.copied().unwrap_or_default().balance;
            // What the entry itself added to, or took from, the balance before.
            let needed = if now.balance >= base {
                amount.saturating_sub(now.balance - base)
            } else {
                amount.saturating_add(base - now.balance)
            };
            if now.balance >= amount {
                seen.balance_at_least(needed);
            } else {
                seen.balance_at_most(needed.saturating_sub(U256::from(1)));
            }
        });
        if from == to {
            return;
        }
        self.learn_credit(to, amount);
    }

    /// The account can, or can not, hold the amount on top of what it has: beyond 2^256 wei it can not.
    pub(crate) fn learn_credit(&mut self, to: Address, amount: U256) {
        self.learn(to, |seen, base, now, _| {
            let base = base.copied().unwrap_or_default().balance;
            if now.balance.checked_add(amount).is_none() {
                // Not worth a range.
                seen.balance_at_least(base);
                seen.balance_at_most(base);
            } else if now.balance >= base {
                seen.balance_at_most(U256::MAX - amount - (now.balance - base));
            } else {
                // What the entry took from the account is room.
                seen.balance_at_most(U256::MAX - amount.saturating_sub(base - now.balance));
            }
        });
    }

    /// Every call and creation asks for an account: one that branches for ever without a jump is noticed here.
    fn stop_if_cancelled(&mut self) -> Result<(), Interrupted> {
        self.asked = self.asked.wrapping_add(1);
        if self.asked.is_multiple_of(ASKS_INTERVAL) && self.database.view.is_cancelled() {
            return Err(Interrupted(Interrupt::Cancelled));
        }
        Ok(())
    }

    /// Loads an account without learning anything of it.
    pub(crate) fn load_silently(
        &mut self,
        address: Address,
        with_code: bool,
    ) -> Result<JournaledAccount<'_, EvmDb<W>>, Interrupted> {
        self.inner
            .load_account_mut_optional_code(&mut self.database, address, with_code, false)
            .map(|load| load.data)
            .map_err(JournalLoadError::unwrap_db_error)
    }

    fn again(&mut self, address: Address, is_cold: bool) -> StateLoad<&Account> {
        StateLoad::new(&self.inner.state[&address], is_cold)
    }

    fn again_mut(&mut self, address: Address, is_cold: bool) -> StateLoad<JournaledAccount<'_, EvmDb<W>>> {
        let Some(account) = self.inner.get_account_mut(&mut self.database, address) else {
            unreachable!("{address} was just loaded")
        };
        StateLoad::new(account, is_cold)
    }

    /// Forgets everything of the last execution but its allocations.
    pub(crate) fn reset(&mut self) {
        let inner = &mut self.inner;
        inner.state.clear();
        inner.transient_storage.clear();
        inner.logs.clear();
        inner.journal.clear();
        inner.selfdestructed_addresses.clear();
        inner.depth = 0;
        inner.transaction_id = TransactionId::ZERO;
        inner.warm_addresses.clear_coinbase_and_access_list();
    }
}

impl<W: View<EvmStream>> JournalTr for EvmJournal<W> {
    type Database = EvmDb<W>;
    type State = EvmState;
    type JournaledAccount<'a>
        = JournaledAccount<'a, EvmDb<W>>
    where
        Self: 'a;

    fn new(database: EvmDb<W>) -> Self {
        Self { database, inner: JournalInner::new(), asked: 0 }
    }

    fn db_and_state(&self) -> (&EvmDb<W>, &EvmState) {
        (&self.database, &self.inner.state)
    }

    fn db_and_state_mut(&mut self) -> (&mut EvmDb<W>, &mut EvmState) {
        (&mut self.database, &mut self.inner.state)
    }

    #[inline]
    fn sload_skip_cold_load(
        &mut self,
        address: Address,
        key: U256,
        skip_cold_load: bool,
    ) -> Result<StateLoad<U256>, JournalLoadError<Interrupted>> {
        self.inner.sload_assume_account_present(&mut self.database, address, key, skip_cold_load)
    }

    #[inline]
    fn sstore_skip_cold_load(
        &mut self,
        address: Address,
        key: U256,
        value: U256,
        skip_cold_load: bool,
    ) -> Result<StateLoad<SStoreResult>, JournalLoadError<Interrupted>> {
        self.inner.sstore_assume_account_present(&mut self.database, address, key, value, skip_cold_load)
    }

    fn tload(&mut self, address: Address, key: U256) -> U256 {
        self.inner.tload(address, key)
    }

    fn tstore(&mut self, address: Address, key: U256, value: U256) {
        self.inner.tstore(address, key, value);
    }

    fn log(&mut self, log: Log) {
        self.inner.log(log);
    }

    fn take_logs(&mut self) -> Vec<Log> {
        self.inner.take_logs()
    }

    fn logs(&self) -> &[Log] {
        &self.inner.logs
    }

    fn selfdestruct(
        &mut self,
        address: Address,
        target: Address,
        skip_cold_load: bool,
    ) -> Result<StateLoad<SelfDestructResult>, JournalLoadError<Interrupted>> {
        // All of the balance moves: its exact value counts. Whether the target is empty decides on gas; by the
        // time it can be asked it may have received the balance, which `emptiness` takes into account.
        self.learn_balance(address);
        let result = self.inner.selfdestruct(&mut self.database, address, target, skip_cold_load)?;
        self.learn_emptiness(target);
        Ok(result)
    }

    fn warm_access_list(&mut self, access_list: AddressMap<HashSet<U256>>) {
        self.inner.warm_addresses.set_access_list(access_list);
    }

    fn warm_coinbase_account(&mut self, address: Address) {
        self.inner.warm_addresses.set_coinbase(address);
    }

    fn warm_precompiles(&mut self, addresses: &AddressSet) {
        self.inner.warm_addresses.set_precompile_addresses(addresses);
    }

    fn precompile_addresses(&self) -> &AddressSet {
        self.inner.warm_addresses.precompiles()
    }

    fn set_spec_id(&mut self, spec_id: SpecId) {
        self.inner.cfg.spec = spec_id;
    }

    fn set_eip7708_config(&mut self, disabled: bool, eip8246_delayed_clear_disabled: bool) {
        self.inner.set_eip7708_config(disabled, eip8246_delayed_clear_disabled);
    }

    fn touch_account(&mut self, address: Address) {
        self.inner.touch(address);
    }

    fn transfer(
        &mut self,
        from: Address,
        to: Address,
        balance: U256,
    ) -> Result<Option<TransferError>, Interrupted> {
        self.load_silently(from, false)?;
        self.load_silently(to, false)?;
        Ok(self.transfer_loaded(from, to, balance))
    }

    #[inline]
    fn transfer_loaded(&mut self, from: Address, to: Address, balance: U256) -> Option<TransferError> {
        if !balance.is_zero() {
            self.learn_transfer(from, to, balance);
        }
        self.inner.transfer_loaded(from, to, balance)
    }

    #[expect(deprecated, reason = "the trait still has it")]
    fn caller_accounting_journal_entry(&mut self, address: Address, old_balance: U256, bump_nonce: bool) {
        self.learn_everything(address);
        self.inner.caller_accounting_journal_entry(address, old_balance, bump_nonce);
    }

    fn balance_incr(&mut self, address: Address, balance: U256) -> Result<(), Interrupted> {
        self.load_silently(address, false)?;
        self.learn_everything(address);
        self.inner.balance_incr(&mut self.database, address, balance)
    }

    #[expect(deprecated, reason = "the trait still has it")]
    fn nonce_bump_journal_entry(&mut self, address: Address) {
        self.learn_everything(address);
        self.inner.nonce_bump_journal_entry(address);
    }

    fn load_account(&mut self, address: Address) -> Result<StateLoad<&Account>, Interrupted> {
        let is_cold = self.inner.load_account(&mut self.database, address)?.is_cold;
        self.learn_everything(address);
        Ok(self.again(address, is_cold))
    }

    /// Asked of a transaction's recipient, and by instructions through other methods. Before Amsterdam nobody
    /// who comes this way looks at more than the code.
    fn load_account_with_code(&mut self, address: Address) -> Result<StateLoad<&Account>, Interrupted> {
        let is_cold = self.inner.load_code(&mut self.database, address)?.is_cold;
        if self.inner.cfg.spec.is_enabled_in(SpecId::AMSTERDAM) {
            self.learn_emptiness(address);
        } else {
            self.learn_code(address);
        }
        Ok(self.again(address, is_cold))
    }

    fn code_hash(&mut self, address: Address) -> Result<StateLoad<B256>, Interrupted> {
        let load = self.load_account(address)?;
        let hash = if load.is_empty() { B256::ZERO } else { load.info.code_hash };
        Ok(StateLoad::new(hash, load.is_cold))
    }

    fn load_account_delegated(&mut self, address: Address) -> Result<StateLoad<AccountLoad>, Interrupted> {
        let load = self.inner.load_account_delegated(&mut self.database, address)?;
        self.learn_emptiness(address);
        let delegate = self.inner.state[&address].info.code.as_ref().and_then(Bytecode::eip7702_address);
        if let Some(delegate) = delegate {
            self.learn_code(delegate);
        }
        Ok(load)
    }

    fn load_account_mut_skip_cold_load(
        &mut self,
        address: Address,
        skip_cold_load: bool,
    ) -> Result<StateLoad<Self::JournaledAccount<'_>>, JournalLoadError<Interrupted>> {
        self.stop_if_cancelled()?;
        let is_cold =
            self.inner.load_account_mut_optional(&mut self.database, address, skip_cold_load)?.is_cold;
        self.learn_everything(address);
        Ok(self.again_mut(address, is_cold))
    }

    fn load_account_mut_optional_code(
        &mut self,
        address: Address,
        load_code: bool,
    ) -> Result<StateLoad<Self::JournaledAccount<'_>>, Interrupted> {
        let is_cold = self
            .inner
            .load_account_mut_optional_code(&mut self.database, address, load_code, false)
            .map_err(JournalLoadError::unwrap_db_error)?
            .is_cold;
        self.learn_everything(address);
        Ok(self.again_mut(address, is_cold))
    }

    fn set_code_with_hash(&mut self, address: Address, code: Bytecode, hash: B256) {
        self.inner.set_code_with_hash(address, code, hash);
    }

    fn checkpoint(&mut self) -> JournalCheckpoint {
        self.inner.checkpoint()
    }

    fn checkpoint_commit(&mut self) {
        self.inner.checkpoint_commit();
    }

    fn checkpoint_revert(&mut self, checkpoint: JournalCheckpoint) {
        self.inner.checkpoint_revert(checkpoint);
    }

    fn create_account_checkpoint(
        &mut self,
        caller: Address,
        address: Address,
        balance: U256,
        spec_id: SpecId,
    ) -> Result<JournalCheckpoint, TransferError> {
        // A collision is decided by nonce and code of the target. The caller was loaded, exactly, before.
        self.learn(address, |seen, base, _, _| {
            let base = base.copied().unwrap_or_default();
            seen.exact_nonce(&base);
            seen.exact_code(&base);
        });
        self.learn_transfer(caller, address, balance);
        self.inner.create_account_checkpoint(caller, address, balance, spec_id)
    }

    fn depth(&self) -> usize {
        self.inner.depth
    }

    fn commit_tx(&mut self) {
        self.inner.commit_tx();
    }

    fn discard_tx(&mut self) {
        self.inner.discard_tx();
    }

    fn finalize(&mut self) -> EvmState {
        self.inner.finalize()
    }

    #[inline]
    fn load_account_info_skip_cold_load(
        &mut self,
        address: Address,
        load_code: bool,
        skip_cold_load: bool,
    ) -> Result<AccountInfoLoad<'_>, JournalLoadError<Interrupted>> {
        self.stop_if_cancelled()?;
        let spec = self.inner.cfg.spec;
        let load =
            self.inner.load_account_optional(&mut self.database, address, load_code, skip_cold_load)?;
        let (is_cold, is_empty) = (load.is_cold, load.state_clear_aware_is_empty(spec));
        // Calls, EXTCODESIZE and EXTCODECOPY load code; they see whether the account is empty. BALANCE,
        // SELFBALANCE and EXTCODEHASH do not, and may see the balance as well.
        self.learn_emptiness(address);
        if !load_code {
            self.learn_balance(address);
        }
        Ok(AccountInfoLoad::new(&self.inner.state[&address].info, is_cold, is_empty))
    }
}
