use super::Draft;
use crate::{
    artifact::{Place, TOKEN},
    call_data::CallData,
    genesis::Genesis,
};
use alloy_primitives::{Address, U256, uint};

/// What every holder begins with: 10^30 units, more than the longest stream can move.
const HOLDING: U256 = uint!(1_000_000_000_000_000_000_000_000_000_000_U256);

/// An ERC-20 contract on its way into the genesis state.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    genesis: &'a mut Genesis,
    address: Address,
    supply: U256,
    balance_of: Place,
    allowance: Place,
}

impl<'a> Token<'a> {
    pub(crate) fn deploy(genesis: &'a mut Genesis, address: Address) -> Self {
        genesis.deploy(address, &TOKEN);
        let (balance_of, allowance) = (TOKEN.place("balanceOf"), TOKEN.place("allowance"));
        Self { genesis, address, supply: U256::ZERO, balance_of, allowance }
    }

    /// Gives a holder its first tokens.
    pub(crate) fn endow(&mut self, holder: Address) {
        self.mint(holder, HOLDING);
    }

    /// Gives `holder` tokens that it has none of yet.
    pub(crate) fn mint(&mut self, holder: Address, amount: U256) {
        self.genesis.store(self.address, self.balance_of.of(holder), amount);
        self.supply += amount;
    }

    /// Lets `spender` move all that `owner` has.
    pub(crate) fn approve(&mut self, owner: Address, spender: Address) {
        self.genesis.store(self.address, self.allowance.of_two(owner, spender), U256::MAX);
    }

    /// Writes down the supply.
    pub(crate) fn finish(self) {
        self.genesis.store(self.address, TOKEN.place("totalSupply").key(), self.supply);
    }
}

/// A transfer of some token.
pub(crate) fn transfer(from: Address, token: Address, to: Address, amount: U256, gas_limit: u64) -> Draft {
    let data = CallData::new(TOKEN.selector("transfer(address,uint256)")).address(to).number(amount).finish();
    Draft { from, to: token, value: U256::ZERO, data, gas_limit }
}
