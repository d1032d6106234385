use crate::dice::Dice;

/// Transactions of an exchange's wallet, in thousandths of a block's: from the first to the second.
const WALLET_PER_MILLE: [u64; 2] = [30, 77];
/// Swaps of one bot.
const BOT_SWAPS: [u64; 2] = [3, 5];
/// Bots, in thousandths of a block's transactions.
const BOTS_PER_MILLE: u64 = 12;
/// Airdrops and proofs.
const HEAVY_PER_MILLE: u64 = 12;
/// Swaps along a long route.
const LONG_SWAPS_PER_MILLE: u64 = 25;
/// Accounts that send two or three transactions.
const REPEATERS_PER_MILLE: u64 = 25;

/// How many transactions of a block are what, each number a run of one sender. They add up to the block.
#[derive(Debug)]
pub(crate) struct Mix {
    /// Airdrops and proofs.
    pub(crate) heavy: usize,
    /// Swaps along a long route.
    pub(crate) long_swaps: usize,
    /// What an exchange pays out.
    pub(crate) wallet: usize,
    /// The swaps of each bot.
    pub(crate) bots: Vec<usize>,
    /// Everyday transactions of senders that send several.
    pub(crate) repeaters: Vec<usize>,
    /// Everyday transactions of senders that send one.
    pub(crate) singles: usize,
}

impl Mix {
    /// The mix of a block of `count` transactions.
    pub(crate) fn of(count: usize, dice: &mut Dice) -> Self {
        let mut left = count;
        let mut take = |wanted: usize| {
            let taken = wanted.min(left);
            left -= taken;
            taken
        };
        let heavy = take(dice.portion(count, HEAVY_PER_MILLE));
        let long_swaps = take(dice.portion(count, LONG_SWAPS_PER_MILLE));
        let wallet_per_mille = dice.within(WALLET_PER_MILLE[0], WALLET_PER_MILLE[1]);
        let wallet = take(dice.portion(count, wallet_per_mille));
        let bots = (0..dice.portion(count, BOTS_PER_MILLE))
            .map(|_| take(dice.within(BOT_SWAPS[0], BOT_SWAPS[1]) as usize))
            .collect();
        let repeaters =
            (0..dice.portion(count, REPEATERS_PER_MILLE)).map(|_| take(dice.within(2, 3) as usize)).collect();
        Self { heavy, long_swaps, wallet, bots, repeaters, singles: left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up_to_the_block() {
        let mut dice = Dice::new(9);
        for count in (1..400).chain([10_000]) {
            let Mix { heavy, long_swaps, wallet, bots, repeaters, singles } = Mix::of(count, &mut dice);
            let runs: usize = bots.iter().chain(&repeaters).sum();
            assert_eq!(heavy + long_swaps + wallet + runs + singles, count);
        }
    }
}
