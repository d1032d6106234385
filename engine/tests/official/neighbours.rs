//! Blocks around a case: transactions that write what it reads and read what it writes.

use crate::{
    case::Case,
    contracts::{Observer, SHORT_CONTRACT, deploy_all, short_life},
    machines::CHAIN_ID,
    root::is_unreachable,
    selection::seed,
};
use alloy_eips::{
    eip4895::Withdrawal,
    eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
    eip7702::{Authorization, RecoveredAuthority, RecoveredAuthorization},
};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use citius_engine::{Block, Ommer, Transaction};
use citius_state::{Account, MemoryState, StateReader};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use revm::{
    context::{Transaction as _, TxEnv, either::Either},
    primitives::hardfork::SpecId,
};

/// Accounts of our own that send.
const SENDERS: usize = 4;
/// Gas that the case's transaction gets in a block: more than any block ever had. Some fixtures have 64 bits of gas,
/// and EVM memory that only so much gas can buy.
const GAS_MAX: u64 = 100_000_000;
/// Longest call data that is copied from the case.
const DATA_BYTES_MAX: usize = 4096;
/// Most accounts that an observer is asked about at once.
const OBSERVED_MAX: usize = 8;

/// A block with the case's transaction in its midst, and the state before it. The same for the same case.
pub(crate) fn surround(case: &Case, transaction: &Transaction) -> (MemoryState, Block) {
    let gas_limit = transaction.env().gas_limit.min(GAS_MAX);
    let env = TxEnv { gas_limit, ..transaction.env().clone() };
    let transaction = Transaction::new(env, transaction.hash());
    let mut mixer = Mixer::new(case, &transaction);
    for _ in 0..mixer.rng.random_range(1..5) {
        mixer.add_neighbour();
    }
    let has_second = mixer.rng.random_bool(0.4) && transaction.env().authorization_list.is_empty();
    if has_second {
        mixer.fund_sender();
    }
    mixer.block.transactions.push(transaction.clone());
    for _ in 0..mixer.rng.random_range(1..4) {
        mixer.add_neighbour();
    }
    if has_second {
        let env = transaction.env();
        mixer.push(TxEnv { nonce: env.nonce.saturating_add(1), ..env.clone() });
        mixer.add_neighbour();
    }
    mixer.add_observation();
    mixer.add_credits();
    (mixer.state, mixer.block)
}

struct Mixer<'a> {
    case: &'a Case,
    env: &'a TxEnv,
    rng: ChaCha8Rng,
    state: MemoryState,
    block: Block,
    /// Next nonces of our own senders.
    nonces: [u64; SENDERS],
    /// Accounts that the case is about.
    targets: Vec<Address>,
    contracts: Vec<Address>,
    /// The coinbase's next nonce, if it is an account without code that nobody else sends from.
    coinbase_nonce: Option<u64>,
}

impl<'a> Mixer<'a> {
    fn new(case: &'a Case, transaction: &'a Transaction) -> Self {
        let env = transaction.env();
        let mut header = case.header.clone();
        // Room for everybody; the case's own limit may be all of the fixture's block.
        header.gas_limit = header.gas_limit.saturating_mul(2).saturating_add(100_000_000);
        let mut state = case.state.clone();
        let mut targets: Vec<Address> = case.state.accounts().map(|(address, _)| address).collect();
        targets.sort_unstable();
        for address in &targets {
            make_reachable(&mut state, *address);
        }
        let has_code = |address: &Address| {
            case.state.account(*address).ok().flatten().is_some_and(|account| account.has_code())
        };
        let contracts: Vec<Address> = targets.iter().copied().filter(has_code).collect();
        let coinbase = header.beneficiary;
        targets.extend([coinbase, env.caller, env.caller.create(env.nonce), untouched()]);
        targets.extend(env.kind.to());
        // The precompile that mainnet once touched and deleted.
        targets.push(Address::with_last_byte(3));
        for index in 0..SENDERS {
            let balance = U256::from(1) << 140;
            state.set_account(own_sender(index), Account { balance, ..Account::EMPTY });
        }
        let is_own = coinbase != env.caller && !has_code(&coinbase);
        let nonce = case.state.account(coinbase).ok().flatten().unwrap_or_default().nonce;
        deploy_all(&mut state, case.spec);
        Self {
            case,
            env,
            rng: ChaCha8Rng::seed_from_u64(seed(&case.name)),
            state,
            block: Block { header, ..Block::default() },
            nonces: [0; SENDERS],
            targets,
            contracts,
            coinbase_nonce: is_own.then_some(nonce),
        }
    }

    fn since(&self, spec: SpecId) -> bool {
        self.case.spec.is_enabled_in(spec)
    }

    fn push(&mut self, env: TxEnv) {
        let index = self.block.transactions.len();
        let hash = keccak256(format!("{} {index}", self.case.name));
        self.block.transactions.push(Transaction::new(env, hash));
    }

    /// A transaction of one of our own senders that costs nobody else anything.
    fn own(&mut self, kind: TxKind, value: U256, data: Bytes, gas: u64) -> TxEnv {
        let index = self.rng.random_range(0..SENDERS);
        let nonce = self.nonces[index];
        self.nonces[index] += 1;
        let tip = *[0, 1, 1_000].choose(&mut self.rng).unwrap_or(&0);
        let base_fee = u128::from(self.block.header.base_fee_per_gas.unwrap_or_default());
        let intrinsic = 60_000 + 64 * data.len() as u64;
        TxEnv {
            caller: own_sender(index),
            gas_limit: intrinsic + gas,
            gas_price: base_fee + tip,
            kind,
            value,
            data,
            nonce,
            chain_id: None,
            ..TxEnv::default()
        }
    }

    fn target(&mut self) -> Address {
        *self.targets.choose(&mut self.rng).unwrap_or(&Address::ZERO)
    }

    fn contract(&mut self) -> Address {
        match self.contracts.choose(&mut self.rng) {
            Some(contract) => *contract,
            None => self.target(),
        }
    }

    fn value(&mut self) -> U256 {
        U256::from(*[0u64, 0, 1, 7, 1_000_000_000, 1 << 62].choose(&mut self.rng).unwrap_or(&0))
    }

    fn data(&mut self) -> Bytes {
        let is_copied = self.env.data.len() <= DATA_BYTES_MAX && self.rng.random_bool(0.7);
        if is_copied { self.env.data.clone() } else { Bytes::new() }
    }

    fn add_neighbour(&mut self) {
        match self.rng.random_range(0..12) {
            0..3 => self.add_transfer(),
            3..6 => self.add_call(),
            6..8 => self.add_observation(),
            8 => self.add_coinbase_payment(),
            9 => self.add_creation(),
            10 if self.since(SpecId::PRAGUE) => self.add_delegation(),
            10 if self.since(SpecId::CANCUN) => self.add_blobs(),
            11 if self.since(SpecId::PRAGUE) => self.add_request(),
            _ => self.add_call(),
        }
    }

    fn add_transfer(&mut self) {
        let (to, value) = (self.target(), self.value());
        let env = self.own(TxKind::Call(to), value, Bytes::new(), 100_000);
        self.push(env);
    }

    /// The case's own call from elsewhere, or another of its contracts.
    fn add_call(&mut self) {
        let to = match self.env.kind.to() {
            Some(to) if self.rng.random_bool(0.5) => *to,
            _ => self.contract(),
        };
        let value = if self.rng.random_bool(0.3) { self.value() } else { U256::ZERO };
        let data = self.data();
        let gas = *[0, 30_000, 400_000].choose(&mut self.rng).unwrap_or(&0);
        let env = self.own(TxKind::Call(to), value, data, gas);
        self.push(env);
    }

    /// Asks an observer about some of the accounts.
    fn add_observation(&mut self) {
        let observer = *Observer::all(self.case.spec).choose(&mut self.rng).unwrap_or(&Observer::Balance);
        let count = self.targets.len().min(OBSERVED_MAX);
        let seen: Vec<Address> = self.targets.choose_multiple(&mut self.rng, count).copied().collect();
        let data: Vec<u8> = seen.iter().flat_map(|address| address.into_word().0).collect();
        let to = TxKind::Call(observer.address());
        let env = self.own(to, U256::ZERO, data.into(), observer.gas() * count as u64);
        self.push(env);
    }

    /// Pays the coinbase, and lets it spend what it got (and its fees, if nothing else changed them).
    fn add_coinbase_payment(&mut self) {
        let coinbase = self.block.header.beneficiary;
        let amount = U256::from(1) << 130;
        let payment = self.own(TxKind::Call(coinbase), amount, Bytes::new(), 0);
        self.push(payment);
        let Some(nonce) = self.coinbase_nonce else { return };
        self.coinbase_nonce = Some(nonce + 1);
        let (to, value) = (self.target(), self.value());
        let spending = self.own(TxKind::Call(to), value, Bytes::new(), 50_000);
        // It takes the place of one of our own, whose nonce is free again.
        self.release(spending.caller);
        self.push(TxEnv { caller: coinbase, nonce, ..spending });
    }

    fn release(&mut self, caller: Address) {
        if let Some(index) = (0..SENDERS).find(|index| own_sender(*index) == caller) {
            self.nonces[index] -= 1;
        }
    }

    /// Creates a contract that stays and is a target from now on, or one that destroys itself at once.
    fn add_creation(&mut self) {
        let stays = self.rng.random_bool(0.5);
        let code = if stays { SHORT_CONTRACT.to_vec() } else { short_life(self.target()) };
        let value = self.value();
        let env = self.own(TxKind::Create, value, code.into(), 150_000);
        // It may be paid and observed before and after.
        self.targets.extend([env.caller.create(env.nonce); 2]);
        self.push(env);
    }

    /// Delegates an account of our own to a contract of the case ([EIP-7702](https://eips.ethereum.org/EIPS/eip-7702)).
    fn add_delegation(&mut self) {
        let inner = Authorization { chain_id: U256::ZERO, address: self.contract(), nonce: 0 };
        let authority = RecoveredAuthority::Valid(delegated());
        let authorization = RecoveredAuthorization::new_unchecked(inner, authority);
        let (value, data) = (self.value(), self.data());
        let env = self.own(TxKind::Call(delegated()), value, data, 300_000);
        self.push(TxEnv {
            tx_type: 4,
            chain_id: Some(CHAIN_ID),
            gas_priority_fee: Some(1),
            gas_price: env.gas_price + 1,
            authorization_list: vec![Either::Right(authorization)],
            ..env
        });
        self.targets.push(delegated());
        self.contracts.push(delegated());
    }

    fn add_blobs(&mut self) {
        let (to, data) = (self.contract(), self.data());
        let env = self.own(TxKind::Call(to), U256::ZERO, data, 100_000);
        let mut hash = B256::repeat_byte(7);
        hash[0] = 1;
        self.push(TxEnv {
            tx_type: 3,
            chain_id: Some(CHAIN_ID),
            gas_priority_fee: Some(0),
            blob_hashes: vec![hash],
            max_fee_per_blob_gas: 1 << 100,
            ..env
        });
    }

    /// Asks for a validator's withdrawal ([EIP-7002](https://eips.ethereum.org/EIPS/eip-7002)).
    fn add_request(&mut self) {
        let data = Bytes::from(vec![self.rng.random(); 56]);
        let to = TxKind::Call(WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS);
        let env = self.own(to, U256::from(500), data, 300_000);
        self.push(env);
    }

    /// Gives the case's sender what a second transaction may cost.
    fn fund_sender(&mut self) {
        let needed = self.env.max_balance_spending().unwrap_or_default();
        let amount = needed.min(U256::from(1) << 128);
        let env = self.own(TxKind::Call(self.env.caller), amount, Bytes::new(), 50_000);
        self.push(env);
    }

    /// Ommers or withdrawals, whatever the fork has.
    fn add_credits(&mut self) {
        let number = self.block.header.number;
        if self.since(SpecId::SHANGHAI) {
            for index in 0..self.rng.random_range(0..3) {
                let (address, amount) = (self.target(), self.rng.random_range(0..3));
                self.block.withdrawals.push(Withdrawal { index, validator_index: 0, address, amount });
            }
        } else if !self.since(SpecId::MERGE) && number > 1 && self.rng.random_bool(0.3) {
            let beneficiary = self.target();
            self.block.ommers.push(Ommer::Known { beneficiary, number: number - 1 });
        }
    }
}

/// Takes away what no chain can hold: storage of an account without nonce and code (see [`is_unreachable`]).
fn make_reachable(state: &mut MemoryState, address: Address) {
    let Some(account) = state.account(address).ok().flatten() else { return };
    if is_unreachable(state, address) {
        state.set_absent(address);
        state.set_account(address, account);
    }
}

/// An address of our own.
pub(crate) fn own(name: &str) -> Address {
    Address::from_word(keccak256(format!("citius {name}")))
}

fn own_sender(index: usize) -> Address {
    own(&format!("sender {index}"))
}

fn delegated() -> Address {
    own("delegated")
}

/// An account that nothing but our transfers touches.
fn untouched() -> Address {
    own("untouched")
}
