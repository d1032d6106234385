//! Blocks with the shape of recorded ones ([`BlockShape::MAINNET`](crate::BlockShape::MAINNET)).

mod cast;
mod heavy;
mod mix;

use super::{Draft, Scenario, market, mint, token, transfers};
use crate::{WorkloadSpec, dice::Dice, genesis::Genesis};
use alloy_primitives::Address;
use cast::Cast;
use heavy::{Deck, Sort};
use mix::Mix;

/// A token transfer to somebody who has held the token.
const GAS_LIMIT_TO_HOLDER: u64 = 45_000;
/// A token transfer to somebody who has not.
const GAS_LIMIT_TO_NEWCOMER: u64 = 60_000;
const AMOUNT_MAX: u64 = 1_000_000_000_000_000_000;

/// Everyday transactions, in hundredths: payments of ether up to the first, token transfers to the second, swaps to
/// the third; the rest mints.
const EVERYDAY: [u64; 3] = [43, 74, 96];

/// Pairs on a long route, at least.
const LONG_HOPS_MIN: u32 = 5;

/// Everyday payments and trades, runs of one sender, hot pairs and wallets, and now and then something heavy.
///
/// A run is the transactions that one account sends in this block; they stand next to each other, as in recorded
/// blocks, where seven of eight transactions of the longest chain follow the one before directly.
///
/// Heavy transactions stand last. Recorded ones stand anywhere, and most recorded blocks can be spread over two lanes
/// all but perfectly, while some hardly can at all. Here every block loses a little to its end, which comes to the
/// same in the mean.
#[derive(Debug)]
pub(crate) struct MainnetLike {
    cast: Cast,
    transactions: usize,
    /// The numbers of the ordinary accounts, in the latest order.
    senders: Vec<u32>,
    /// How many of these have had their turn in the block.
    dealt: usize,
    bots: u32,
    operators: u32,
    newcomers: u32,
    deck: Deck,
}

impl MainnetLike {
    pub(crate) fn new(spec: &WorkloadSpec) -> Self {
        Self {
            cast: Cast::new(spec),
            transactions: spec.transactions_per_block as usize,
            senders: (0..spec.accounts).collect(),
            dealt: 0,
            bots: 0,
            operators: 0,
            newcomers: 0,
            deck: Deck::default(),
        }
    }

    /// The number of the next account that sends, each once a block while they last.
    fn next_sender(&mut self) -> u32 {
        let number = self.senders[self.dealt % self.senders.len()];
        self.dealt += 1;
        number
    }

    fn newcomer(&mut self) -> Address {
        self.newcomers = self.newcomers.wrapping_add(1);
        self.cast.newcomer(self.newcomers)
    }

    fn payment(&mut self, from: Address, dice: &mut Dice) -> Draft {
        let to = match dice.below(10) {
            0 => self.cast.any_wallet(dice),
            1 | 2 => self.newcomer(),
            _ => self.cast.recipient(dice),
        };
        transfers::payment(from, to, dice.amount(AMOUNT_MAX))
    }

    fn token_transfer(&mut self, from: Address, dice: &mut Dice) -> Draft {
        let token = self.cast.any_token(dice);
        let (to, gas_limit) = match dice.below(10) {
            0 | 1 => (self.cast.any_wallet(dice), GAS_LIMIT_TO_HOLDER),
            2..=5 => (self.cast.any_sender(dice), GAS_LIMIT_TO_HOLDER),
            _ => (self.newcomer(), GAS_LIMIT_TO_NEWCOMER),
        };
        token::transfer(from, token, to, dice.amount(AMOUNT_MAX), gas_limit)
    }

    fn swap(&self, from: Address, router: Address, hops: u32, dice: &mut Dice) -> Draft {
        let route = self.cast.route(hops, dice);
        market::swap(from, router, route.token_in, &route.pairs, dice)
    }

    fn everyday(&mut self, number: u32, dice: &mut Dice) -> Draft {
        let from = self.cast.sender(number);
        let drawn = dice.below(100);
        if drawn < EVERYDAY[0] {
            self.payment(from, dice)
        } else if drawn < EVERYDAY[1] {
            self.token_transfer(from, dice)
        } else if drawn < EVERYDAY[2] {
            let hops = 1 + dice.rank(3);
            self.swap(from, self.cast.router(number), hops, dice)
        } else {
            mint::mint(from, self.cast.any_sale(dice), dice)
        }
    }

    fn heavy(&mut self, dice: &mut Dice) -> Draft {
        self.operators = self.operators.wrapping_add(1);
        let from = self.cast.operator(self.operators);
        let (sort, gas) = self.deck.deal(dice);
        if sort == Sort::Proof {
            return heavy::prove(from, self.cast.any_prover(dice), gas, dice);
        }
        let recipients: Vec<_> = (0..heavy::recipients(gas)).map(|_| self.newcomer()).collect();
        let token = self.cast.any_token(dice);
        heavy::disperse(from, self.cast.disperser(), token, dice.amount(AMOUNT_MAX), &recipients)
    }

    fn long_swap(&mut self, dice: &mut Dice) -> Draft {
        let number = self.next_sender();
        let hops = LONG_HOPS_MIN + dice.rank(5);
        self.swap(self.cast.sender(number), self.cast.router(number), hops, dice)
    }

    fn wallet_run(&mut self, length: usize, dice: &mut Dice) -> Vec<Draft> {
        let from = self.cast.any_wallet(dice);
        let mut pay_out = || {
            if dice.below(3) > 0 { self.payment(from, dice) } else { self.token_transfer(from, dice) }
        };
        (0..length).map(|_| pay_out()).collect()
    }

    fn bot_run(&mut self, length: usize, dice: &mut Dice) -> Vec<Draft> {
        self.bots = self.bots.wrapping_add(1);
        let (from, router) = self.cast.bot(self.bots);
        (0..length).map(|_| self.swap(from, router, 2 + dice.rank(3), dice)).collect()
    }

    fn everyday_run(&mut self, length: usize, dice: &mut Dice) -> Vec<Draft> {
        let number = self.next_sender();
        (0..length).map(|_| self.everyday(number, dice)).collect()
    }
}

impl Scenario for MainnetLike {
    fn gas_limit_max(&self) -> u64 {
        heavy::GAS_LIMIT_MAX
    }

    fn fill(&self, genesis: &mut Genesis) {
        self.cast.fill(genesis);
    }

    fn block(&mut self, dice: &mut Dice) -> Vec<Draft> {
        let mix = Mix::of(self.transactions, dice);
        self.dealt = 0;
        dice.shuffle_front(&mut self.senders, self.transactions);
        let mut runs = vec![self.wallet_run(mix.wallet, dice)];
        runs.extend(mix.bots.iter().map(|length| self.bot_run(*length, dice)));
        runs.extend(mix.repeaters.iter().map(|length| self.everyday_run(*length, dice)));
        runs.extend((0..mix.singles).map(|_| self.everyday_run(1, dice)));
        runs.extend((0..mix.long_swaps).map(|_| vec![self.long_swap(dice)]));
        let count = runs.len();
        dice.shuffle_front(&mut runs, count);
        runs.extend((0..mix.heavy).map(|_| vec![self.heavy(dice)]));
        runs.into_iter().flatten().collect()
    }
}
