use super::{
    Draft,
    dealt::Draw,
    token::{self, Token},
};
use crate::{
    WorkloadSpec,
    addresses::{Addresses, Role},
    artifact::TOKEN,
    call_data::CallData,
    dice::Dice,
    genesis::Genesis,
    plan::{self, Placement},
};
use alloy_primitives::U256;

const GAS_LIMIT_TRANSFER: u64 = 45_000;
const GAS_LIMIT_TRANSFER_FROM: u64 = 50_000;
const AMOUNT_MAX: u64 = 1_000_000_000_000_000_000;

/// Transfers of one ERC-20 token. The hub is a holder that everybody pays and that lets everybody draw.
#[derive(Debug)]
pub(crate) struct Erc20 {
    addresses: Addresses,
    senders: u32,
    recipients: u32,
    transfer_from: [u8; 4],
}

impl Erc20 {
    pub(crate) fn new(spec: &WorkloadSpec) -> Self {
        Self {
            addresses: Addresses::new(spec.seed),
            senders: spec.accounts,
            recipients: plan::recipients(spec),
            transfer_from: TOKEN.selector("transferFrom(address,address,uint256)"),
        }
    }
}

impl Draw for Erc20 {
    fn gas_limit_max(&self) -> u64 {
        GAS_LIMIT_TRANSFER_FROM
    }

    fn fill(&self, genesis: &mut Genesis) {
        let hub = self.addresses.of(Role::Hub, 0);
        for sender in 0..self.senders {
            genesis.fund(self.addresses.of(Role::Sender, sender));
        }
        let mut token = Token::deploy(genesis, self.addresses.of(Role::Token, 0));
        token.endow(hub);
        for sender in 0..self.senders {
            let sender = self.addresses.of(Role::Sender, sender);
            token.endow(sender);
            token.approve(hub, sender);
        }
        for recipient in 0..self.recipients {
            token.endow(self.addresses.of(Role::Recipient, recipient));
        }
        token.finish();
    }

    fn draft(&mut self, placement: Placement, dice: &mut Dice) -> Draft {
        let hub = self.addresses.of(Role::Hub, 0);
        let token = self.addresses.of(Role::Token, 0);
        let sender = self.addresses.of(Role::Sender, placement.sender);
        let recipient = self.addresses.of(Role::Recipient, placement.recipient);
        let amount = dice.amount(AMOUNT_MAX);
        if placement.is_conflicting && dice.coin() {
            let call = CallData::new(self.transfer_from).address(hub).address(recipient).number(amount);
            let (data, gas_limit) = (call.finish(), GAS_LIMIT_TRANSFER_FROM);
            return Draft { from: sender, to: token, value: U256::ZERO, data, gas_limit };
        }
        let to = if placement.is_conflicting { hub } else { recipient };
        token::transfer(sender, token, to, amount, GAS_LIMIT_TRANSFER)
    }
}
