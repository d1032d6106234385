//! Plain payments, without the EVM: most of what it sets up is for code, and there is none.

use super::{
    handler::EvmHandler,
    machine::{EvmLocal, EvmOutput, EvmOutputs},
    observation::{AccountObservation, EvmObservation},
    stream::EvmStream,
    value::{AccountWrite, End, EvmKey, EvmValue, EvmWrite, apply_fee},
    writes::pay_fee,
};
use crate::scheduler::{Interrupt, LocationId, Plan, ReadId, View, Vm};
use alloy_primitives::{Address, Bytes, U256};
use citius_state::Account;
use revm::{
    context::{
        TxEnv,
        result::{ExecutionResult, Output, ResultGas, SuccessReason},
    },
    context_interface::{Cfg, Transaction},
    handler::Handler,
    primitives::hardfork::SpecId,
};
use smallvec::smallvec;

/// A transaction that gives an account without code no data: what the transaction itself, and the block, say of it.
#[derive(Debug, Clone)]
pub(crate) struct Payment {
    sender: Address,
    receiver: Address,
    beneficiary: Address,
    nonce: u64,
    /// What the sender must have, in wei.
    needed: U256,
    /// What the sender pays, the value included, in wei.
    cost: U256,
    /// What the receiver gets, in wei.
    value: U256,
    /// What the beneficiary gets, in wei.
    fee: u128,
    gas: ResultGas,
    end: End,
}

/// An account that a payment reads.
struct Party {
    read: ReadId,
    location: LocationId,
    account: Option<Account>,
}

impl EvmStream {
    /// What a transaction does that is a payment if its parties have no code; `None` if it is none, or is refused.
    ///
    /// From Amsterdam on a payment is more than that: it is logged, and its gas depends on the accounts.
    pub(super) fn payment<W: View<Self>>(local: &mut EvmLocal<W>, tx: &TxEnv) -> Option<Payment> {
        let context = &local.evm.ctx;
        let (sender, beneficiary) = (tx.caller, context.block.beneficiary);
        let receiver = tx.kind.to().copied()?;
        let is_special = !tx.data.is_empty()
            || tx.tx_type > 2
            || sender == receiver
            || tx.nonce == u64::MAX
            || context.cfg.spec.is_enabled_in(SpecId::AMSTERDAM)
            || local.evm.precompiles.contains(&receiver);
        if is_special {
            return None;
        }
        let handler = EvmHandler::<W>::NEW;
        handler.validate_env(&mut local.evm).ok()?;
        let gas = handler.validate_initial_tx_gas(&mut local.evm).ok()?;
        let context = &local.evm.ctx;
        let (_, reservoir) = gas.initial_gas_and_reservoir(tx.gas_limit, context.cfg.tx_gas_limit_cap());
        if reservoir != 0 {
            return None;
        }
        let spent = gas.initial_total_gas();
        let used = spent.max(gas.floor_gas());
        let base_fee = u128::from(context.block.basefee);
        let price = tx.effective_gas_price(base_fee);
        let is_london = context.cfg.spec.is_enabled_in(SpecId::LONDON);
        let tip = if is_london { price.saturating_sub(base_fee) } else { price };
        let clears_empty = context.cfg.spec.is_enabled_in(SpecId::SPURIOUS_DRAGON);
        Some(Payment {
            sender,
            receiver,
            beneficiary,
            nonce: tx.nonce,
            needed: tx.max_balance_spending().ok()?,
            cost: U256::from(price) * U256::from(used) + tx.value,
            value: tx.value,
            fee: tip * u128::from(used),
            gas: ResultGas::default().with_total_gas_spent(spent).with_floor_gas(gas.floor_gas()),
            end: if clears_empty { End::ClearIfEmpty } else { End::Exists },
        })
    }

    /// Executes a payment without the EVM, and leaves all else to it.
    ///
    /// The result is what revm gives: its own validation, no instruction, intrinsic gas. Whatever is out of the ordinary
    /// is left to revm, too.
    pub(super) fn pay<W: View<Self>>(
        &self,
        local: &mut EvmLocal<W>,
        tx: &TxEnv,
    ) -> Result<Option<EvmOutput>, Interrupt<Self>> {
        let Some(payment) = Self::payment(local, tx) else { return Ok(None) };
        let view = Self::view(local);
        let from = read(view, payment.sender)?;
        let mut sender = from.account.unwrap_or_default();
        if !view.is_final() && from.account.is_some() && sender.nonce < payment.nonce {
            // The transactions before it will have made it so; see `EvmHandler`.
            sender.nonce = payment.nonce;
        }
        if !payment.is_sent_by(&sender) {
            return Ok(None);
        }
        let to = read(view, payment.receiver)?;
        if !payment.is_received_by(&to.account.unwrap_or_default()) {
            return Ok(None);
        }
        observe(view, &from, |seen| {
            seen.exact_code(&sender);
            seen.exact_nonce(&sender);
            seen.balance_at_least(payment.needed);
        });
        observe(view, &to, |seen| {
            seen.exact_code(&to.account.unwrap_or_default());
            seen.balance_at_most(U256::MAX - payment.value);
        });
        view.write(from.location, EvmWrite::Account(payment.debit()));
        view.write(to.location, EvmWrite::Account(payment.credit()));
        pay_fee(view, payment.beneficiary, payment.fee, payment.end == End::ClearIfEmpty)?;
        Ok(Some(payment.result()))
    }
}

impl Payment {
    /// revm's checks of code, nonce and funds.
    fn is_sent_by(&self, account: &Account) -> bool {
        !account.has_code() && account.nonce == self.nonce && account.balance >= self.needed
    }

    fn is_received_by(&self, account: &Account) -> bool {
        !account.has_code() && account.balance.checked_add(self.value).is_some()
    }

    fn debit(&self) -> AccountWrite {
        AccountWrite {
            balance_delta: self.cost.wrapping_neg(),
            nonce: Some(self.nonce + 1),
            end: self.end,
            ..AccountWrite::default()
        }
    }

    fn credit(&self) -> AccountWrite {
        AccountWrite { balance_delta: self.value, end: self.end, ..AccountWrite::default() }
    }

    fn result(&self) -> EvmOutput {
        let result = ExecutionResult::Success {
            reason: SuccessReason::Stop,
            gas: self.gas,
            logs: Vec::new(),
            output: Output::Call(Bytes::new()),
        };
        EvmOutput::Transaction(result, None)
    }
}

/// The sender pays, the receiver gets, the beneficiary gets its fee.
impl Plan<EvmStream> for Payment {
    fn parts(&self) -> u32 {
        3
    }

    fn key(&self, part: u32) -> EvmKey {
        EvmKey::Account(match part {
            0 => self.sender,
            1 => self.receiver,
            _ => self.beneficiary,
        })
    }

    fn suits(&self, part: u32, value: &EvmValue) -> bool {
        let has_code = value.account().is_some_and(Account::has_code);
        part > 1 || !has_code
    }

    fn act(&self, part: u32, value: &mut EvmValue) -> bool {
        let account = value.account().copied().unwrap_or_default();
        let EvmValue::Account(value) = value else { unreachable!("an account's location holds an account") };
        match part {
            0 if self.is_sent_by(&account) => self.debit().apply(value),
            1 if self.is_received_by(&account) => self.credit().apply(value),
            0 | 1 => return false,
            _ => apply_fee(self.fee, self.end, value),
        }
        true
    }

    fn output(&self) -> EvmOutputs {
        smallvec![self.result()]
    }
}

fn read<W: View<EvmStream>>(view: &mut W, address: Address) -> Result<Party, Interrupt<EvmStream>> {
    let (read, value) = view.read(EvmKey::Account(address), None)?;
    let EvmValue::Account(value) = value else { unreachable!("an account's location holds an account") };
    Ok(Party { read, location: view.location(read), account: value.map(|value| value.account) })
}

fn observe<W: View<EvmStream>>(view: &mut W, party: &Party, learn: impl FnOnce(&mut AccountObservation)) {
    if W::OBSERVES {
        let mut seen = AccountObservation::NOTHING;
        learn(&mut seen);
        view.observe(party.read, EvmObservation::Account(seen));
    }
}
