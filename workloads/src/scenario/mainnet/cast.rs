use crate::{
    WorkloadSpec,
    addresses::{Addresses, Role},
    artifact::{DISPERSER, PROVER, ROUTER},
    dice::Dice,
    genesis::Genesis,
    plan,
    scenario::{market, mint, token::Token},
};
use alloy_primitives::Address;

/// Exchanges, each with a wallet that pays out and is paid.
const WALLETS: u32 = 3;
/// Traders that send several swaps in a row.
const BOTS: u32 = 16;
/// Senders of airdrops and proofs.
const OPERATORS: u32 = 16;
/// Contracts that verify.
const PROVERS: u32 = 3;
/// Mint sales.
const SALES: u32 = 3;
/// Routers; each trader keeps to one.
const ROUTERS: u32 = 4;
/// Tokens besides the base token, which all pairs have on one side.
const TOKENS: u32 = 40;
/// Pairs for each token.
const VENUES: u32 = 2;

/// Who takes part, and the state that they need.
///
/// Token 0 is the base token. Every other token has pairs with it, one a venue. Everybody who trades holds all
/// tokens.
#[derive(Debug)]
pub(crate) struct Cast {
    addresses: Addresses,
    senders: u32,
    recipients: u32,
}

/// A swap's way: what goes in, and the pairs.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) token_in: Address,
    pub(crate) pairs: Vec<Address>,
}

impl Cast {
    pub(crate) fn new(spec: &WorkloadSpec) -> Self {
        Self {
            addresses: Addresses::new(spec.seed),
            senders: spec.accounts,
            recipients: plan::recipients(spec),
        }
    }

    /// An ordinary account.
    pub(crate) fn sender(&self, number: u32) -> Address {
        self.addresses.of(Role::Sender, number)
    }

    /// Any of those who send and hold tokens.
    pub(crate) fn any_sender(&self, dice: &mut Dice) -> Address {
        self.sender(dice.below(self.senders.into()) as u32)
    }

    /// A bot, one after the other, and its router.
    pub(crate) fn bot(&self, number: u32) -> (Address, Address) {
        let number = number % BOTS;
        (self.addresses.of(Role::Bot, number), self.router(number))
    }

    /// An operator, one after the other.
    pub(crate) fn operator(&self, number: u32) -> Address {
        self.addresses.of(Role::Operator, number % OPERATORS)
    }

    /// An account that does not exist, as long as each number is asked for once.
    pub(crate) fn newcomer(&self, number: u32) -> Address {
        self.addresses.of(Role::Newcomer, number)
    }

    pub(crate) fn disperser(&self) -> Address {
        self.addresses.of(Role::Disperser, 0)
    }

    /// Some prover, one more often than the next.
    pub(crate) fn any_prover(&self, dice: &mut Dice) -> Address {
        self.prover(dice.rank(PROVERS))
    }

    /// Some sale, one more often than the next.
    pub(crate) fn any_sale(&self, dice: &mut Dice) -> Address {
        self.sale(dice.rank(SALES))
    }

    fn prover(&self, number: u32) -> Address {
        self.addresses.of(Role::Prover, number)
    }

    fn sale(&self, number: u32) -> Address {
        self.addresses.of(Role::Sale, number)
    }

    fn wallet(&self, number: u32) -> Address {
        self.addresses.of(Role::Hub, number)
    }

    /// Any of those who are paid, an exchange's deposit address, say.
    pub(crate) fn recipient(&self, dice: &mut Dice) -> Address {
        self.addresses.of(Role::Recipient, dice.below(self.recipients.into()) as u32)
    }

    /// Some wallet, one more often than the next.
    pub(crate) fn any_wallet(&self, dice: &mut Dice) -> Address {
        self.wallet(dice.rank(WALLETS))
    }

    /// Some token, one more often than the next; in half the cases the base token.
    pub(crate) fn any_token(&self, dice: &mut Dice) -> Address {
        let token = if dice.coin() { 0 } else { self.paired_token(dice) };
        self.token(token)
    }

    /// The router that an account keeps to.
    pub(crate) fn router(&self, trader: u32) -> Address {
        self.addresses.of(Role::Router, trader % ROUTERS)
    }

    /// A route along so many pairs, which goes from the base token to another and back in turns.
    ///
    /// No pair follows itself: it could not pay itself.
    pub(crate) fn route(&self, hops: u32, dice: &mut Dice) -> Route {
        let mut is_at_base = hops % 2 == 1 && dice.coin();
        let mut token = self.paired_token(dice);
        let token_in = self.token(if is_at_base { 0 } else { token });
        let mut pairs = Vec::with_capacity(hops as usize);
        let mut venue = VENUES;
        for _ in 0..hops {
            if is_at_base && venue != VENUES {
                token = self.another_token(token, dice);
                venue = VENUES;
            }
            venue = if venue == VENUES { self.venue(dice) } else { (venue + 1) % VENUES };
            pairs.push(self.pair(token, venue));
            is_at_base = !is_at_base;
        }
        Route { token_in, pairs }
    }

    /// Three swaps of four go to a token's first venue.
    fn venue(&self, dice: &mut Dice) -> u32 {
        u32::from(dice.below(4) == 0)
    }

    fn paired_token(&self, dice: &mut Dice) -> u32 {
        1 + dice.rank(TOKENS)
    }

    fn another_token(&self, token: u32, dice: &mut Dice) -> u32 {
        let drawn = self.paired_token(dice);
        if drawn == token { 1 + token % TOKENS } else { drawn }
    }

    fn token(&self, number: u32) -> Address {
        self.addresses.of(Role::Token, number)
    }

    fn pair(&self, token: u32, venue: u32) -> Address {
        self.addresses.of(Role::Pair, (token - 1) * VENUES + venue)
    }
}

/// The genesis state.
impl Cast {
    /// Puts everybody who takes part into the genesis state.
    pub(crate) fn fill(&self, genesis: &mut Genesis) {
        let traders: Vec<_> = self.traders().collect();
        traders.iter().for_each(|(trader, _)| genesis.fund(*trader));
        (0..WALLETS).for_each(|wallet| genesis.fund(self.wallet(wallet)));
        (0..OPERATORS).for_each(|operator| genesis.fund(self.operator(operator)));
        (0..self.recipients)
            .for_each(|recipient| genesis.fund(self.addresses.of(Role::Recipient, recipient)));
        (0..ROUTERS).for_each(|router| genesis.deploy(self.router(router), &ROUTER));
        (0..PROVERS).for_each(|prover| genesis.deploy(self.prover(prover), &PROVER));
        (0..SALES).for_each(|sale| mint::deploy_sale(genesis, self.sale(sale)));
        genesis.deploy(self.disperser(), &DISPERSER);
        for token in 1..=TOKENS {
            for venue in 0..VENUES {
                market::deploy_pair(genesis, self.pair(token, venue), self.token(0), self.token(token));
            }
        }
        (0..=TOKENS).for_each(|token| self.fill_token(genesis, token, &traders));
    }

    /// Everybody who may swap, with the router of each.
    fn traders(&self) -> impl Iterator<Item = (Address, Address)> {
        let senders = (0..self.senders).map(|sender| (self.sender(sender), self.router(sender)));
        senders.chain((0..BOTS).map(|bot| self.bot(bot)))
    }

    fn fill_token(&self, genesis: &mut Genesis, number: u32, traders: &[(Address, Address)]) {
        let mut token = Token::deploy(genesis, self.token(number));
        for (trader, router) in traders {
            token.endow(*trader);
            token.approve(*trader, *router);
        }
        (0..WALLETS).for_each(|wallet| token.endow(self.wallet(wallet)));
        for operator in (0..OPERATORS).map(|operator| self.operator(operator)) {
            token.endow(operator);
            token.approve(operator, self.disperser());
        }
        let pairs = if number == 0 { 1..=TOKENS } else { number..=number };
        for pair in pairs.flat_map(|token| (0..VENUES).map(move |venue| (token, venue))) {
            market::endow_pair(&mut token, self.pair(pair.0, pair.1));
        }
        token.finish();
    }
}
