use super::{
    handler::EvmContext,
    stream::EvmStream,
    value::{AccountWrite, End, EvmKey, EvmWrite, RareWrite},
};
use crate::scheduler::{Interrupt, LocationId, View};
use alloy_primitives::Address;
use citius_state::Account as PlainAccount;
use revm::{primitives::hardfork::SpecId, state::Account};

/// Turns what the journal holds after an execution into writes, and clears it.
///
/// Accounts come before their slots: a reset must be in place when the slots written after it arrive.
pub(crate) fn collect<W: View<EvmStream>>(context: &mut EvmContext<W>) -> Result<(), Interrupt<EvmStream>> {
    let clears_empty = context.cfg.spec.is_enabled_in(SpecId::SPURIOUS_DRAGON);
    let journal = &mut context.journaled_state;
    let beneficiary = context.block.beneficiary;
    let mut fee = context.chain.fee.take();
    for (address, account) in &journal.inner.state {
        if !account.is_touched() {
            continue;
        }
        let id = account.info.account_id.map(|id| id.get());
        let id = match id {
            Some(id) => id,
            None => journal.database.observed.place_of(*address),
        };
        let base = journal.database.observed.accounts()[id].base;
        let location = journal.database.location(id);
        if let Some(write) = account_write(account, base.as_ref(), clears_empty) {
            journal.database.view.write(location, EvmWrite::Account(write));
        }
        if account.is_selfdestructed() {
            // Of a destroyed beneficiary the fee goes too.
            if *address == beneficiary {
                fee = None;
            }
            continue;
        }
        write_slots(&mut journal.database.view, account, location)?;
    }
    match fee {
        Some(fee) => pay_fee(&mut journal.database.view, beneficiary, fee, clears_empty),
        None => Ok(()),
    }
}

/// Credits the beneficiary. Every transaction does, and hardly any looks: nobody is to meet over it.
pub(crate) fn pay_fee<W: View<EvmStream>>(
    view: &mut W,
    beneficiary: Address,
    fee: u128,
    clears_empty: bool,
) -> Result<(), Interrupt<EvmStream>> {
    let location = view.locate(EvmKey::Account(beneficiary), None)?;
    let end = if clears_empty { End::ClearIfEmpty } else { End::Exists };
    view.write_late(location, EvmWrite::Fee { amount: fee, end });
    Ok(())
}

/// The write that leads from `base` to the account's end, `None` if there is nothing to do.
fn account_write(account: &Account, base: Option<&PlainAccount>, clears_empty: bool) -> Option<AccountWrite> {
    if account.is_selfdestructed() {
        let rare = Some(Box::new(RareWrite { resets_storage: true, ..RareWrite::default() }));
        return Some(AccountWrite { end: End::Destroyed, rare, ..AccountWrite::default() });
    }
    let before = base.copied().unwrap_or_default();
    let info = &account.info;
    let code = (info.code_hash != before.code_hash || account.is_created())
        .then(|| (info.code_hash, info.code.clone().unwrap_or_default()));
    let resets_storage = account.is_created();
    let rare = (resets_storage || code.is_some())
        .then(|| Box::new(RareWrite { resets_storage, code, ..RareWrite::default() }));
    let write = AccountWrite {
        balance_delta: info.balance.wrapping_sub(before.balance),
        nonce: (info.nonce != before.nonce || account.is_created()).then_some(info.nonce),
        rare,
        end: if clears_empty { End::ClearIfEmpty } else { End::Exists },
    };
    let changes = write.rare.is_some() || !write.balance_delta.is_zero() || write.nonce.is_some();
    // A touch alone matters before EIP-161 (it makes the account exist) and for an account that is empty and exists
    // all the same (it removes it). Whether it will be one at commit is not known here, unless it has code: code is
    // always observed where something is touched.
    let touch_matters = !clears_empty || !before.has_code();
    (changes || touch_matters).then_some(write)
}

fn write_slots<W: View<EvmStream>>(
    view: &mut W,
    account: &Account,
    location: LocationId,
) -> Result<(), Interrupt<EvmStream>> {
    for (slot, value) in &account.storage {
        // The storage of a created account is empty whatever stood there: what it holds now is all there is.
        let is_written =
            if account.is_created() { !value.present_value.is_zero() } else { value.is_changed() };
        if is_written {
            let slot = view.locate(EvmKey::Slot(location, *slot), Some(location))?;
            view.write(slot, EvmWrite::Slot(value.present_value));
        }
    }
    Ok(())
}
