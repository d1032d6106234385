use super::{
    db::{EvmDb, Interrupted},
    hashes::Hashes,
    journal::EvmJournal,
    precompiles::EvmPrecompiles,
    stream::EvmStream,
};
use crate::scheduler::{Interrupt, View};
use alloy_primitives::{KECCAK256_EMPTY, U256};
use revm::{
    bytecode::opcode,
    context::{
        BlockEnv, CfgEnv, Context, ContextError, Evm, LocalContext, TxEnv,
        result::{EVMError, HaltReason, InvalidTransaction},
    },
    context_interface::{Block, Transaction, journaled_state::account::JournaledAccountTr},
    handler::{EthFrame, FrameResult, Handler, instructions::EthInstructions, pre_execution},
    interpreter::{
        InitialAndFloorGas, Instruction, InstructionContext, InstructionExecResult, InstructionResult,
        as_usize_or_fail, gas, instructions::control, interpreter::EthInterpreter,
        interpreter::resize_memory, popn_top,
    },
    primitives::hardfork::SpecId,
};
use std::{marker::PhantomData, sync::Arc};

/// revm's context over the scheduler's view. Transactions are shared, not copied, into it.
pub(crate) type EvmContext<W> =
    Context<BlockEnv, Arc<TxEnv>, CfgEnv, EvmDb<W>, EvmJournal<W>, Extra, LocalContext>;

/// revm's EVM over the scheduler's view.
pub(crate) type CitiusEvm<W> = Evm<
    EvmContext<W>,
    (),
    EthInstructions<EthInterpreter, EvmContext<W>>,
    EvmPrecompiles,
    EthFrame<EthInterpreter>,
>;

/// What an execution carries besides revm's own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extra {
    /// The fee that the beneficiary earned: a write of its own, for which nobody looks at its account.
    pub(crate) fee: Option<u128>,
    /// Hashes that this worker computed in this stream.
    pub(crate) hashes: Hashes,
    jumps: u32,
}

/// Jumps between two looks at whether to stop.
const JUMPS_INTERVAL: u32 = 1 << 10;

/// The fork's instructions, with jumps that notice a cancelled execution (every loop has one), and hashes that are
/// remembered.
pub(crate) fn instructions<W: View<EvmStream>>(
    spec: SpecId,
) -> EthInstructions<EthInterpreter, EvmContext<W>> {
    let mut instructions = EthInstructions::new_mainnet_with_spec(spec);
    let table = instructions.instruction_table_mut();
    table[opcode::JUMP as usize] = Instruction::new(jump::<W>);
    table[opcode::JUMPI as usize] = Instruction::new(jumpi::<W>);
    table[opcode::KECCAK256 as usize] = Instruction::new(keccak256::<W>);
    instructions
}

type Step<'a, W> = InstructionContext<'a, EvmContext<W>, EthInterpreter>;

fn jump<W: View<EvmStream>>(step: Step<'_, W>) -> InstructionExecResult {
    look_up(step.host)?;
    control::jump(step)
}

fn jumpi<W: View<EvmStream>>(step: Step<'_, W>) -> InstructionExecResult {
    look_up(step.host)?;
    control::jumpi(step)
}

/// revm's KECCAK256, but for where the hash comes from.
fn keccak256<W: View<EvmStream>>(step: Step<'_, W>) -> InstructionExecResult {
    let InstructionContext { interpreter, host } = step;
    popn_top!([offset], top, interpreter);
    let length = as_usize_or_fail!(interpreter, top);
    gas!(interpreter, host.cfg.gas_params.keccak256_cost(length));
    let hash = if length == 0 {
        KECCAK256_EMPTY
    } else {
        let offset = as_usize_or_fail!(interpreter, offset);
        let (gas, memory) = (&mut interpreter.gas, &mut interpreter.memory);
        resize_memory(gas, memory, &host.cfg.gas_params, offset, length)?;
        host.chain.hashes.keccak256(&memory.slice_len(offset, length))
    };
    *top = hash.into();
    Ok(())
}

#[inline(always)]
fn look_up<W: View<EvmStream>>(context: &mut EvmContext<W>) -> InstructionExecResult {
    context.chain.jumps = context.chain.jumps.wrapping_add(1);
    if context.chain.jumps.is_multiple_of(JUMPS_INTERVAL) {
        return stop_if_cancelled(context);
    }
    Ok(())
}

#[cold]
fn stop_if_cancelled<W: View<EvmStream>>(context: &mut EvmContext<W>) -> InstructionExecResult {
    if context.journaled_state.database.view.is_cancelled() {
        context.error = Err(ContextError::Db(Interrupted(Interrupt::Cancelled)));
        return Err(InstructionResult::FatalExternalError);
    }
    Ok(())
}

/// The mainnet handler, except where it touches sender and beneficiary: there it learns as little as it needs.
///
/// Nonce and fees are predicted: the sender's nonce is taken to be the transaction's, its balance to be enough,
/// and the beneficiary's balance is not looked at. The observations say so, and the commit checks them.
pub(crate) struct EvmHandler<W>(PhantomData<fn() -> W>);

impl<W> EvmHandler<W> {
    pub(crate) const NEW: Self = Self(PhantomData);
}

impl<W: View<EvmStream>> Handler for EvmHandler<W> {
    type Evm = CitiusEvm<W>;
    type Error = EVMError<Interrupted, InvalidTransaction>;
    type HaltReason = HaltReason;

    fn validate_against_state_and_deduct_caller(
        &self,
        evm: &mut Self::Evm,
        _gas: &mut InitialAndFloorGas,
    ) -> Result<(), Self::Error> {
        let context = &mut evm.ctx;
        let (tx, block, cfg, journal) =
            (&context.tx, &context.block, &context.cfg, &mut context.journaled_state);
        let sender = tx.caller();
        journal.load_silently(sender, true)?;
        if W::OBSERVES && !journal.database.view.is_final() {
            predict_nonce(journal, tx);
        }
        journal.learn(sender, |seen, base, _, _| {
            let base = base.copied().unwrap_or_default();
            seen.exact_code(&base);
            seen.exact_nonce(&base);
        });
        let mut account = journal.load_silently(sender, true)?;
        pre_execution::validate_account_nonce_and_code_with_components(&account.account().info, tx, cfg)?;
        let charged = pre_execution::calculate_caller_fee(*account.balance(), tx, block, cfg);
        if let Ok(balance) = &charged {
            account.set_balance(*balance);
            if tx.kind().is_call() {
                account.bump_nonce();
            }
        }
        let needed = tx.max_balance_spending();
        journal.learn(sender, |seen, base, _, _| match (&charged, needed) {
            (Ok(_), Ok(needed)) => seen.balance_at_least(needed),
            // The error tells the balance.
            _ => seen.exact_balance(&base.copied().unwrap_or_default()),
        });
        charged?;
        Ok(())
    }

    fn reimburse_caller(&self, evm: &mut Self::Evm, result: &mut FrameResult) -> Result<(), Self::Error> {
        let context = &mut evm.ctx;
        let gas = result.gas();
        let price = context.tx.effective_gas_price(u128::from(context.block.basefee()));
        let unused = gas.remaining() + gas.reservoir() + gas.refunded() as u64;
        let amount = U256::from(price.saturating_mul(u128::from(unused)));
        let sender = context.tx.caller();
        context.journaled_state.learn_credit(sender, amount);
        context.journaled_state.load_silently(sender, false)?.incr_balance(amount);
        Ok(())
    }

    fn reward_beneficiary(&self, evm: &mut Self::Evm, result: &mut FrameResult) -> Result<(), Self::Error> {
        let context = &mut evm.ctx;
        let gas = result.gas();
        let base_fee = u128::from(context.block.basefee());
        let price = context.tx.effective_gas_price(base_fee);
        let is_london = context.cfg.spec().is_enabled_in(SpecId::LONDON);
        let tip = if is_london { price.saturating_sub(base_fee) } else { price };
        let used = gas.used().saturating_sub(gas.reservoir());
        context.chain.fee = Some(tip * u128::from(used));
        Ok(())
    }
}

/// Takes the sender's nonce to be what the transaction says: its earlier transactions will have run by then.
fn predict_nonce<W: View<EvmStream>>(journal: &mut EvmJournal<W>, tx: &TxEnv) {
    let Some(account) = journal.inner.state.get_mut(&tx.caller) else { return };
    let id = account.info.account_id.map(|id| id.get());
    let tracked = journal.database.observed.get(id, tx.caller);
    // A sender that does not exist yet has nothing to pay with either.
    let Some(base) = tracked.and_then(|tracked| tracked.base.as_mut()) else { return };
    if account.info.nonce < tx.nonce {
        account.info.nonce = tx.nonce;
        base.nonce = tx.nonce;
    }
}
