use super::CustomPrecompile;
use alloy_consensus::Header;
use alloy_eips::{eip6110::MAINNET_DEPOSIT_CONTRACT_ADDRESS, eip7840::BlobParams};
use alloy_evm::{EvmEnv, eth::spec::EthExecutorSpec};
use alloy_hardforks::{EthereumHardfork, EthereumHardforks, ForkCondition};
use alloy_primitives::{Address, address};
use revm::primitives::hardfork::SpecId;
use std::collections::BTreeMap;

/// The rules of one chain: fork activations, blob schedule, deposit contract, added precompiles.
///
/// Presets: [`ChainSpec::mainnet`], [`ChainSpec::sepolia`], [`ChainSpec::hoodi`]; other chains come from a geth
/// genesis file ([`super::Genesis`]). A caller may override any fork ([`ChainSpec::with_fork`]) and add
/// precompiles ([`ChainSpec::with_precompile`]).
#[derive(Debug, Clone)]
pub struct ChainSpec {
    chain_id: u64,
    forks: BTreeMap<EthereumHardfork, ForkCondition>,
    blob_params: BTreeMap<EthereumHardfork, BlobParams>,
    deposit_contract: Option<Address>,
    precompiles: Vec<CustomPrecompile>,
    pays_block_rewards: bool,
    makes_system_calls: bool,
}

impl ChainSpec {
    /// Ethereum mainnet.
    #[must_use]
    pub fn mainnet() -> Self {
        Self::new(1, EthereumHardfork::mainnet()).with_deposit_contract(MAINNET_DEPOSIT_CONTRACT_ADDRESS)
    }

    /// The Sepolia test network.
    #[must_use]
    pub fn sepolia() -> Self {
        Self::new(11_155_111, EthereumHardfork::sepolia())
            .with_deposit_contract(address!("7f02c3e3c98b133055b8b348b2ac625669ed295d"))
    }

    /// The Hoodi test network.
    #[must_use]
    pub fn hoodi() -> Self {
        Self::new(560_048, EthereumHardfork::hoodi()).with_deposit_contract(MAINNET_DEPOSIT_CONTRACT_ADDRESS)
    }

    /// A chain on which all rules up to and including `spec` hold from genesis on: for tests and workloads.
    #[must_use]
    pub fn with_all_forks_until(chain_id: u64, spec: SpecId) -> Self {
        let mut chain = Self::new(chain_id, []);
        for fork in EthereumHardfork::VARIANTS {
            let first = spec_of(*fork);
            if *fork == EthereumHardfork::Dao || first.is_none_or(|first| !spec.is_enabled_in(first)) {
                continue;
            }
            let at_timestamp = *fork >= EthereumHardfork::Shanghai;
            let condition = if at_timestamp { ForkCondition::Timestamp(0) } else { ForkCondition::Block(0) };
            chain = chain.with_fork(*fork, condition);
        }
        chain
    }

    /// A chain with these forks, mainnet's blob parameters and no deposit contract.
    #[must_use]
    pub fn new(chain_id: u64, forks: impl IntoIterator<Item = (EthereumHardfork, ForkCondition)>) -> Self {
        use EthereumHardfork::{Bpo1, Bpo2, Cancun, Osaka, Prague};
        Self {
            chain_id,
            forks: forks.into_iter().collect(),
            blob_params: BTreeMap::from([
                (Cancun, BlobParams::cancun()),
                (Prague, BlobParams::prague()),
                (Osaka, BlobParams::osaka()),
                (Bpo1, BlobParams::bpo1()),
                (Bpo2, BlobParams::bpo2()),
            ]),
            deposit_contract: None,
            precompiles: Vec::new(),
            pays_block_rewards: true,
            makes_system_calls: true,
        }
    }

    /// Overrides when a fork activates; [`ForkCondition::Never`] takes it away.
    #[must_use]
    pub fn with_fork(mut self, fork: EthereumHardfork, condition: ForkCondition) -> Self {
        self.forks.insert(fork, condition);
        self
    }

    /// Overrides the blob parameters that hold from a fork on ([EIP-7840](https://eips.ethereum.org/EIPS/eip-7840)).
    ///
    /// # Panics
    ///
    /// If the update fraction is zero: the blob fee's exponent is divided by it.
    #[must_use]
    pub fn with_blob_params(mut self, fork: EthereumHardfork, params: BlobParams) -> Self {
        assert_ne!(params.update_fraction, 0, "the blob fee's exponent is divided by the update fraction");
        self.blob_params.insert(fork, params);
        self
    }

    /// Sets the contract whose logs are deposit requests ([EIP-6110](https://eips.ethereum.org/EIPS/eip-6110)).
    #[must_use]
    pub fn with_deposit_contract(mut self, address: Address) -> Self {
        self.deposit_contract = Some(address);
        self
    }

    /// Adds a precompile, in force at every block; it hides the fork's own at the same address.
    #[must_use]
    pub fn with_precompile(mut self, precompile: CustomPrecompile) -> Self {
        self.precompiles.retain(|known| known.address != precompile.address);
        self.precompiles.push(precompile);
        self
    }

    /// Takes the block and ommer rewards of proof of work away: for chains that pay none (proof of authority), and
    /// for the official state tests.
    #[must_use]
    pub fn without_block_rewards(mut self) -> Self {
        self.pays_block_rewards = false;
        self
    }

    /// Takes away the calls that the protocol makes before and after a block's transactions: for the official
    /// state tests, whose states lack the contracts called.
    #[must_use]
    pub fn without_system_calls(mut self) -> Self {
        self.makes_system_calls = false;
        self
    }

    pub(crate) fn pays_block_rewards(&self) -> bool {
        self.pays_block_rewards
    }

    pub(crate) fn makes_system_calls(&self) -> bool {
        self.makes_system_calls
    }

    /// The chain id of [EIP-155](https://eips.ethereum.org/EIPS/eip-155).
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The precompiles that this chain adds.
    #[must_use]
    pub fn precompiles(&self) -> &[CustomPrecompile] {
        &self.precompiles
    }

    /// The rules that hold in a block.
    #[must_use]
    pub fn spec_id(&self, header: &Header) -> SpecId {
        alloy_evm::spec_by_timestamp_and_block_number(self, header.timestamp, header.number)
    }

    /// The blob parameters that hold in a block, `None` before Cancun.
    #[must_use]
    pub fn blob_params_at(&self, timestamp: u64) -> Option<BlobParams> {
        self.blob_params
            .iter()
            .rev()
            .find(|(fork, _)| self.is_ethereum_fork_active_at_timestamp(**fork, timestamp))
            .map(|(_, params)| *params)
    }

    /// revm's environment for a block: configuration and block fields.
    #[must_use]
    pub fn evm_env(&self, header: &Header) -> EvmEnv {
        EvmEnv::for_eth_block(header, self, self.chain_id, self.blob_params_at(header.timestamp))
    }
}

impl EthereumHardforks for ChainSpec {
    fn ethereum_fork_activation(&self, fork: EthereumHardfork) -> ForkCondition {
        self.forks.get(&fork).copied().unwrap_or(ForkCondition::Never)
    }
}

impl EthExecutorSpec for ChainSpec {
    fn deposit_contract_address(&self) -> Option<Address> {
        self.deposit_contract
    }
}

/// The revm rule set that a fork begins, `None` for forks that change no execution rule.
fn spec_of(fork: EthereumHardfork) -> Option<SpecId> {
    Some(match fork {
        EthereumHardfork::Frontier => SpecId::FRONTIER,
        EthereumHardfork::Homestead => SpecId::HOMESTEAD,
        EthereumHardfork::Tangerine => SpecId::TANGERINE,
        EthereumHardfork::SpuriousDragon => SpecId::SPURIOUS_DRAGON,
        EthereumHardfork::Byzantium => SpecId::BYZANTIUM,
        EthereumHardfork::Constantinople | EthereumHardfork::Petersburg => SpecId::PETERSBURG,
        EthereumHardfork::Istanbul => SpecId::ISTANBUL,
        EthereumHardfork::Berlin => SpecId::BERLIN,
        EthereumHardfork::London => SpecId::LONDON,
        EthereumHardfork::Paris => SpecId::MERGE,
        EthereumHardfork::Shanghai => SpecId::SHANGHAI,
        EthereumHardfork::Cancun => SpecId::CANCUN,
        EthereumHardfork::Prague => SpecId::PRAGUE,
        EthereumHardfork::Osaka => SpecId::OSAKA,
        EthereumHardfork::Amsterdam => SpecId::AMSTERDAM,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(number: u64, timestamp: u64) -> Header {
        Header { number, timestamp, ..Header::default() }
    }

    #[test]
    fn mainnet_forks_activate_where_they_did() {
        let chain = ChainSpec::mainnet();
        for (number, timestamp, spec) in [
            (1, 0, SpecId::FRONTIER),
            (1_150_000, 0, SpecId::HOMESTEAD),
            (2_463_000, 0, SpecId::TANGERINE),
            (2_675_000, 0, SpecId::SPURIOUS_DRAGON),
            (4_370_000, 0, SpecId::BYZANTIUM),
            (7_279_999, 0, SpecId::BYZANTIUM),
            (7_280_000, 0, SpecId::PETERSBURG),
            (9_069_000, 0, SpecId::ISTANBUL),
            (12_244_000, 0, SpecId::BERLIN),
            (12_965_000, 0, SpecId::LONDON),
            (15_537_393, 0, SpecId::LONDON),
            (15_537_394, 0, SpecId::MERGE),
            (17_034_870, 1_681_338_455, SpecId::SHANGHAI),
            (19_426_587, 1_710_338_135, SpecId::CANCUN),
            (22_431_084, 1_746_612_311, SpecId::PRAGUE),
            (23_935_694, 1_764_798_551, SpecId::OSAKA),
        ] {
            assert_eq!(chain.spec_id(&header(number, timestamp)), spec, "block {number}");
        }
    }

    #[test]
    fn blob_parameters_follow_the_schedule() {
        let chain = ChainSpec::mainnet();
        let fraction = |timestamp| chain.blob_params_at(timestamp).map(|params| params.update_fraction);
        assert_eq!(fraction(1_700_000_000), None);
        assert_eq!(fraction(1_720_000_000), Some(3_338_477));
        assert_eq!(fraction(1_750_000_000), Some(5_007_716));
        assert_eq!(fraction(1_765_290_071), Some(8_346_193));
        assert_eq!(fraction(1_767_747_671), Some(11_684_671));
    }

    #[test]
    fn a_fork_can_be_overridden() {
        let chain = ChainSpec::mainnet().with_fork(EthereumHardfork::Homestead, ForkCondition::Block(7));
        assert_eq!(chain.spec_id(&header(6, 0)), SpecId::FRONTIER);
        assert_eq!(chain.spec_id(&header(7, 0)), SpecId::HOMESTEAD);
    }

    #[test]
    fn all_forks_until_stops_there() {
        for spec in [SpecId::FRONTIER, SpecId::ISTANBUL, SpecId::MERGE, SpecId::CANCUN, SpecId::AMSTERDAM] {
            assert_eq!(ChainSpec::with_all_forks_until(1, spec).spec_id(&header(1, 1)), spec);
        }
    }
}
