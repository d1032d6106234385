use super::{Draft, dealt::Draw};
use crate::{
    WorkloadSpec,
    addresses::{Addresses, Role},
    artifact::MINT_SALE,
    call_data::CallData,
    dice::Dice,
    genesis::Genesis,
    plan::Placement,
};
use alloy_primitives::{Address, U256};

const GAS_LIMIT_BASE: u64 = 80_000;
const GAS_LIMIT_PER_ITEM: u64 = 26_000;
const PRICE_WEI: u64 = 10_000_000_000_000_000;
const QUANTITY_MAX: u64 = 3;

/// Mints of consecutive tokens. Conflicting ones buy from one sale, each of the others from its own.
///
/// Sale `i` belongs to lane `i`, the one after them is shared.
#[derive(Debug)]
pub(crate) struct MintRush {
    addresses: Addresses,
    senders: u32,
    lanes: u32,
}

impl MintRush {
    pub(crate) fn new(spec: &WorkloadSpec) -> Self {
        Self {
            addresses: Addresses::new(spec.seed),
            senders: spec.accounts,
            lanes: spec.transactions_per_block,
        }
    }
}

fn gas_limit(quantity: u64) -> u64 {
    GAS_LIMIT_BASE + quantity * GAS_LIMIT_PER_ITEM
}

/// Puts a sale into the genesis state.
pub(crate) fn deploy_sale(genesis: &mut Genesis, sale: Address) {
    genesis.deploy(sale, &MINT_SALE);
    genesis.store(sale, MINT_SALE.place("price").key(), U256::from(PRICE_WEI));
    genesis.store(sale, MINT_SALE.place("supplyMax").key(), U256::from(u64::MAX));
    genesis.store(sale, MINT_SALE.place("quantityMax").key(), U256::from(QUANTITY_MAX));
}

/// A mint of one to three tokens.
pub(crate) fn mint(from: Address, sale: Address, dice: &mut Dice) -> Draft {
    let quantity = 1 + dice.below(QUANTITY_MAX);
    Draft {
        from,
        to: sale,
        value: U256::from(PRICE_WEI * quantity),
        data: CallData::new(MINT_SALE.selector("mint(uint256)")).number(U256::from(quantity)).finish(),
        gas_limit: gas_limit(quantity),
    }
}

impl Draw for MintRush {
    fn gas_limit_max(&self) -> u64 {
        gas_limit(QUANTITY_MAX)
    }

    fn fill(&self, genesis: &mut Genesis) {
        for sender in 0..self.senders {
            genesis.fund(self.addresses.of(Role::Sender, sender));
        }
        for sale in 0..=self.lanes {
            deploy_sale(genesis, self.addresses.of(Role::Sale, sale));
        }
    }

    fn draft(&mut self, placement: Placement, dice: &mut Dice) -> Draft {
        let sale = if placement.is_conflicting { self.lanes } else { placement.lane };
        let sender = self.addresses.of(Role::Sender, placement.sender);
        mint(sender, self.addresses.of(Role::Sale, sale), dice)
    }
}
