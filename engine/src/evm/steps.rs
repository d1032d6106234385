use crate::{Block, BlockError, Ommer, chain::ChainSpec};
use alloy_eips::{
    eip2935::HISTORY_STORAGE_ADDRESS,
    eip4788::BEACON_ROOTS_ADDRESS,
    eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_TYPE},
    eip7251::{CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_TYPE},
};
use alloy_evm::{
    EvmEnv,
    block::{
        calc,
        system_calls::{
            BUILDER_DEPOSIT_REQUEST_PREDEPLOY_ADDRESS, BUILDER_DEPOSIT_REQUEST_TYPE,
            BUILDER_EXIT_REQUEST_PREDEPLOY_ADDRESS, BUILDER_EXIT_REQUEST_TYPE,
        },
    },
};
use alloy_hardforks::{EthereumHardfork, EthereumHardforks};
use alloy_primitives::{Address, Bytes, U256};
use revm::primitives::hardfork::SpecId;

/// One entry of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The header lacks what its fork demands: the block is refused here.
    Refuse(BlockError),
    /// The DAO's ether goes to its refund contract, before anything else in the block
    /// ([EIP-779](https://eips.ethereum.org/EIPS/eip-779)).
    DaoRefund,
    /// A call that the protocol makes, before or after the transactions.
    SystemCall(SystemCall),
    /// The transaction with this index.
    Transaction(usize),
    /// Credits at the block's end: rewards, withdrawals.
    Credits,
}

/// A system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SystemCall {
    pub(crate) contract: Address,
    pub(crate) input: Bytes,
    pub(crate) kind: SystemCallKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SystemCallKind {
    /// Before the transactions: whatever it returns is fine.
    Begin,
    /// After the transactions: it returns requests of this type.
    Requests(u8),
}

/// A block with its environment and its entries.
#[derive(Debug)]
pub(crate) struct PreparedBlock {
    pub(crate) block: std::sync::Arc<Block>,
    pub(crate) env: EvmEnv,
    pub(crate) steps: Vec<Step>,
}

impl PreparedBlock {
    pub(crate) fn new(chain: &ChainSpec, block: std::sync::Arc<Block>) -> Self {
        let env = chain.evm_env(&block.header);
        let steps = steps(chain, &block, env.cfg_env.spec);
        Self { block, env, steps }
    }
}

fn steps(chain: &ChainSpec, block: &Block, spec: SpecId) -> Vec<Step> {
    let header = &block.header;
    let is_genesis = header.number == 0;
    // Beyond that its reward would be negative, or more than a whole one.
    let stray = block.ommers.iter().find_map(|ommer| match ommer {
        Ommer::Known { number, .. } if !is_ommer_number(*number, header.number) => Some(*number),
        _ => None,
    });
    if let Some(number) = stray {
        return vec![Step::Refuse(BlockError::HeaderField {
            field: "ommers",
            value: format!("one numbered {number}"),
            expected: "at most six blocks before this one",
        })];
    }
    let mut steps = Vec::with_capacity(block.transactions.len() + 6);
    if chain.ethereum_fork_activation(EthereumHardfork::Dao).transitions_at_block(header.number) {
        steps.push(Step::DaoRefund);
    }
    if !chain.makes_system_calls() {
        steps.extend((0..block.transactions.len()).map(Step::Transaction));
        steps.push(Step::Credits);
        return steps;
    }
    // EIP-2935: the parent's hash into its contract.
    if spec.is_enabled_in(SpecId::PRAGUE) && !is_genesis {
        let input = header.parent_hash.0.into();
        steps.push(begin_call(HISTORY_STORAGE_ADDRESS, input));
    }
    // EIP-4788: the parent beacon block's root into its contract.
    if spec.is_enabled_in(SpecId::CANCUN) {
        match header.parent_beacon_block_root {
            None => steps.push(Step::Refuse(BlockError::HeaderField {
                field: "parentBeaconBlockRoot",
                value: "missing".into(),
                expected: "a root, from Cancun on",
            })),
            Some(root) if is_genesis && !root.is_zero() => {
                steps.push(Step::Refuse(BlockError::HeaderField {
                    field: "parentBeaconBlockRoot",
                    value: root.to_string(),
                    expected: "zero in a genesis block",
                }));
            }
            Some(_) if is_genesis => {}
            Some(root) => steps.push(begin_call(BEACON_ROOTS_ADDRESS, root.0.into())),
        }
    }
    steps.extend((0..block.transactions.len()).map(Step::Transaction));
    if spec.is_enabled_in(SpecId::PRAGUE) {
        steps.push(request_call(WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_TYPE));
        steps.push(request_call(CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_TYPE));
    }
    // EIP-8282.
    if chain.is_amsterdam_active_at_timestamp(header.timestamp) {
        steps.push(request_call(BUILDER_DEPOSIT_REQUEST_PREDEPLOY_ADDRESS, BUILDER_DEPOSIT_REQUEST_TYPE));
        steps.push(request_call(BUILDER_EXIT_REQUEST_PREDEPLOY_ADDRESS, BUILDER_EXIT_REQUEST_TYPE));
    }
    steps.push(Step::Credits);
    steps
}

/// Whether an uncle with this number may stand in a block ([Yellow Paper, section 11.1][yp]).
///
/// [yp]: https://ethereum.github.io/yellowpaper/paper.pdf
fn is_ommer_number(ommer: u64, block: u64) -> bool {
    block.checked_sub(ommer).is_some_and(|distance| (1..=6).contains(&distance))
}

fn begin_call(contract: Address, input: Bytes) -> Step {
    Step::SystemCall(SystemCall { contract, input, kind: SystemCallKind::Begin })
}

fn request_call(contract: Address, request_type: u8) -> Step {
    Step::SystemCall(SystemCall {
        contract,
        input: Bytes::new(),
        kind: SystemCallKind::Requests(request_type),
    })
}

/// Rewards for miner and uncles ([Yellow Paper, section 11.3][yp]) and withdrawals: account and wei, in order.
///
/// [yp]: https://ethereum.github.io/yellowpaper/paper.pdf
pub(crate) fn credits(chain: &ChainSpec, block: &Block) -> Vec<(Address, U256)> {
    let header = &block.header;
    let mut credits = Vec::with_capacity(block.ommers.len() + 1 + block.withdrawals.len());
    let base = chain.pays_block_rewards().then(|| calc::base_block_reward(chain, header.number)).flatten();
    if let Some(base) = base {
        for ommer in &block.ommers {
            if let Ommer::Known { beneficiary, number } = ommer {
                credits.push((*beneficiary, U256::from(calc::ommer_reward(base, header.number, *number))));
            }
        }
        credits.push((header.beneficiary, U256::from(calc::block_reward(base, block.ommers.len()))));
    }
    if chain.is_shanghai_active_at_timestamp(header.timestamp) {
        let withdrawals = block.withdrawals.iter();
        credits.extend(withdrawals.map(|withdrawal| (withdrawal.address, withdrawal.amount_wei())));
    }
    credits
}
