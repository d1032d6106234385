use super::{Draft, dealt::Draw};
use crate::{
    WorkloadSpec,
    addresses::{Addresses, Role},
    dice::Dice,
    genesis::{FUNDS_WEI, Genesis},
    plan::{self, Placement},
    workload::MAX_FEE_WEI,
};
use alloy_primitives::{Address, Bytes, U256};

/// What a transfer of ether to an account without code costs.
const GAS: u64 = 21_000;
const AMOUNT_WEI_MAX: u64 = 1_000_000_000_000_000;

/// What the conflicting transfers have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One account pays or is paid, like an exchange.
    Hub,
    /// One account pays.
    OneToMany,
    /// One account is paid.
    ManyToOne,
    /// Each recipient sends on what it got.
    Chain,
}

/// Native transfers.
#[derive(Debug)]
pub(crate) struct Transfers {
    addresses: Addresses,
    shape: Shape,
    senders: u32,
    recipients: u32,
    /// Where the chain's purse is. The links form a ring of as many accounts as there are senders.
    link: u32,
    /// What the chain's purse holds, in wei. Links other than its holder have nothing at all.
    purse: U256,
}

impl Transfers {
    pub(crate) fn new(spec: &WorkloadSpec, shape: Shape) -> Self {
        Self {
            addresses: Addresses::new(spec.seed),
            shape,
            senders: spec.accounts,
            recipients: plan::recipients(spec),
            link: 0,
            purse: FUNDS_WEI,
        }
    }

    /// Hands the purse, less the fee, to the next link.
    fn hand_on(&mut self) -> (Address, Address, U256) {
        let next = (self.link + 1) % self.senders;
        let (from, to) = (self.addresses.of(Role::Link, self.link), self.addresses.of(Role::Link, next));
        self.purse -= U256::from(u128::from(GAS) * MAX_FEE_WEI);
        self.link = next;
        (from, to, self.purse)
    }
}

/// A payment to an account without code.
pub(crate) fn payment(from: Address, to: Address, value: U256) -> Draft {
    Draft { from, to, value, data: Bytes::new(), gas_limit: GAS }
}

impl Draw for Transfers {
    fn gas_limit_max(&self) -> u64 {
        GAS
    }

    fn fill(&self, genesis: &mut Genesis) {
        for sender in 0..self.senders {
            genesis.fund(self.addresses.of(Role::Sender, sender));
        }
        for recipient in 0..self.recipients {
            genesis.fund(self.addresses.of(Role::Recipient, recipient));
        }
        genesis.fund(self.addresses.of(Role::Hub, 0));
        genesis.fund(self.addresses.of(Role::Link, self.link));
    }

    fn draft(&mut self, placement: Placement, dice: &mut Dice) -> Draft {
        let sender = self.addresses.of(Role::Sender, placement.sender);
        let recipient = self.addresses.of(Role::Recipient, placement.recipient);
        let hub = self.addresses.of(Role::Hub, 0);
        let amount = dice.amount(AMOUNT_WEI_MAX);
        let (from, to, value) = match self.shape {
            _ if !placement.is_conflicting => (sender, recipient, amount),
            Shape::Hub if dice.coin() => (hub, recipient, amount),
            Shape::Hub | Shape::ManyToOne => (sender, hub, amount),
            Shape::OneToMany => (hub, recipient, amount),
            Shape::Chain => self.hand_on(),
        };
        payment(from, to, value)
    }
}
