use super::{
    db::EvmDb,
    handler::{CitiusEvm, EvmContext, EvmHandler, Extra, instructions},
    journal::EvmJournal,
    ledger::Ledger,
    observation::{AccountObservation, EvmObservation, NonceFact},
    precompiles::EvmPrecompiles,
    steps::{self, PreparedBlock, Step, SystemCall},
    stream::EvmStream,
    transfer::Payment,
    value::{AccountValue, AccountWrite, End, EvmKey, EvmValue, EvmWrite, RareWrite, apply_fee},
    writes,
};
use crate::{
    BlockError,
    block::PAYMENT_GAS_MAX,
    scheduler::{Change, EntryIndex, Interrupt, LocationId, View, Vm},
};
use alloy_evm::eth::dao_fork;
use alloy_primitives::{
    Address, Bloom, U256,
    map::{AddressSet, HashSet, IndexMap},
};
use citius_state::{ReadError, StateKey};
use revm::{
    context::{
        Context, Evm, FrameStack, TxEnv,
        result::{EVMError, ExecutionResult, InvalidHeader, InvalidTransaction},
    },
    context_interface::JournalTr,
    handler::{Handler, PrecompileProvider, SystemCallTx},
    primitives::hardfork::SpecId,
};
use smallvec::{SmallVec, smallvec};
use std::{convert::Infallible, ops::Range, sync::Arc, time::Duration};

/// One worker's EVM.
pub(crate) struct EvmLocal<W: View<EvmStream>> {
    pub(super) evm: CitiusEvm<W>,
    /// The segment whose environment is set.
    segment: Option<u32>,
    spec: SpecId,
}

// SAFETY: an EVM is not `Send` only because revm's shared memory buffer is an `Rc`. All clones of that `Rc` live
// in the EVM itself (its local context and its frames): none is handed out, so they move to another thread
// together, and one thread at a time touches them.
#[expect(unsafe_code, reason = "see SAFETY")]
unsafe impl<W: View<EvmStream>> Send for EvmLocal<W> {}

/// EVM memory that an EVM keeps from one transaction to the next: no transaction of 16 Mgas needs more.
const KEPT_MEMORY_BYTES: usize = 4 << 20;

/// What a step gave.
#[derive(Debug)]
pub(crate) enum EvmOutput {
    /// An executed transaction, with its logs' bloom if it has logs.
    Transaction(ExecutionResult, Option<Box<Bloom>>),
    /// A transaction that may not stand here.
    Invalid(InvalidTransaction),
    SystemCall(ExecutionResult),
    /// Rewards and withdrawals are written, or the DAO's refund.
    Credits,
    /// The header lacks something.
    Header(InvalidHeader),
    /// A precompile, or revm itself, failed in a way that no transaction can cause.
    Fatal(String),
    /// The block is refused at this step.
    Refused,
    /// The state before the stream could not be read for this step.
    Unreadable {
        step: usize,
        error: ReadError,
    },
}

impl EvmOutput {
    /// Whether the block ends here, so that nobody asks what comes after.
    fn ends_block(&self) -> bool {
        !matches!(self, Self::Transaction(..) | Self::SystemCall(_) | Self::Credits)
    }
}

/// What the steps of an entry gave, in order.
pub(crate) type EvmOutputs = SmallVec<[EvmOutput; 1]>;

impl Vm for EvmStream {
    type Key = EvmKey;
    /// The EVM reads no ranges.
    type Range = Infallible;
    type Value = EvmValue;
    type Write = EvmWrite;
    type Observation = EvmObservation;
    type Output = EvmOutputs;
    type ReadError = ReadError;
    type Refusal = BlockError;
    type Ledger = Ledger;
    type Plan = Payment;
    type Local<W: View<Self>> = EvmLocal<W>;

    fn base_value(&self, key: &EvmKey, parent: Option<&EvmKey>) -> Result<EvmValue, Interrupt<Self>> {
        match (key, parent) {
            (EvmKey::Account(address), _) => {
                if let Some(ahead) = self.ahead() {
                    ahead.note_read(&StateKey::Account(*address));
                }
                let account = self.ask(|reader| reader.account(*address))?;
                Ok(EvmValue::Account(account.map(|account| AccountValue { account, code: None })))
            }
            (EvmKey::Slot(_, slot), Some(EvmKey::Account(address))) => {
                if let Some(ahead) = self.ahead() {
                    ahead.note_read(&StateKey::Storage(*address, *slot));
                }
                Ok(EvmValue::Slot(self.ask(|reader| reader.storage(*address, *slot))?))
            }
            (EvmKey::Slot(..), _) => panic!("the parent of a slot is an account"),
        }
    }

    fn may_wait(&self) -> bool {
        self.reader_may_wait()
    }

    fn progress(&self, wait: Option<Duration>) -> bool {
        self.let_reads_go_on(wait)
    }

    fn prefetch(&self, entries: Range<u32>) {
        self.ask_ahead(entries);
    }

    fn heap_bytes_of_write(write: &EvmWrite) -> usize {
        match write {
            EvmWrite::Account(write) => {
                let code = |rare: &RareWrite| rare.code.as_ref().map_or(0, |(_, code)| code.len());
                write.rare.as_ref().map_or(0, |rare| size_of::<RareWrite>() + code(rare))
            }
            EvmWrite::Slot(_) | EvmWrite::Fee { .. } => 0,
            EvmWrite::Sequence(writes) => {
                let heap = writes.parts().iter().map(Self::heap_bytes_of_write).sum::<usize>();
                heap + size_of_val(&**writes) + size_of_val(writes.parts())
            }
        }
    }

    fn base_range(&self, range: &Infallible) -> Result<Vec<EvmKey>, ReadError> {
        match *range {}
    }

    fn in_range(range: &Infallible, _key: &EvmKey) -> bool {
        match *range {}
    }

    fn is_visible(_value: &EvmValue) -> bool {
        true
    }

    fn apply(value: &mut EvmValue, write: &EvmWrite) {
        match (value, write) {
            (value, EvmWrite::Sequence(writes)) => match value {
                EvmValue::Account(account)
                    if let Some(sum) = writes
                        .sum_for(account.as_ref().map_or(U256::ZERO, |value| value.account.balance)) =>
                {
                    sum.apply(account);
                }
                value => writes.parts().iter().for_each(|write| Self::apply(value, write)),
            },
            (EvmValue::Account(value), EvmWrite::Account(write)) => write.apply(value),
            (EvmValue::Slot(value), EvmWrite::Slot(write)) => *value = *write,
            (EvmValue::Account(value), EvmWrite::Fee { amount, end }) => apply_fee(*amount, *end, value),
            (value, write) => panic!("{write:?} is written to {value:?}"),
        }
    }

    fn merge(first: &mut EvmWrite, second: EvmWrite) {
        first.merge(second);
    }

    fn before<'a>(
        observation: EvmObservation,
        start: &EvmValue,
        writes: impl Iterator<Item = &'a EvmWrite> + Clone,
    ) -> Option<EvmObservation> {
        observation.before(start, writes)
    }

    fn is_absolute(write: &EvmWrite) -> bool {
        match write {
            EvmWrite::Account(write) => write.end == End::Destroyed,
            EvmWrite::Slot(_) => true,
            EvmWrite::Fee { .. } => false,
            EvmWrite::Sequence(writes) => writes.parts().iter().any(Self::is_absolute),
        }
    }

    fn resets_children(write: &EvmWrite) -> bool {
        match write {
            EvmWrite::Account(write) => write.resets_storage(),
            EvmWrite::Slot(_) | EvmWrite::Fee { .. } => false,
            EvmWrite::Sequence(writes) => writes.parts().iter().any(Self::resets_children),
        }
    }

    fn value_after_reset(key: &EvmKey) -> EvmValue {
        match key {
            EvmKey::Account(_) => EvmValue::Account(None),
            EvmKey::Slot(..) => EvmValue::Slot(U256::ZERO),
        }
    }

    fn is_worth_waiting_for(write: &EvmWrite) -> bool {
        match write {
            EvmWrite::Account(write) => !write.is_relative(),
            EvmWrite::Slot(_) => true,
            EvmWrite::Fee { .. } => false,
            EvmWrite::Sequence(writes) => writes.parts().iter().any(Self::is_worth_waiting_for),
        }
    }

    fn holds(observation: &EvmObservation, value: &EvmValue) -> bool {
        observation.holds(value)
    }

    fn may_come_to_hold(observation: &EvmObservation, value: &EvmValue) -> bool {
        observation.may_come_to_hold(value)
    }

    /// A transaction states its sender's nonce.
    fn holds_but_for_order(
        &self,
        entry: EntryIndex,
        key: &EvmKey,
        observation: &EvmObservation,
        value: &EvmValue,
    ) -> bool {
        match (key, observation) {
            (EvmKey::Account(address), EvmObservation::Account(seen))
                if self.sender_of(entry) == Some(*address) =>
            {
                let seen = AccountObservation { nonce: NonceFact::Any, ..seen.clone() };
                EvmObservation::Account(seen).holds(value)
            }
            _ => observation.holds(value),
        }
    }

    fn local<W: View<Self>>(&self, view: W) -> EvmLocal<W> {
        let spec = SpecId::default();
        let context: EvmContext<W> = Context {
            block: Default::default(),
            tx: Arc::new(TxEnv::default()),
            cfg: Default::default(),
            journaled_state: EvmJournal::new(EvmDb::new(view)),
            chain: Extra::default(),
            local: Default::default(),
            error: Ok(()),
        };
        let evm = Evm {
            ctx: context,
            inspector: (),
            instruction: instructions(spec),
            precompiles: EvmPrecompiles::new(spec, self.chain().precompiles().into()),
            frame_stack: FrameStack::new_prealloc(8),
        };
        EvmLocal { evm, segment: None, spec }
    }

    fn rebind<W: View<Self>>(self: &Arc<Self>, local: &mut EvmLocal<W>) {
        local.evm.ctx.journaled_state.database.rebind(Arc::clone(self));
        local.segment = None;
    }

    fn unbind<W: View<Self>>(local: &mut EvmLocal<W>) {
        local.evm.ctx.journaled_state.database.unbind();
        local.evm.ctx.chain.hashes.clear();
    }

    fn view<W: View<Self>>(local: &mut EvmLocal<W>) -> &mut W {
        &mut local.evm.ctx.journaled_state.database.view
    }

    fn execute<W: View<Self>>(
        &self,
        local: &mut EvmLocal<W>,
        entry: EntryIndex,
    ) -> Result<EvmOutputs, Interrupt<Self>> {
        let (segment, steps) = self.locate(entry);
        if steps.len() == 1 {
            return self.execute_step(local, segment, steps.start).map(|output| smallvec![output]);
        }
        let mut outputs = EvmOutputs::with_capacity(steps.len());
        for step in steps {
            let ended = self.execute_step(local, segment, step).and_then(|output| {
                let ends_block = output.ends_block();
                outputs.push(output);
                if ends_block { Ok(true) } else { Self::view(local).end_step().map(|()| false) }
            });
            match ended {
                Ok(false) => {}
                Ok(true) => break,
                // What stands before it may refuse the block with another error.
                Err(Interrupt::Read(error)) if Self::view(local).is_final() => {
                    outputs.push(EvmOutput::Unreadable { step, error });
                    break;
                }
                Err(interrupt) => return Err(interrupt),
            }
        }
        Ok(outputs)
    }

    fn plan<W: View<Self>>(&self, local: &mut EvmLocal<W>, entry: EntryIndex) -> Option<Payment> {
        let (segment, steps) = self.locate(entry);
        let prepared = self.block(segment);
        let Step::Transaction(index) = prepared.steps[steps.start] else { return None };
        debug_assert!(steps.len() == 1, "transactions share an entry only where they run ahead");
        local.enter(segment, prepared);
        let tx = &prepared.block.transactions[index].env;
        local.evm.ctx.tx = Arc::clone(tx);
        Self::payment(local, tx)
    }

    fn is_long(&self, entry: EntryIndex) -> bool {
        self.transactions_of(entry).any(|tx| tx.outline().gas_limit > PAYMENT_GAS_MAX)
    }

    fn ledger(&self) -> Ledger {
        Ledger::new(self.sink().is_some())
    }

    fn admit(&self, ledger: &Ledger, entry: EntryIndex) -> Result<(), BlockError> {
        let (segment, steps) = self.locate(entry);
        let prepared = self.block(segment);
        // The ledger itself looks at the entry's other steps.
        match &prepared.steps[steps.start] {
            Step::Transaction(index) => ledger.check_gas(prepared, *index),
            Step::Refuse(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn commit(&self, ledger: &mut Ledger, entry: EntryIndex, outputs: EvmOutputs) -> Result<(), BlockError> {
        let (segment, steps) = self.locate(entry);
        let prepared = self.block(segment);
        for (step, output) in (steps.start..).zip(outputs) {
            match output {
                EvmOutput::Unreadable { step: failed, error } => {
                    // Before a step is executed it must have room; one that is behind had it.
                    if let Step::Transaction(index) = prepared.steps[failed]
                        && failed == step
                    {
                        ledger.check_gas(prepared, index)?;
                    }
                    return Err(unreadable(prepared, failed, error));
                }
                output => ledger.commit(self, prepared, step, output)?,
            }
        }
        Ok(())
    }

    fn refuse_read(&self, entry: EntryIndex, error: ReadError) -> BlockError {
        let (segment, steps) = self.locate(entry);
        unreadable(self.block(segment), steps.start, error)
    }

    fn segment_of(&self, entry: EntryIndex) -> u32 {
        self.locate(entry).0
    }

    fn entries_of(&self, segment: u32) -> (EntryIndex, EntryIndex) {
        self.range(segment)
    }

    fn early_entries_of(&self, segment: u32) -> Vec<(EntryIndex, EntryIndex)> {
        self.early_entries(segment)
    }

    fn follows(&self, entry: EntryIndex) -> Option<EntryIndex> {
        self.before(entry)
    }

    fn note_thrown_away(&self, entry: EntryIndex) {
        self.learn(|hints| {
            let functions = self.transactions_of(entry).filter_map(|tx| tx.outline().function());
            // Of several calls of a function, it was hardly all that disturbed others.
            functions
                .collect::<HashSet<_>>()
                .into_iter()
                .for_each(|function| hints.note_thrown_away(function));
        });
    }

    fn step_count(&self, entry: EntryIndex) -> u32 {
        self.locate(entry).1.len() as u32
    }

    fn transaction_count(&self, entry: EntryIndex) -> u32 {
        self.transactions(entry).0
    }

    fn transactions_through(&self, entry: EntryIndex) -> u32 {
        self.transactions(entry).1
    }

    fn note_change(&self, ledger: &mut Ledger, change: Change<'_, Self>) -> u32 {
        ledger.changes.note(change)
    }

    fn note_again(&self, ledger: &mut Ledger, number: u32, after: &EvmValue, resets_children: bool) {
        ledger.changes.note_again(number, after, resets_children);
    }

    fn add_notes(&self, ledger: &mut Ledger, notes: Ledger) {
        ledger.changes.append(notes.changes);
    }

    fn untold(&self, ledger: &Ledger) -> usize {
        ledger.changes.untold()
    }

    fn tell(&self, ledger: &mut Ledger, segment: u32, lookup: &dyn Fn(LocationId) -> (EvmKey, EvmValue)) {
        if let Some(sink) = self.sink() {
            ledger.changes.tell(&**sink, self.block(segment).block.header.number, lookup);
        }
    }

    fn seal(&self, ledger: &mut Ledger, segment: u32, lookup: &dyn Fn(LocationId) -> (EvmKey, EvmValue)) {
        let block = self.block(segment);
        let outcome = ledger.seal(block, lookup);
        self.learn(|hints| {
            for (tx, outcome) in block.block.transactions.iter().zip(&outcome.transactions) {
                if let Some(function) = tx.outline().function() {
                    hints.note_run(function, outcome.gas_used());
                }
            }
        });
        if let Some(ahead) = self.ahead() {
            ahead.end(segment);
        }
        self.publish(outcome);
    }
}

/// The refusal of a block for whose step the state could not be read.
fn unreadable(prepared: &PreparedBlock, step: usize, error: ReadError) -> BlockError {
    let index = match prepared.steps[step] {
        Step::Transaction(index) => Some(index),
        _ => None,
    };
    BlockError::State { index, error }
}

impl EvmStream {
    fn execute_step<W: View<Self>>(
        &self,
        local: &mut EvmLocal<W>,
        segment: u32,
        step: usize,
    ) -> Result<EvmOutput, Interrupt<Self>> {
        let prepared = self.block(segment);
        local.enter(segment, prepared);
        let result = match &prepared.steps[step] {
            Step::Transaction(index) => {
                let tx = &prepared.block.transactions[*index].env;
                local.evm.ctx.tx = Arc::clone(tx);
                if let Some(output) = self.pay(local, tx)? {
                    return Ok(output);
                }
                local.run(|handler, evm| handler.run(evm)).map(|output| match output {
                    Ok(result) => {
                        let logs = result.logs();
                        let bloom =
                            (!logs.is_empty()).then(|| Box::new(local.evm.ctx.chain.hashes.bloom(logs)));
                        EvmOutput::Transaction(result, bloom)
                    }
                    Err(other) => other,
                })
            }
            Step::SystemCall(SystemCall { contract, input, .. }) => {
                // It begins with nothing warm, whatever this worker ran before; a transaction warms them again.
                local.evm.ctx.journaled_state.warm_precompiles(&AddressSet::default());
                local.evm.ctx.tx = Arc::new(TxEnv::new_system_tx(*contract, input.clone()));
                local
                    .run(|handler, evm| handler.run_system_call(evm))
                    .map(|output| output.map_or_else(|other| other, EvmOutput::SystemCall))
            }
            Step::DaoRefund => drain_dao(local).map(|()| EvmOutput::Credits),
            Step::Credits => self.write_credits(local, prepared).map(|()| EvmOutput::Credits),
            Step::Refuse(_) => Ok(EvmOutput::Refused),
        };
        local.evm.ctx.journaled_state.database.report_observations();
        if let Step::Transaction(index) = &prepared.steps[step]
            && self.ahead().is_some()
        {
            let tx = &prepared.block.transactions[*index];
            let loaded = local.evm.ctx.journaled_state.inner.state.iter();
            self.remember(tx.outline(), tx.env().caller, loaded);
        }
        local.evm.ctx.journaled_state.reset();
        local.shrink_memory();
        result
    }

    /// Writes what the protocol credits at the end of a block.
    fn write_credits<W: View<Self>>(
        &self,
        local: &mut EvmLocal<W>,
        prepared: &PreparedBlock,
    ) -> Result<(), Interrupt<Self>> {
        let mut credits = Credits::default();
        for (address, amount) in steps::credits(self.chain(), &prepared.block) {
            credits.of(address).rare.get_or_insert_default().credit += amount;
        }
        credits.write(local)
    }

    /// The sender of an entry that is one transaction.
    fn sender_of(&self, entry: EntryIndex) -> Option<Address> {
        let (segment, steps) = self.locate(entry);
        let prepared = self.block(segment);
        match prepared.steps[steps.start] {
            Step::Transaction(index) => Some(prepared.block.transactions[index].env().caller),
            _ => None,
        }
    }
}

/// What accounts receive from the protocol, in the order of its first word on each: what cannot be read is the same
/// one every time.
#[derive(Default)]
struct Credits(IndexMap<Address, AccountWrite>);

impl Credits {
    fn of(&mut self, address: Address) -> &mut AccountWrite {
        self.0.entry(address).or_default()
    }

    fn write<W: View<EvmStream>>(self, local: &mut EvmLocal<W>) -> Result<(), Interrupt<EvmStream>> {
        let clears_empty = local.spec.is_enabled_in(SpecId::SPURIOUS_DRAGON);
        let end = if clears_empty { End::ClearIfEmpty } else { End::Exists };
        let view = EvmStream::view(local);
        for (address, write) in self.0 {
            let location = view.locate(EvmKey::Account(address), None)?;
            view.write(location, EvmWrite::Account(AccountWrite { end, ..write }));
        }
        Ok(())
    }
}

/// Moves the DAO's ether to its refund contract ([EIP-779](https://eips.ethereum.org/EIPS/eip-779)).
fn drain_dao<W: View<EvmStream>>(local: &mut EvmLocal<W>) -> Result<(), Interrupt<EvmStream>> {
    let view = EvmStream::view(local);
    let mut credits = Credits::default();
    let mut drained = U256::ZERO;
    for address in dao_fork::DAO_HARDFORK_ACCOUNTS {
        let (read, value) = view.read(EvmKey::Account(address), None)?;
        let base = value.into_account().map(|value| value.account);
        if W::OBSERVES {
            let mut seen = AccountObservation::NOTHING;
            seen.everything(base.as_ref());
            view.observe(read, EvmObservation::Account(seen));
        }
        let balance = base.unwrap_or_default().balance;
        drained += balance;
        if !balance.is_zero() {
            credits.of(address).balance_delta = balance.wrapping_neg();
        }
    }
    credits.of(dao_fork::DAO_HARDFORK_BENEFICIARY).rare.get_or_insert_default().credit += drained;
    credits.write(local)
}

impl<W: View<EvmStream>> EvmLocal<W> {
    /// Gives back what a transaction with much gas, hence much memory, has left.
    fn shrink_memory(&self) {
        let mut buffer = self.evm.ctx.local.shared_memory_buffer.borrow_mut();
        if buffer.capacity() > KEPT_MEMORY_BYTES {
            *buffer = Vec::new();
        }
    }

    /// Sets a block's environment, if it is not set yet, and clears what the last execution learnt.
    fn enter(&mut self, segment: u32, prepared: &PreparedBlock) {
        let context = &mut self.evm.ctx;
        if self.segment != Some(segment) {
            self.segment = Some(segment);
            let spec = prepared.env.cfg_env.spec;
            context.cfg = prepared.env.cfg_env.clone();
            context.block = prepared.env.block_env.clone();
            let cfg = &context.cfg;
            context.journaled_state.set_spec_id(spec);
            context.journaled_state.set_eip7708_config(
                cfg.amsterdam_eip7708_disabled,
                cfg.amsterdam_eip8246_delayed_clear_disabled,
            );
            if self.spec != spec {
                self.spec = spec;
                self.evm.instruction = instructions(spec);
                PrecompileProvider::<EvmContext<W>>::set_spec(&mut self.evm.precompiles, spec);
                self.evm.ctx.journaled_state.warm_precompiles(&AddressSet::default());
            }
        }
        let context = &mut self.evm.ctx;
        context.journaled_state.database.begin(segment);
        context.chain.fee = None;
        context.error = Ok(());
    }

    /// Runs revm, and turns its errors into outputs and interrupts; after success writes are collected.
    fn run(
        &mut self,
        execute: impl FnOnce(
            &mut EvmHandler<W>,
            &mut CitiusEvm<W>,
        )
            -> Result<ExecutionResult, EVMError<super::db::Interrupted, InvalidTransaction>>,
    ) -> Result<Result<ExecutionResult, EvmOutput>, Interrupt<EvmStream>> {
        let mut handler = EvmHandler::NEW;
        match execute(&mut handler, &mut self.evm) {
            Ok(result) => {
                writes::collect(&mut self.evm.ctx)?;
                Ok(Ok(result))
            }
            Err(EVMError::Transaction(error)) => Ok(Err(EvmOutput::Invalid(error))),
            Err(EVMError::Header(error)) => Ok(Err(EvmOutput::Header(error))),
            Err(EVMError::Database(interrupted)) => Err(interrupted.0),
            Err(EVMError::Custom(reason)) => Ok(Err(EvmOutput::Fatal(reason))),
            Err(EVMError::CustomAny(error)) => Ok(Err(EvmOutput::Fatal(error.to_string()))),
        }
    }
}
