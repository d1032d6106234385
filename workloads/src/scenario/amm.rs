use super::{Draft, dealt::Draw, market, token::Token};
use crate::{
    WorkloadSpec,
    addresses::{Addresses, Role},
    artifact::ROUTER,
    dice::Dice,
    genesis::Genesis,
    plan::Placement,
};
use alloy_primitives::Address;

/// Swaps of tokens in constant-product markets.
///
/// A cluster has a row of `hops + 1` tokens. A lane is one pair between each two neighbours of the row, and a swap
/// goes along a lane, forwards or backwards. Every cluster has one lane for its conflicting swaps, and every
/// transaction of a block has one for itself: the lanes numbered up to `lanes` are the transactions' own, those
/// after them the clusters'.
#[derive(Debug)]
pub(crate) struct Amm {
    addresses: Addresses,
    senders: u32,
    lanes: u32,
    clusters: u32,
    hops: u32,
}

impl Amm {
    pub(crate) fn new(spec: &WorkloadSpec, hops: u32) -> Self {
        Self {
            addresses: Addresses::new(spec.seed),
            senders: spec.accounts,
            lanes: spec.transactions_per_block,
            clusters: spec.clusters,
            hops,
        }
    }

    fn router(&self) -> Address {
        self.addresses.of(Role::Router, 0)
    }

    fn token(&self, cluster: u32, position: u32) -> Address {
        self.addresses.of(Role::Token, cluster * (self.hops + 1) + position)
    }

    fn pair(&self, lane: u32, hop: u32) -> Address {
        self.addresses.of(Role::Pair, lane * self.hops + hop)
    }

    /// The lanes of a cluster: its transactions' own, then its shared one.
    fn lanes_of(&self, cluster: u32) -> impl Iterator<Item = u32> + use<> {
        (cluster..self.lanes).step_by(self.clusters as usize).chain([self.lanes + cluster])
    }

    fn fill_token(&self, genesis: &mut Genesis, cluster: u32, position: u32) {
        let mut token = Token::deploy(genesis, self.token(cluster, position));
        for sender in (cluster..self.senders).step_by(self.clusters as usize) {
            let sender = self.addresses.of(Role::Sender, sender);
            token.endow(sender);
            token.approve(sender, self.router());
        }
        for lane in self.lanes_of(cluster) {
            // The token stands between the pair on its left and the pair on its right.
            let hops = position.saturating_sub(1)..=position.min(self.hops - 1);
            for hop in hops {
                market::endow_pair(&mut token, self.pair(lane, hop));
            }
        }
        token.finish();
    }
}

impl Draw for Amm {
    fn gas_limit_max(&self) -> u64 {
        market::gas_limit(self.hops)
    }

    fn fill(&self, genesis: &mut Genesis) {
        genesis.deploy(self.router(), &ROUTER);
        for sender in 0..self.senders {
            genesis.fund(self.addresses.of(Role::Sender, sender));
        }
        for cluster in 0..self.clusters {
            for lane in self.lanes_of(cluster) {
                for hop in 0..self.hops {
                    let (token0, token1) = (self.token(cluster, hop), self.token(cluster, hop + 1));
                    market::deploy_pair(genesis, self.pair(lane, hop), token0, token1);
                }
            }
            for position in 0..=self.hops {
                self.fill_token(genesis, cluster, position);
            }
        }
    }

    fn draft(&mut self, placement: Placement, dice: &mut Dice) -> Draft {
        let sender = self.addresses.of(Role::Sender, placement.sender);
        let lane = if placement.is_conflicting { self.lanes + placement.cluster } else { placement.lane };
        let mut route: Vec<_> = (0..self.hops).map(|hop| self.pair(lane, hop)).collect();
        let mut token_in = self.token(placement.cluster, 0);
        if dice.coin() {
            route.reverse();
            token_in = self.token(placement.cluster, self.hops);
        }
        market::swap(sender, self.router(), token_in, &route, dice)
    }
}
