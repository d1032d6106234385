//! Small blocks full of conflicts, with some that must be refused.

use crate::contracts::{Cast, child_of, random_contract};
use alloy_consensus::Header;
use alloy_eips::{
    eip2935::HISTORY_STORAGE_ADDRESS, eip4788::BEACON_ROOTS_ADDRESS, eip4895::Withdrawal,
    eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
    eip7702::Authorization,
};
use alloy_hardforks::{EthereumHardfork, ForkCondition};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use citius_engine::{Block, Ommer, Transaction, chain::ChainSpec};
use citius_state::{Account, MemoryState, StateKey, StateReader};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use revm::{
    bytecode::Bytecode,
    context::TxEnv,
    context_interface::{
        either::Either,
        transaction::{AccessList, AccessListItem, RecoveredAuthority, RecoveredAuthorization},
    },
    primitives::hardfork::SpecId,
};
use std::collections::HashMap;

/// One case: a chain, a state, a stream of one to three blocks.
pub(crate) struct Case {
    pub(crate) chain: ChainSpec,
    /// Each block's rules.
    pub(crate) specs: Vec<SpecId>,
    pub(crate) state: MemoryState,
    /// What the state's witness lacks.
    pub(crate) unknown: Option<StateKey>,
    pub(crate) blocks: Vec<Block>,
}

/// Number of the first block.
const FIRST: u64 = 10;
/// Time of a block, less its number.
const EPOCH: u64 = 1_000;

/// Where the protocol's own calls go.
const SYSTEM: [Address; 4] = [
    HISTORY_STORAGE_ADDRESS,
    BEACON_ROOTS_ADDRESS,
    WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
    CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
];

const SPECS: [SpecId; 15] = [
    SpecId::FRONTIER,
    SpecId::HOMESTEAD,
    SpecId::TANGERINE,
    SpecId::SPURIOUS_DRAGON,
    SpecId::BYZANTIUM,
    SpecId::PETERSBURG,
    SpecId::ISTANBUL,
    SpecId::BERLIN,
    SpecId::LONDON,
    SpecId::MERGE,
    SpecId::SHANGHAI,
    SpecId::CANCUN,
    SpecId::PRAGUE,
    SpecId::OSAKA,
    SpecId::AMSTERDAM,
];

struct Generator {
    rng: ChaCha8Rng,
    spec: SpecId,
    senders: Vec<Address>,
    cast: Cast,
    nonces: HashMap<Address, u64>,
    unique: u64,
    /// There is little but payments, and many of them.
    pays: bool,
}

/// The case of a seed.
pub(crate) fn case(seed: u64) -> Case {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let place = rng.random_range(0..SPECS.len());
    // Some streams cross the border to the next fork.
    let border = rng.random_bool(0.2).then(|| FIRST + rng.random_range(1..3u64));
    let next = border.and_then(|border| Some((border, *SPECS.get(place + 1)?)));
    let spec = SPECS[place];
    let senders: Vec<Address> =
        (1..=rng.random_range(2..6u8)).map(|i| Address::repeat_byte(0xe0 + i)).collect();
    let contracts: Vec<Address> =
        (1..=rng.random_range(1..5u8)).map(|i| Address::repeat_byte(0xc0 + i)).collect();
    let strangers = (1..4u8).map(|i| Address::repeat_byte(0xa0 + i));
    let mut everybody: Vec<Address> = senders.iter().chain(&contracts).copied().chain(strangers).collect();
    everybody.extend(contracts.iter().map(|parent| child_of(*parent)));
    everybody.push(Address::with_last_byte(4));
    let cast = Cast { everybody, contracts };
    let nonces = senders.iter().map(|sender| (*sender, rng.random_range(0..3))).collect();
    let pays = rng.random_bool(0.3);
    let mut generator = Generator { rng, spec, senders, cast, nonces, unique: 0, pays };
    let state = generator.state();
    let (blocks, specs) = generator.blocks(next);
    let unknown = generator.unknown(&state);
    let mut chain = ChainSpec::with_all_forks_until(1, next.map_or(spec, |(_, spec)| spec));
    if let Some((border, next)) = next {
        let fork = fork_of(next);
        let at_timestamp = fork >= EthereumHardfork::Shanghai;
        let condition = if at_timestamp {
            ForkCondition::Timestamp(EPOCH + border)
        } else {
            ForkCondition::Block(border)
        };
        chain = chain.with_fork(fork, condition);
    }
    Case { chain, specs, state, unknown, blocks }
}

/// The fork that brought a specification.
fn fork_of(spec: SpecId) -> EthereumHardfork {
    match spec {
        SpecId::HOMESTEAD => EthereumHardfork::Homestead,
        SpecId::TANGERINE => EthereumHardfork::Tangerine,
        SpecId::SPURIOUS_DRAGON => EthereumHardfork::SpuriousDragon,
        SpecId::BYZANTIUM => EthereumHardfork::Byzantium,
        SpecId::PETERSBURG => EthereumHardfork::Petersburg,
        SpecId::ISTANBUL => EthereumHardfork::Istanbul,
        SpecId::BERLIN => EthereumHardfork::Berlin,
        SpecId::LONDON => EthereumHardfork::London,
        SpecId::MERGE => EthereumHardfork::Paris,
        SpecId::SHANGHAI => EthereumHardfork::Shanghai,
        SpecId::CANCUN => EthereumHardfork::Cancun,
        SpecId::PRAGUE => EthereumHardfork::Prague,
        SpecId::OSAKA => EthereumHardfork::Osaka,
        SpecId::AMSTERDAM => EthereumHardfork::Amsterdam,
        other => panic!("no fork begins with {other:?}"),
    }
}

impl Generator {
    fn state(&mut self) -> MemoryState {
        let mut state = MemoryState::complete();
        for sender in self.senders.clone() {
            // Some can pay for hardly more than one transaction, some have nearly all there can be.
            let balance = match self.rng.random_range(0..100) {
                0..60 => U256::from(1_000_000_000_000u64),
                60..95 => U256::from(self.rng.random_range(4_000_000..20_000_000u64)),
                _ => U256::MAX - U256::from(self.rng.random_range(0..20_000_000u64)),
            };
            let nonce = self.nonces[&sender];
            state.set_account(sender, Account { balance, nonce, ..Account::EMPTY });
        }
        for contract in self.cast.contracts.clone() {
            let code = random_contract(&mut self.rng, self.spec, &self.cast);
            let code_hash = state.set_code(Bytecode::new_legacy(code));
            let balance = U256::from(self.rng.random_range(0..5_000u64));
            state.set_account(contract, Account { balance, nonce: 1, code_hash });
            for slot in 0..self.rng.random_range(0..4u64) {
                state.set_storage(contract, U256::from(slot), U256::from(self.rng.random_range(1..9u64)));
            }
        }
        for contract in SYSTEM {
            if self.rng.random_bool(0.3) {
                let code = random_contract(&mut self.rng, self.spec, &self.cast);
                let code_hash = state.set_code(Bytecode::new_legacy(code));
                state.set_account(contract, Account { nonce: 1, code_hash, ..Account::EMPTY });
            }
        }
        if self.rng.random_bool(0.3) {
            // Left over from before EIP-161: it exists, and is empty.
            state.set_account(Address::repeat_byte(0xa1), Account::EMPTY);
        }
        for number in 0..10 {
            state.set_block_hash(number, keccak256([number as u8]));
        }
        state
    }

    /// Blocks and their rules, which may be others from some number on.
    fn blocks(&mut self, next: Option<(u64, SpecId)>) -> (Vec<Block>, Vec<SpecId>) {
        let count = self.rng.random_range(1..4u64);
        let mut parent_hash = keccak256([9]);
        (FIRST..FIRST + count)
            .map(|number| {
                if let Some((border, spec)) = next
                    && border == number
                {
                    self.spec = spec;
                }
                let block = self.block(number, parent_hash);
                parent_hash = block.header.hash_slow();
                (block, self.spec)
            })
            .unzip()
    }

    /// Something that a witness may lack, now and then.
    fn unknown(&mut self, state: &MemoryState) -> Option<StateKey> {
        if !self.rng.random_bool(0.15) {
            return None;
        }
        let contract = *self.cast.contracts.choose(&mut self.rng).expect("contracts");
        Some(match self.rng.random_range(0..5) {
            0 => StateKey::Account(*self.cast.everybody.choose(&mut self.rng).expect("a cast")),
            1 => StateKey::Code(state.account(contract).ok().flatten()?.code_hash),
            _ => StateKey::Storage(contract, U256::from(self.rng.random_range(0..4u64))),
        })
    }

    fn block(&mut self, number: u64, parent_hash: B256) -> Block {
        let is = |spec| self.spec.is_enabled_in(spec);
        let beneficiary = if self.rng.random_bool(0.6) {
            *self.cast.everybody.choose(&mut self.rng).expect("a cast")
        } else {
            Address::repeat_byte(0xcb)
        };
        let header = Header {
            number,
            parent_hash,
            beneficiary,
            timestamp: EPOCH + number,
            gas_limit: 10_000_000,
            difficulty: if is(SpecId::MERGE) { U256::ZERO } else { U256::from(7) },
            base_fee_per_gas: is(SpecId::LONDON).then_some(7),
            excess_blob_gas: is(SpecId::CANCUN).then_some(0),
            parent_beacon_block_root: is(SpecId::CANCUN).then_some(keccak256([number as u8, 1])),
            ..Header::default()
        };
        let mut withdrawals = Vec::new();
        if is(SpecId::SHANGHAI) {
            for index in 0..self.rng.random_range(0..3u64) {
                let address = *self.cast.everybody.choose(&mut self.rng).expect("a cast");
                let amount = self.rng.random_range(0..3);
                withdrawals.push(Withdrawal { index, validator_index: 0, address, amount });
            }
        }
        let mut ommers = Vec::new();
        if !is(SpecId::MERGE) && self.rng.random_bool(0.3) {
            let beneficiary = *self.cast.everybody.choose(&mut self.rng).expect("a cast");
            ommers.push(Ommer::Known { beneficiary, number: number - 1 });
        }
        let count = self.rng.random_range(0..if self.pays { 80 } else { 11 });
        let transactions = (0..count).map(|_| self.transaction()).collect();
        Block { header, transactions, ommers, withdrawals }
    }

    fn transaction(&mut self) -> Transaction {
        let is = |spec| self.spec.is_enabled_in(spec);
        let (berlin, london, prague) = (is(SpecId::BERLIN), is(SpecId::LONDON), is(SpecId::PRAGUE));
        let sender = *self.senders.choose(&mut self.rng).expect("senders");
        let nonce = self.nonces[&sender];
        self.nonces.insert(sender, nonce + 1);
        let mut env = TxEnv {
            caller: sender,
            nonce,
            gas_limit: *[100_000, 250_000, 600_000].choose(&mut self.rng).expect("limits"),
            gas_price: self.rng.random_range(7..12),
            value: U256::from(if self.rng.random_bool(0.5) { self.rng.random_range(0..3_000u64) } else { 0 }),
            kind: TxKind::Call(self.target()),
            data: self.data(),
            chain_id: self.spec.is_enabled_in(SpecId::SPURIOUS_DRAGON).then_some(1),
            ..TxEnv::default()
        };
        if self.rng.random_bool(0.06) {
            env.kind = TxKind::Create;
            env.data = random_contract(&mut self.rng, self.spec, &self.cast);
            env.gas_limit = 400_000;
        }
        if berlin && self.rng.random_bool(0.2) {
            env.tx_type = 1;
            let address = *self.cast.everybody.choose(&mut self.rng).expect("a cast");
            env.access_list = AccessList(vec![AccessListItem { address, storage_keys: vec![B256::ZERO] }]);
        }
        if london && self.rng.random_bool(0.5) {
            env.tx_type = 2;
            env.gas_priority_fee = Some(self.rng.random_range(0..3));
        }
        if prague && self.rng.random_bool(0.15) && env.kind.is_call() {
            env.tx_type = 4;
            env.gas_priority_fee = Some(1);
            env.authorization_list = vec![Either::Right(self.authorization(sender))];
        }
        if self.pays && self.rng.random_bool(0.9) {
            env.kind = TxKind::Call(*self.cast.everybody.choose(&mut self.rng).expect("a cast"));
            env.data = Bytes::new();
            env.gas_limit = *[21_000, 30_000, 100_000].choose(&mut self.rng).expect("limits");
            if self.rng.random_bool(0.1) {
                env.value = U256::from(self.rng.random_range(0..8_000_000u64));
            }
        }
        self.spoil(&mut env);
        self.unique += 1;
        Transaction::new(env, keccak256(self.unique.to_be_bytes()))
    }

    fn target(&mut self) -> Address {
        let contracts = self.rng.random_bool(0.7);
        let from = if contracts { &self.cast.contracts } else { &self.cast.everybody };
        *from.choose(&mut self.rng).expect("a cast")
    }

    fn data(&mut self) -> Bytes {
        match self.rng.random_range(0..4) {
            0 => Bytes::new(),
            _ => U256::from(self.rng.random::<u8>()).to_be_bytes::<32>().into(),
        }
    }

    /// A delegation to a contract, or away from all; its nonce is a guess.
    fn authorization(&mut self, sender: Address) -> RecoveredAuthorization {
        let authority = *self.senders.choose(&mut self.rng).expect("senders");
        let known = self.nonces[&authority];
        let nonce = if authority == sender { known } else { known + self.rng.random_range(0..2) };
        if authority == sender || nonce == known {
            self.nonces.insert(authority, known + 1);
        }
        let address = if self.rng.random_bool(0.8) { self.target() } else { Address::ZERO };
        RecoveredAuthorization::new_unchecked(
            Authorization { chain_id: U256::ZERO, address, nonce },
            RecoveredAuthority::Valid(authority),
        )
    }

    /// Now and then a transaction that may not stand: the block must be refused there.
    fn spoil(&mut self, env: &mut TxEnv) {
        if !self.rng.random_bool(if self.pays { 0.003 } else { 0.02 }) {
            return;
        }
        match self.rng.random_range(0..6) {
            0 => env.nonce += 1,
            1 => env.nonce = env.nonce.saturating_sub(1),
            2 => env.value = U256::from(10).pow(U256::from(20)),
            3 => env.gas_limit = 9_990_000,
            4 => env.gas_limit = 20_000,
            _ => env.gas_price = 1,
        }
    }
}
