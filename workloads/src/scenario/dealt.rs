use super::{Draft, Scenario};
use crate::{
    WorkloadSpec,
    dice::Dice,
    genesis::Genesis,
    plan::{Placement, Planner},
};

/// A kind whose transactions follow from their participants alone, one by one.
pub(crate) trait Draw {
    /// No transaction's gas limit is above this.
    fn gas_limit_max(&self) -> u64;

    /// Puts everybody who takes part into the genesis state.
    fn fill(&self, genesis: &mut Genesis);

    /// The transaction of these participants.
    fn draft(&mut self, placement: Placement, dice: &mut Dice) -> Draft;
}

/// Deals a block's participants out, then draws its transactions.
#[derive(Debug)]
struct Dealt<D> {
    planner: Planner,
    kind: D,
}

/// The scenario of a kind that draws its transactions one by one.
pub(crate) fn boxed(spec: &WorkloadSpec, kind: impl Draw + 'static) -> Box<dyn Scenario> {
    Box::new(Dealt { planner: Planner::new(spec), kind })
}

impl<D: Draw> Scenario for Dealt<D> {
    fn gas_limit_max(&self) -> u64 {
        self.kind.gas_limit_max()
    }

    fn fill(&self, genesis: &mut Genesis) {
        self.kind.fill(genesis);
    }

    fn block(&mut self, dice: &mut Dice) -> Vec<Draft> {
        let placements = self.planner.block(dice);
        placements.into_iter().map(|placement| self.kind.draft(placement, dice)).collect()
    }
}
