//! Plain payments, without the EVM: most of what it sets up is for code, and there is none.

use super::{
    handler::EvmHandler,
    machine::{EvmLocal, EvmOutput},
    observation::{AccountObservation, EvmObservation},
    stream::EvmStream,
    value::{AccountWrite, End, EvmKey, EvmValue, EvmWrite},
    writes::pay_fee,
};
use crate::scheduler::{Interrupt, LocationId, ReadId, View, Vm};
use alloy_primitives::{Address, Bytes, U256};
use citius_state::Account;
use revm::{
    context::{
        TxEnv,
        result::{EVMError, ExecutionResult, InvalidTransaction, Output, ResultGas, SuccessReason},
    },
    context_interface::{Cfg, Transaction},
    handler::{Handler, pre_execution},
    primitives::hardfork::SpecId,
    state::AccountInfo,
};

/// An account that a payment reads.
struct Party {
    read: ReadId,
    location: LocationId,
    account: Option<Account>,
}

impl EvmStream {
    /// Executes a transaction that gives an account without code no data, and leaves all others to the EVM.
    ///
    /// The result is what revm gives: its own validation, no instruction, intrinsic gas. From Amsterdam on a payment
    /// is more than that (it is logged, and its gas depends on the accounts).
    pub(super) fn pay<W: View<Self>>(
        &self,
        local: &mut EvmLocal<W>,
        tx: &TxEnv,
    ) -> Result<Option<EvmOutput>, Interrupt<Self>> {
        let context = &local.evm.ctx;
        let (sender, beneficiary) = (tx.caller, context.block.beneficiary);
        let Some(receiver) = tx.kind.to().copied() else { return Ok(None) };
        let is_special = !tx.data.is_empty()
            || tx.tx_type > 2
            || sender == receiver
            || context.cfg.spec.is_enabled_in(SpecId::AMSTERDAM)
            || local.evm.precompiles.contains(&receiver);
        if is_special {
            return Ok(None);
        }
        // In revm's order, so that of several errors the same one counts.
        let handler = EvmHandler::<W>::NEW;
        let checked = handler
            .validate_env(&mut local.evm)
            .and_then(|()| handler.validate_initial_tx_gas(&mut local.evm));
        let gas = match checked {
            Ok(gas) => gas,
            Err(EVMError::Transaction(error)) => return Ok(Some(EvmOutput::Invalid(error))),
            Err(EVMError::Header(error)) => return Ok(Some(EvmOutput::Header(error))),
            Err(_) => return Ok(None),
        };
        let from = read(Self::view(local), sender)?;
        if from.account.is_some_and(|account| account.has_code()) {
            return Ok(None);
        }
        let nonce = match check_sender(local, tx, &from) {
            Ok(nonce) => nonce,
            Err(error) => return Ok(Some(EvmOutput::Invalid(error))),
        };
        let to = read(Self::view(local), receiver)?;
        let receives = to.account.unwrap_or_default();
        let context = &local.evm.ctx;
        let (_, reservoir) = gas.initial_gas_and_reservoir(tx.gas_limit, context.cfg.tx_gas_limit_cap());
        if receives.has_code() || receives.balance.checked_add(tx.value).is_none() || reservoir != 0 {
            return Ok(None);
        }

        let spent = gas.initial_total_gas();
        let used = spent.max(gas.floor_gas());
        let base_fee = u128::from(context.block.basefee);
        let price = tx.effective_gas_price(base_fee);
        let is_london = context.cfg.spec.is_enabled_in(SpecId::LONDON);
        let tip = if is_london { price.saturating_sub(base_fee) } else { price };
        let clears_empty = context.cfg.spec.is_enabled_in(SpecId::SPURIOUS_DRAGON);
        let end = if clears_empty { End::ClearIfEmpty } else { End::Exists };

        let cost = U256::from(price) * U256::from(used) + tx.value;
        let view = Self::view(local);
        observe(view, &to, |seen, base| {
            seen.exact_code(base);
            seen.balance_at_most(U256::MAX - tx.value);
        });
        let debit = AccountWrite {
            balance_delta: cost.wrapping_neg(),
            nonce: Some(nonce),
            end,
            ..AccountWrite::default()
        };
        let credit = AccountWrite { balance_delta: tx.value, end, ..AccountWrite::default() };
        view.write(from.location, EvmWrite::Account(debit));
        view.write(to.location, EvmWrite::Account(credit));
        pay_fee(view, beneficiary, tip * u128::from(used), clears_empty)?;

        let result = ExecutionResult::Success {
            reason: SuccessReason::Stop,
            gas: ResultGas::default().with_total_gas_spent(spent).with_floor_gas(gas.floor_gas()),
            logs: Vec::new(),
            output: Output::Call(Bytes::new()),
        };
        Ok(Some(EvmOutput::Transaction(result, None)))
    }
}

/// revm's checks of nonce and funds, and what they tell of the sender; see [`EvmHandler`] for the predictions. Gives
/// the nonce after the transaction.
fn check_sender<W: View<EvmStream>>(
    local: &mut EvmLocal<W>,
    tx: &TxEnv,
    from: &Party,
) -> Result<u64, InvalidTransaction> {
    let context = &local.evm.ctx;
    let mut account = from.account.unwrap_or_default();
    let is_final = !W::OBSERVES || context.journaled_state.database.view.is_final();
    if !is_final && from.account.is_some() && account.nonce < tx.nonce {
        account.nonce = tx.nonce;
    }
    let info = AccountInfo { nonce: account.nonce, ..AccountInfo::default() };
    let checked = pre_execution::validate_account_nonce_and_code_with_components(&info, tx, &context.cfg)
        .map(|()| pre_execution::calculate_caller_fee(account.balance, tx, &context.block, &context.cfg));
    observe(EvmStream::view(local), from, |seen, _| {
        seen.exact_code(&account);
        seen.exact_nonce(&account);
        match (&checked, tx.max_balance_spending()) {
            (Ok(Ok(_)), Ok(needed)) => seen.balance_at_least(needed),
            // The nonce is wrong, whatever the balance.
            (Err(_), _) => {}
            // The error tells the balance.
            _ => seen.exact_balance(&account),
        }
    });
    checked??;
    Ok(account.nonce.saturating_add(1))
}

fn read<W: View<EvmStream>>(view: &mut W, address: Address) -> Result<Party, Interrupt<EvmStream>> {
    let (read, value) = view.read(EvmKey::Account(address), None)?;
    let EvmValue::Account(value) = value else { unreachable!("an account's location holds an account") };
    Ok(Party { read, location: view.location(read), account: value.map(|value| value.account) })
}

fn observe<W: View<EvmStream>>(
    view: &mut W,
    party: &Party,
    learn: impl FnOnce(&mut AccountObservation, &Account),
) {
    if W::OBSERVES {
        let mut seen = AccountObservation::NOTHING;
        learn(&mut seen, &party.account.unwrap_or_default());
        view.observe(party.read, EvmObservation::Account(seen));
    }
}
