//! Transactions that use a few to twenty per cent of a block's gas.

use crate::{
    artifact::{DISPERSER, PROVER},
    call_data::CallData,
    dice::Dice,
    scenario::Draft,
};
use alloy_primitives::{Address, U256};

/// Gas that heavy transactions are meant to use: each tenth of them lies between two neighbours.
const GAS: [u64; 11] =
    [100_000, 180_000, 260_000, 330_000, 400_000, 460_000, 540_000, 680_000, 900_000, 1_400_000, 2_500_000];

const DISPERSE_GAS: u64 = 40_000;
const DISPERSE_GAS_PER_RECIPIENT: u64 = 24_500;
const PROVE_GAS: u64 = 30_000;
const PROVE_GAS_PER_ROUND: u64 = 4_200;

/// No heavy transaction's gas limit is above this.
pub(crate) const GAS_LIMIT_MAX: u64 = gas_limit(GAS[GAS.len() - 1] + DISPERSE_GAS_PER_RECIPIENT);

/// The limit of a transaction that is meant to use so much.
const fn gas_limit(gas: u64) -> u64 {
    gas + gas / 3
}

/// What a heavy transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Computes, and reads what nobody writes.
    Proof,
    /// Writes balances that nobody else writes.
    Airdrop,
}

/// Two times of three a proof.
const SORTS: [Sort; 3] = [Sort::Proof, Sort::Proof, Sort::Airdrop];

/// Sort and tenth of heavy transactions to come. Every card is dealt once before any is dealt again: so few
/// transactions weigh so much that short streams would differ if each was drawn by itself.
#[derive(Debug, Default)]
pub(crate) struct Deck(Vec<(Sort, usize)>);

impl Deck {
    /// What the next heavy transaction is, and how much gas it is meant to use.
    pub(crate) fn deal(&mut self, dice: &mut Dice) -> (Sort, u64) {
        if self.0.is_empty() {
            self.0 =
                SORTS.into_iter().flat_map(|sort| (1..GAS.len()).map(move |tenth| (sort, tenth))).collect();
        }
        let chosen = dice.below(self.0.len() as u64) as usize;
        let (sort, tenth) = self.0.swap_remove(chosen);
        (sort, dice.within(GAS[tenth - 1], GAS[tenth]))
    }
}

/// How many recipients, who have none of the token yet, an airdrop of so much gas has.
pub(crate) const fn recipients(gas: u64) -> u64 {
    gas.saturating_sub(DISPERSE_GAS).div_ceil(DISPERSE_GAS_PER_RECIPIENT)
}

/// An airdrop of `amount` for each recipient.
pub(crate) fn disperse(
    from: Address,
    disperser: Address,
    token: Address,
    amount: U256,
    recipients: &[Address],
) -> Draft {
    let data = CallData::new(DISPERSER.selector("disperse(address,uint256,address[])"))
        .address(token)
        .number(amount)
        .number(U256::from(3 * 32))
        .address_list(recipients)
        .finish();
    let gas = DISPERSE_GAS + recipients.len() as u64 * DISPERSE_GAS_PER_RECIPIENT;
    Draft { from, to: disperser, value: U256::ZERO, data, gas_limit: gas_limit(gas) }
}

/// A proof of about so much gas.
pub(crate) fn prove(from: Address, prover: Address, gas: u64, dice: &mut Dice) -> Draft {
    let rounds = gas.saturating_sub(PROVE_GAS) / PROVE_GAS_PER_ROUND;
    let data = CallData::new(PROVER.selector("prove(uint256,uint256)"))
        .number(dice.word().into())
        .number(U256::from(rounds))
        .finish();
    Draft { from, to: prover, value: U256::ZERO, data, gas_limit: gas_limit(gas) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deck_is_dealt_out_before_it_begins_again() {
        let (mut deck, mut dice) = (Deck::default(), Dice::new(2));
        for _ in 0..3 {
            let mut dealt: Vec<_> = (0..30).map(|_| deck.deal(&mut dice)).collect();
            assert_eq!(dealt.iter().filter(|(sort, _)| *sort == Sort::Airdrop).count(), 10);
            dealt.sort_unstable_by_key(|(_, gas)| *gas);
            for (index, (_, gas)) in dealt.into_iter().enumerate() {
                assert!((GAS[index / 3]..=GAS[index / 3 + 1]).contains(&gas), "{index}: {gas}");
            }
        }
    }
}
