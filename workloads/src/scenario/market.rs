//! Constant-product markets and the router that swaps in them.

use super::{Draft, token::Token};
use crate::{
    artifact::{PAIR, ROUTER},
    call_data::CallData,
    dice::Dice,
    genesis::Genesis,
};
use alloy_primitives::{Address, U256, uint};

const GAS_LIMIT_BASE: u64 = 45_000;
const GAS_LIMIT_PER_HOP: u64 = 60_000;
/// Of each token in each pair: large beside the amounts swapped, so that prices hardly move.
const RESERVE: U256 = uint!(1_000_000_000_000_000_000_000_000_U256);
const AMOUNT_MAX: u64 = 1_000_000_000_000_000_000;

/// What a swap along so many pairs may use.
pub(crate) const fn gas_limit(hops: u32) -> u64 {
    GAS_LIMIT_BASE + hops as u64 * GAS_LIMIT_PER_HOP
}

/// Puts a pair into the genesis state. Its tokens owe it what [`endow_pair`] gives.
pub(crate) fn deploy_pair(genesis: &mut Genesis, pair: Address, token0: Address, token1: Address) {
    let (reserve0, reserve1) = (PAIR.place("reserve0"), PAIR.place("reserve1"));
    assert_eq!(reserve0.slot, reserve1.slot, "the reserves share a slot");
    let reserves = RESERVE << (8 * reserve0.offset_bytes) | RESERVE << (8 * reserve1.offset_bytes);
    genesis.deploy(pair, &PAIR);
    genesis.store(pair, PAIR.place("token0").key(), token0.into_word().into());
    genesis.store(pair, PAIR.place("token1").key(), token1.into_word().into());
    genesis.store(pair, reserve0.key(), reserves);
    genesis.store(pair, PAIR.place("unlocked").key(), U256::ONE);
}

/// Gives a pair its reserve of one of its tokens.
pub(crate) fn endow_pair(token: &mut Token<'_>, pair: Address) {
    token.mint(pair, RESERVE);
}

/// A swap of some `token_in` along a route that the router can go.
pub(crate) fn swap(
    from: Address,
    router: Address,
    token_in: Address,
    route: &[Address],
    dice: &mut Dice,
) -> Draft {
    let data = CallData::new(ROUTER.selector("swapExactIn(uint256,uint256,address,address[],address)"))
        .number(U256::from(AMOUNT_MAX / 2) + dice.amount(AMOUNT_MAX / 2))
        .number(U256::ONE)
        .address(token_in)
        .number(U256::from(5 * 32))
        .address(from)
        .address_list(route)
        .finish();
    Draft { from, to: router, value: U256::ZERO, data, gas_limit: gas_limit(route.len() as u32) }
}
