use crate::{machines::CHAIN_ID, state::spec_of};
use alloy_eips::eip6110::MAINNET_DEPOSIT_CONTRACT_ADDRESS;
use alloy_hardforks::{EthereumHardfork, EthereumHardforks, ForkCondition};
use alloy_primitives::U256;
use citius_engine::chain::ChainSpec;
use revm::primitives::hardfork::SpecId;

/// The rules of a network that block tests name: of one fork, or of two and when the second begins.
#[derive(Debug)]
pub(crate) struct Network {
    name: String,
    chain: ChainSpec,
    /// Rules of proof of stake, and the total difficulty that begins them. The engine takes blocks by number and
    /// time; total difficulties are known to whoever holds the chain, and two branches may reach this one at
    /// different heights.
    merged: Option<(U256, ChainSpec)>,
}

impl Network {
    /// The network of this name: `Berlin`, `BerlinToLondonAt5`, `ParisToShanghaiAtTime15k` and the like.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let network = |chain, merged| Some(Self { name: name.into(), chain, merged });
        if let Some(spec) = fork(name) {
            return network(all_until(spec), None);
        }
        let (forks, activation) = name.split_once("At")?;
        let (before, after) = forks.split_once("To")?;
        let before = all_until(fork(before)?);
        if let Some(difficulty) = activation.strip_prefix("Diff") {
            let difficulty = U256::from_str_radix(difficulty, 16).ok()?;
            return network(before, Some((difficulty, all_until(fork(after)?))));
        }
        let condition = match activation.strip_prefix("Time") {
            Some(time) => ForkCondition::Timestamp(1000 * time.strip_suffix('k')?.parse::<u64>().ok()?),
            None => ForkCondition::Block(activation.parse().ok()?),
        };
        if after == "Dao" {
            return network(before.with_fork(EthereumHardfork::Dao, condition), None);
        }
        network(activate(before, &all_until(fork(after)?), condition), None)
    }

    /// What holds for a child of a block with this total difficulty
    /// ([EIP-3675](https://eips.ethereum.org/EIPS/eip-3675)).
    pub(crate) fn phase_after(&self, total_difficulty: U256) -> Phase<'_> {
        let (chain, is_merged) = match &self.merged {
            Some((terminal, merged)) if total_difficulty >= *terminal => (merged, true),
            _ => (&self.chain, false),
        };
        Phase { network: &self.name, is_merged, chain }
    }
}

/// What the engine must know of a network to take some of its blocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phase<'a> {
    pub(crate) network: &'a str,
    /// A total difficulty was reached that began proof of stake.
    pub(crate) is_merged: bool,
    pub(crate) chain: &'a ChainSpec,
}

fn fork(name: &str) -> Option<SpecId> {
    match name {
        // It put off the difficulty bomb, and nothing else.
        "ArrowGlacier" => Some(SpecId::LONDON),
        "Merge" => Some(SpecId::MERGE),
        _ => spec_of(name).ok(),
    }
}

fn all_until(spec: SpecId) -> ChainSpec {
    ChainSpec::with_all_forks_until(CHAIN_ID, spec).with_deposit_contract(MAINNET_DEPOSIT_CONTRACT_ADDRESS)
}

/// Adds the forks that `after` has and `before` has not.
fn activate(before: ChainSpec, after: &ChainSpec, condition: ForkCondition) -> ChainSpec {
    let has = |chain: &ChainSpec, fork| chain.ethereum_fork_activation(fork) != ForkCondition::Never;
    let added: Vec<EthereumHardfork> = EthereumHardfork::VARIANTS
        .iter()
        .copied()
        .filter(|fork| has(after, *fork) && !has(&before, *fork))
        .collect();
    added.into_iter().fold(before, |chain, fork| chain.with_fork(fork, condition))
}
