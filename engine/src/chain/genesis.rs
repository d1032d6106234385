use super::ChainSpec;
use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header};
use alloy_eips::eip6110::MAINNET_DEPOSIT_CONTRACT_ADDRESS;
use alloy_genesis::{ChainConfig, GenesisAccount};
use alloy_hardforks::{EthereumHardfork, ForkCondition};
use alloy_primitives::{U256, keccak256};
use citius_state::{Account, MemoryState};
use revm::bytecode::Bytecode;
use std::collections::BTreeMap;

/// A chain's first block, read from a geth genesis file: its rules, its header, its state.
#[derive(Debug, Clone)]
pub struct Genesis {
    /// The chain's rules.
    pub chain: ChainSpec,
    /// The genesis header, less its state root (which needs a trie).
    pub header: Header,
    /// The accounts that exist from the start.
    pub state: MemoryState,
}

/// Why a genesis file was refused.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// Not a geth genesis file.
    #[error("not a geth genesis file: {source}")]
    Json {
        /// What the parser found, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A field's value cannot be right.
    #[error("genesis field `{field}` is {value}: expected {expected}")]
    Field {
        /// The field's path.
        field: &'static str,
        /// What stands there.
        value: String,
        /// What should.
        expected: &'static str,
    },
}

impl Genesis {
    /// Reads a [geth genesis file](https://geth.ethereum.org/docs/fundamentals/private-network).
    ///
    /// # Errors
    ///
    /// [`GenesisError`] if the text is no such file, the chain id is 0, or forks activate out of order.
    pub fn from_json(json: &str) -> Result<Self, GenesisError> {
        let json: serde_json::Value =
            serde_json::from_str(json).map_err(|source| GenesisError::Json { source })?;
        for field in ["config", "alloc"] {
            // The parser below would take defaults, and a chain of defaults is nobody's chain.
            if !json.get(field).is_some_and(serde_json::Value::is_object) {
                return Err(GenesisError::Field { field, value: "missing".into(), expected: "an object" });
            }
        }
        let genesis: alloy_genesis::Genesis =
            serde_json::from_value(json).map_err(|source| GenesisError::Json { source })?;
        let chain = chain_spec(&genesis.config)?;
        let header = Header {
            parent_hash: genesis.parent_hash.unwrap_or_default(),
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            beneficiary: genesis.coinbase,
            difficulty: genesis.difficulty,
            number: genesis.number.unwrap_or_default(),
            gas_limit: genesis.gas_limit,
            timestamp: genesis.timestamp,
            extra_data: genesis.extra_data.clone(),
            mix_hash: genesis.mix_hash,
            nonce: genesis.nonce.into(),
            base_fee_per_gas: genesis.base_fee_per_gas.map(u64::try_from).transpose().map_err(|_| {
                GenesisError::Field {
                    field: "baseFeePerGas",
                    value: format!("{:?}", genesis.base_fee_per_gas),
                    expected: "a number of wei below 2^64",
                }
            })?,
            excess_blob_gas: genesis.excess_blob_gas,
            blob_gas_used: genesis.blob_gas_used,
            ..Header::default()
        };
        Ok(Self { chain, header, state: state(&genesis.alloc) })
    }
}

fn state(alloc: &BTreeMap<alloy_primitives::Address, GenesisAccount>) -> MemoryState {
    let mut state = MemoryState::complete();
    for (address, account) in alloc {
        let code_hash = match &account.code {
            Some(code) if !code.is_empty() => {
                state.set_code(Bytecode::new_raw_checked(code.clone()).unwrap_or_else(|_| {
                    // Code that merely begins like a delegation is ordinary code to the EVM.
                    Bytecode::new_legacy(code.clone())
                }))
            }
            _ => keccak256([]),
        };
        let nonce = account.nonce.unwrap_or_default();
        state.set_account(*address, Account { balance: account.balance, nonce, code_hash });
        for (slot, value) in account.storage.iter().flatten() {
            state.set_storage(*address, U256::from_be_bytes(slot.0), U256::from_be_bytes(value.0));
        }
    }
    state
}

fn chain_spec(config: &ChainConfig) -> Result<ChainSpec, GenesisError> {
    if config.chain_id == 0 {
        return Err(GenesisError::Field {
            field: "config.chainId",
            value: "0".into(),
            expected: "a chain id above 0",
        });
    }
    let by_block = [
        (EthereumHardfork::Homestead, config.homestead_block),
        (EthereumHardfork::Dao, config.dao_fork_block.filter(|_| config.dao_fork_support)),
        (EthereumHardfork::Tangerine, config.eip150_block),
        (EthereumHardfork::SpuriousDragon, config.eip158_block.or(config.eip155_block)),
        (EthereumHardfork::Byzantium, config.byzantium_block),
        (EthereumHardfork::Constantinople, config.constantinople_block),
        (EthereumHardfork::Petersburg, config.petersburg_block.or(config.constantinople_block)),
        (EthereumHardfork::Istanbul, config.istanbul_block),
        (EthereumHardfork::MuirGlacier, config.muir_glacier_block),
        (EthereumHardfork::Berlin, config.berlin_block),
        (EthereumHardfork::London, config.london_block),
        (EthereumHardfork::ArrowGlacier, config.arrow_glacier_block),
        (EthereumHardfork::GrayGlacier, config.gray_glacier_block),
    ];
    let by_time = [
        (EthereumHardfork::Shanghai, config.shanghai_time),
        (EthereumHardfork::Cancun, config.cancun_time),
        (EthereumHardfork::Prague, config.prague_time),
        (EthereumHardfork::Osaka, config.osaka_time),
        (EthereumHardfork::Bpo1, config.bpo1_time),
        (EthereumHardfork::Bpo2, config.bpo2_time),
        (EthereumHardfork::Bpo3, config.bpo3_time),
        (EthereumHardfork::Bpo4, config.bpo4_time),
        (EthereumHardfork::Bpo5, config.bpo5_time),
        (EthereumHardfork::Amsterdam, config.amsterdam_time),
    ];
    check_order("config.*Block", by_block.iter().filter(|(fork, _)| *fork != EthereumHardfork::Dao))?;
    check_order("config.*Time", by_time.iter())?;

    let mut chain = ChainSpec::new(config.chain_id, [(EthereumHardfork::Frontier, ForkCondition::Block(0))]);
    for (fork, block) in by_block {
        if let Some(block) = block {
            chain = chain.with_fork(fork, ForkCondition::Block(block));
        }
    }
    // A genesis file does not say at which block proof of work ended. Chains made today begin after it.
    let is_merged = config.terminal_total_difficulty_passed
        || config.terminal_total_difficulty.is_some_and(|difficulty| difficulty.is_zero())
        || config.merge_netsplit_block.is_some()
        || config.shanghai_time.is_some();
    if is_merged {
        let block = config.merge_netsplit_block.unwrap_or_default();
        chain = chain.with_fork(EthereumHardfork::Paris, ForkCondition::Block(block));
    }
    for (fork, time) in by_time {
        if let Some(time) = time {
            chain = chain.with_fork(fork, ForkCondition::Timestamp(time));
        }
    }
    for (name, params) in &config.blob_schedule {
        let fork = name.parse::<EthereumHardfork>().map_err(|_| GenesisError::Field {
            field: "config.blobSchedule",
            value: name.clone(),
            expected: "the name of a fork",
        })?;
        if params.update_fraction == 0 {
            return Err(GenesisError::Field {
                field: "config.blobSchedule.baseFeeUpdateFraction",
                value: format!("0 ({name})"),
                expected: "more than zero: the blob fee's exponent is divided by it",
            });
        }
        chain = chain.with_blob_params(fork, *params);
    }
    Ok(chain
        .with_deposit_contract(config.deposit_contract_address.unwrap_or(MAINNET_DEPOSIT_CONTRACT_ADDRESS)))
}

/// Forks must activate in their historical order; one that is left out is skipped.
fn check_order<'a>(
    field: &'static str,
    forks: impl Iterator<Item = &'a (EthereumHardfork, Option<u64>)>,
) -> Result<(), GenesisError> {
    let mut latest: Option<(EthereumHardfork, u64)> = None;
    for (fork, at) in forks {
        let Some(at) = *at else { continue };
        if let Some((earlier, since)) = latest
            && since > at
        {
            return Err(GenesisError::Field {
                field,
                value: format!("{fork} at {at}, {earlier} at {since}"),
                expected: "forks that activate in their historical order",
            });
        }
        latest = Some((*fork, at));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::address;
    use citius_state::StateReader;
    use revm::primitives::hardfork::SpecId;

    const GENESIS: &str = r#"{
        "config": {
            "chainId": 1337, "homesteadBlock": 0, "eip150Block": 0, "eip155Block": 0, "eip158Block": 0,
            "byzantiumBlock": 0, "constantinopleBlock": 0, "petersburgBlock": 0, "istanbulBlock": 0,
            "berlinBlock": 0, "londonBlock": 0, "terminalTotalDifficulty": 0, "shanghaiTime": 0,
            "cancunTime": 1000,
            "blobSchedule": {"cancun": {"target": 1, "max": 2, "baseFeeUpdateFraction": 777}}
        },
        "gasLimit": "0x1c9c380", "difficulty": "0x0", "baseFeePerGas": "0x7",
        "alloc": {
            "0x00000000000000000000000000000000000000aa": {
                "balance": "0x10", "nonce": "0x1", "code": "0x6000",
                "storage": {"0x01": "0x02"}
            }
        }
    }"#;

    #[test]
    fn a_geth_genesis_gives_rules_and_state() {
        let genesis = Genesis::from_json(GENESIS).unwrap();
        let at = |timestamp| Header { number: 1, timestamp, ..Header::default() };
        assert_eq!(genesis.chain.chain_id(), 1337);
        assert_eq!(genesis.chain.spec_id(&at(999)), SpecId::SHANGHAI);
        assert_eq!(genesis.chain.spec_id(&at(1000)), SpecId::CANCUN);
        assert_eq!(genesis.chain.blob_params_at(1000).unwrap().update_fraction, 777);
        assert_eq!(genesis.header.base_fee_per_gas, Some(7));

        let address = address!("00000000000000000000000000000000000000aa");
        let account = genesis.state.account(address).unwrap().unwrap();
        assert_eq!((account.balance, account.nonce), (U256::from(16), 1));
        assert_eq!(genesis.state.code(account.code_hash).unwrap().original_bytes().as_ref(), [0x60, 0x00]);
        assert_eq!(genesis.state.storage(address, U256::from(1)), Ok(U256::from(2)));
    }

    #[test]
    fn forks_out_of_order_are_refused_by_name() {
        let json = GENESIS.replace("\"berlinBlock\": 0", "\"berlinBlock\": 9");
        let error = Genesis::from_json(&json).unwrap_err().to_string();
        assert!(error.contains("Berlin at 9") && error.contains("London at 0"), "{error}");
    }

    #[test]
    fn a_blob_fee_that_divides_by_zero_is_refused() {
        let text = |fraction: u32| {
            format!(
                r#"{{"config": {{"chainId": 1, "blobSchedule": {{"cancun": {{"target": 3, "max": 6, "baseFeeUpdateFraction": {fraction}}}}}}}, "difficulty": "0x0", "gasLimit": "0x1", "alloc": {{}}}}"#
            )
        };
        Genesis::from_json(&text(1)).unwrap();
        let error = Genesis::from_json(&text(0)).unwrap_err().to_string();
        assert!(error.contains("baseFeeUpdateFraction"), "{error}");
    }

    #[test]
    fn no_text_makes_it_panic() {
        for json in ["", "{}", "[]", "{\"config\":{\"chainId\":0},\"alloc\":{}}", &GENESIS[..200]] {
            assert!(Genesis::from_json(json).is_err(), "{json}");
        }
    }
}
