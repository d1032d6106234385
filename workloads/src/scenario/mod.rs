//! What the kinds of workload put into the genesis state and into each transaction.

mod amm;
mod dealt;
mod erc20;
mod mainnet;
mod market;
mod mint;
mod token;
mod transfers;

use crate::{WorkloadKind, WorkloadSpec, dice::Dice, genesis::Genesis};
use alloy_primitives::{Address, Bytes, U256};

/// A transaction, but for what all of them have alike.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) from: Address,
    pub(crate) to: Address,
    pub(crate) value: U256,
    pub(crate) data: Bytes,
    pub(crate) gas_limit: u64,
}

/// One kind of workload.
pub(crate) trait Scenario {
    /// No transaction's gas limit is above this.
    fn gas_limit_max(&self) -> u64;

    /// Puts everybody who takes part into the genesis state.
    fn fill(&self, genesis: &mut Genesis);

    /// The transactions of the next block, as many as the spec asks for.
    fn block(&mut self, dice: &mut Dice) -> Vec<Draft>;
}

/// The scenario of a valid spec.
pub(crate) fn of(spec: &WorkloadSpec) -> Box<dyn Scenario> {
    use transfers::Shape;
    let transfers = |shape| dealt::boxed(spec, transfers::Transfers::new(spec, shape));
    match spec.kind {
        WorkloadKind::TransfersIndependent => transfers(Shape::Hub),
        WorkloadKind::TransfersOneToMany => transfers(Shape::OneToMany),
        WorkloadKind::TransfersManyToOne => transfers(Shape::ManyToOne),
        WorkloadKind::TransfersChain => transfers(Shape::Chain),
        WorkloadKind::Erc20 => dealt::boxed(spec, erc20::Erc20::new(spec)),
        WorkloadKind::AmmPairs => dealt::boxed(spec, amm::Amm::new(spec, 1)),
        WorkloadKind::AmmClusters => dealt::boxed(spec, amm::Amm::new(spec, 2)),
        WorkloadKind::MintRush => dealt::boxed(spec, mint::MintRush::new(spec)),
        WorkloadKind::MainnetLike => Box::new(mainnet::MainnetLike::new(spec)),
    }
}
