use super::{Draft, dealt::Draw, token::Token};
use crate::{
    WorkloadSpec,
    addresses::{Addresses, Role},
    artifact::{PAIR, ROUTER},
    call_data::CallData,
    dice::Dice,
    genesis::Genesis,
    plan::Placement,
};
use alloy_primitives::{Address, U256, uint};

const GAS_LIMIT_BASE: u64 = 45_000;
const GAS_LIMIT_PER_HOP: u64 = 60_000;
/// Of each token in each pair: large beside the amounts swapped, so that prices hardly move.
const RESERVE: U256 = uint!(1_000_000_000_000_000_000_000_000_U256);
const AMOUNT_MAX: u64 = 1_000_000_000_000_000_000;

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
    swap: [u8; 4],
}

impl Amm {
    pub(crate) fn new(spec: &WorkloadSpec, hops: u32) -> Self {
        Self {
            addresses: Addresses::new(spec.seed),
            senders: spec.accounts,
            lanes: spec.transactions_per_block,
            clusters: spec.clusters,
            hops,
            swap: ROUTER.selector("swapExactIn(uint256,uint256,address,address[],address)"),
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

    fn fill_pair(&self, genesis: &mut Genesis, lane: u32, cluster: u32, hop: u32) {
        let pair = self.pair(lane, hop);
        let (reserve0, reserve1) = (PAIR.place("reserve0"), PAIR.place("reserve1"));
        assert_eq!(reserve0.slot, reserve1.slot, "the reserves share a slot");
        let reserves = RESERVE << (8 * reserve0.offset_bytes) | RESERVE << (8 * reserve1.offset_bytes);
        genesis.deploy(pair, &PAIR);
        genesis.store(pair, PAIR.place("token0").key(), self.token(cluster, hop).into_word().into());
        genesis.store(pair, PAIR.place("token1").key(), self.token(cluster, hop + 1).into_word().into());
        genesis.store(pair, reserve0.key(), reserves);
        genesis.store(pair, PAIR.place("unlocked").key(), U256::ONE);
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
                token.mint(self.pair(lane, hop), RESERVE);
            }
        }
        token.finish();
    }
}

impl Draw for Amm {
    fn gas_limit_max(&self) -> u64 {
        GAS_LIMIT_BASE + u64::from(self.hops) * GAS_LIMIT_PER_HOP
    }

    fn fill(&self, genesis: &mut Genesis) {
        genesis.deploy(self.router(), &ROUTER);
        for sender in 0..self.senders {
            genesis.fund(self.addresses.of(Role::Sender, sender));
        }
        for cluster in 0..self.clusters {
            for lane in self.lanes_of(cluster) {
                for hop in 0..self.hops {
                    self.fill_pair(genesis, lane, cluster, hop);
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
        let data = CallData::new(self.swap)
            .number(U256::from(AMOUNT_MAX / 2) + dice.amount(AMOUNT_MAX / 2))
            .number(U256::ONE)
            .address(token_in)
            .number(U256::from(5 * 32))
            .address(sender)
            .address_list(&route)
            .finish();
        Draft { from: sender, to: self.router(), value: U256::ZERO, data, gas_limit: self.gas_limit_max() }
    }
}
