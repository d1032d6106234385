//! A small recorded block that tests make themselves, and the binary that they run on it.

// Each test binary uses its own part.
#![allow(dead_code)]

use alloy_consensus::{
    Eip658Value, EthereumTxEnvelope, Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, SignableTransaction,
    TxEip4844, TxLegacy,
    crypto::secp256k1,
    proofs::{calculate_receipt_root, calculate_transaction_root},
};
use alloy_primitives::{Address, B256, Bloom, Bytes, Log, TxKind, U256, keccak256};
use alloy_trie::{HashBuilder, Nibbles, TrieAccount, proof::ProofRetainer, root::state_root_unhashed};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    env, fs,
    io::{Write, stderr},
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A block of London, before the merge: a reward of 2 ether, no system calls.
pub(crate) const NUMBER: u64 = 13_500_000;
pub(crate) const MINER: Address = Address::repeat_byte(0x33);
pub(crate) const GAS_PRICE: u64 = 100;
pub(crate) const BASE_FEE: u64 = 60;
pub(crate) const ETHER: u64 = 1_000_000_000_000_000_000;

/// A sender with a key.
#[derive(Clone, Copy)]
pub(crate) struct Wallet(B256);

impl Wallet {
    pub(crate) fn new(seed: u8) -> Self {
        Self(keccak256([seed]))
    }

    pub(crate) fn address(self) -> Address {
        let hash = B256::repeat_byte(1);
        secp256k1::recover_signer(&secp256k1::sign_message(self.0, hash).unwrap(), hash).unwrap()
    }

    /// A signed transfer of ether.
    pub(crate) fn transfer(self, nonce: u64, to: Address, value: u64) -> EthereumTxEnvelope<TxEip4844> {
        let tx = TxLegacy {
            chain_id: Some(1),
            nonce,
            gas_price: GAS_PRICE.into(),
            gas_limit: 21_000,
            to: TxKind::Call(to),
            value: U256::from(value),
            input: Bytes::new(),
        };
        let signature = secp256k1::sign_message(self.0, tx.signature_hash()).unwrap();
        tx.into_signed(signature).into()
    }
}

/// The files of one block.
#[derive(Clone)]
pub(crate) struct Fixture {
    pub(crate) block: Value,
    pub(crate) pre_state: Value,
    pub(crate) block_hashes: Value,
    pub(crate) expected: Option<Value>,
    pub(crate) witness: Option<Value>,
}

impl Fixture {
    /// A block of transfers, each with its sender. `pre_state`: address, balance, nonce.
    pub(crate) fn new(
        number: u64,
        parent_hash: B256,
        txs: &[(Wallet, EthereumTxEnvelope<TxEip4844>)],
        pre_state: &[(Address, u64, u64)],
    ) -> Self {
        let accounts = pre_state.iter().map(|(address, balance, nonce)| {
            (format!("{address:#x}"), json!({"balance": format!("{balance:#x}"), "nonce": nonce}))
        });
        let transactions: Vec<Value> = txs
            .iter()
            .enumerate()
            .map(|(index, (wallet, tx))| transaction_json(index, *wallet, tx))
            .collect();
        let mut block = block_json(number, parent_hash, transactions);
        let envelopes: Vec<_> = txs.iter().map(|(_, tx)| tx).collect();
        block["transactionsRoot"] = json!(calculate_transaction_root(&envelopes));
        let mut fixture = Self {
            block,
            pre_state: Value::Object(accounts.collect()),
            block_hashes: json!({}),
            expected: None,
            witness: None,
        };
        fixture.seal();
        fixture
    }

    /// Gives the block the hash of its header.
    pub(crate) fn seal(&mut self) {
        let header: Header = serde_json::from_value(self.block.clone()).unwrap();
        self.block["hash"] = json!(header.hash_slow());
    }

    /// Two senders, three transfers, all valid; with what a sequential run must yield.
    pub(crate) fn valid() -> Self {
        let (alice, bob) = (Wallet::new(1), Wallet::new(2));
        let carol = Address::repeat_byte(0xcc);
        let txs = [
            (alice, alice.transfer(5, carol, 1000)),
            (bob, bob.transfer(0, alice.address(), 7)),
            (alice, alice.transfer(6, bob.address(), 1)),
        ];
        let pre_state = [(alice.address(), ETHER, 5), (bob.address(), ETHER, 0)];
        let mut fixture = Self::new(NUMBER, B256::repeat_byte(9), &txs, &pre_state);

        let empty_code = format!("{:#x}", keccak256([]));
        let account =
            |balance: U256, nonce: u64| json!({"balance": balance, "nonce": nonce, "codeHash": empty_code});
        let created = |balance: U256| json!({"balance": balance, "nonce": 0, "codeHash": empty_code, "storageWiped": true});
        let fee = U256::from(21_000 * GAS_PRICE);
        let ether = U256::from(ETHER);
        let two = U256::from(2);
        let reward = two * ether + U256::from(3 * 21_000 * (GAS_PRICE - BASE_FEE));
        let receipt = |index: u64| {
            json!({
                "status": true, "cumulativeGasUsed": 21_000 * (index + 1), "gasUsed": 21_000, "logs": 0,
                "logsHash": format!("{:#x}", keccak256([0xc0])),
            })
        };
        fixture.expected = Some(json!({
            "receipts": [receipt(0), receipt(1), receipt(2)],
            "post_state_diff": {
                format!("{:#x}", alice.address()): account(ether - two * fee - U256::from(1000 + 1 - 7), 7),
                format!("{:#x}", bob.address()): account(ether - fee - U256::from(7 - 1), 1),
                format!("{carol:#x}"): created(U256::from(1000)),
                format!("{MINER:#x}"): created(reward),
            },
        }));
        fixture
    }

    /// As the valid one, but the last transaction skips a nonce.
    pub(crate) fn with_nonce_gap() -> Self {
        let (alice, bob) = (Wallet::new(1), Wallet::new(2));
        let txs = [
            (alice, alice.transfer(5, bob.address(), 1000)),
            (bob, bob.transfer(0, alice.address(), 7)),
            (alice, alice.transfer(7, bob.address(), 1)),
        ];
        Self::new(
            NUMBER,
            B256::repeat_byte(9),
            &txs,
            &[(alice.address(), ETHER, 5), (bob.address(), ETHER, 0)],
        )
    }

    /// With all nodes of the tries before the block as its witness, and the state root after it in its header.
    pub(crate) fn with_witness(mut self) -> Self {
        let before = accounts(&self.pre_state);
        let mut sorted: Vec<(B256, TrieAccount)> =
            before.iter().map(|(address, account)| (keccak256(address), *account)).collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        let keys = sorted.iter().map(|(key, _)| Nibbles::unpack(key));
        let mut builder = HashBuilder::default().with_proof_retainer(ProofRetainer::from_iter(keys));
        for (key, account) in &sorted {
            builder.add_leaf(Nibbles::unpack(key), &alloy_rlp::encode(account));
        }
        let root = builder.root();
        let nodes: Vec<Bytes> = builder.take_proof_nodes().into_inner().into_values().collect();
        self.witness = Some(json!({"preStateRoot": root, "state": nodes, "codes": []}));
        self.block["stateRoot"] = json!(self.root_after());
        self.seal();
        self
    }

    /// The root of what the pre-state lists and the block leaves.
    pub(crate) fn root_after(&self) -> B256 {
        let mut after = accounts(&self.pre_state);
        after.extend(accounts(&self.expected.as_ref().unwrap()["post_state_diff"]));
        state_root_unhashed(after)
    }

    pub(crate) fn hash(&self) -> B256 {
        self.block["hash"].as_str().unwrap().parse().unwrap()
    }

    /// Writes the block's folder, plain or compressed.
    pub(crate) fn write(&self, folder: &Path, is_compressed: bool) {
        fs::create_dir_all(folder).unwrap();
        let mut files = vec![
            ("block", &self.block),
            ("pre_state", &self.pre_state),
            ("block_hashes", &self.block_hashes),
        ];
        files.extend(self.expected.as_ref().map(|expected| ("expected", expected)));
        files.extend(self.witness.as_ref().map(|witness| ("witness", witness)));
        for (name, value) in files {
            let json = serde_json::to_vec(value).unwrap();
            if is_compressed {
                let packed = zstd::encode_all(json.as_slice(), 3).unwrap();
                fs::write(folder.join(format!("{name}.json.zst")), packed).unwrap();
            } else {
                fs::write(folder.join(format!("{name}.json")), json).unwrap();
            }
        }
    }
}

/// Accounts without code and storage, as both pre-states and diffs list them.
fn accounts(listed: &Value) -> BTreeMap<Address, TrieAccount> {
    let account = |account: &Value| TrieAccount {
        nonce: account["nonce"].as_u64().unwrap(),
        balance: serde_json::from_value(account["balance"].clone()).unwrap(),
        ..TrieAccount::default()
    };
    let listed = listed.as_object().unwrap().iter();
    listed.map(|(address, fields)| (address.parse().unwrap(), account(fields))).collect()
}

fn transaction_json(index: usize, wallet: Wallet, tx: &EthereumTxEnvelope<TxEip4844>) -> Value {
    let EthereumTxEnvelope::Legacy(signed) = tx else { panic!("fixtures are of legacy transactions") };
    let (tx, signature) = (signed.tx(), signed.signature());
    json!({
        "type": "0x0", "chainId": "0x1", "transactionIndex": format!("{index:#x}"),
        "nonce": format!("{:#x}", tx.nonce), "gasPrice": format!("{:#x}", tx.gas_price),
        "gas": format!("{:#x}", tx.gas_limit), "to": tx.to.to().unwrap(), "value": tx.value, "input": "0x",
        "v": format!("{:#x}", 37 + u64::from(signature.v())), "r": signature.r(), "s": signature.s(),
        "hash": signed.hash(), "from": wallet.address(),
    })
}

fn block_json(number: u64, parent_hash: B256, transactions: Vec<Value>) -> Value {
    let receipts: Vec<ReceiptEnvelope<Log>> = (1..=transactions.len() as u64)
        .map(|position| {
            let receipt = Receipt {
                status: Eip658Value::success(),
                cumulative_gas_used: 21_000 * position,
                logs: Vec::new(),
            };
            ReceiptEnvelope::Legacy(ReceiptWithBloom { receipt, logs_bloom: Bloom::ZERO })
        })
        .collect();
    json!({
        "parentHash": parent_hash, "sha3Uncles": B256::ZERO, "miner": MINER, "stateRoot": B256::ZERO, "transactionsRoot": B256::ZERO,
        "receiptsRoot": calculate_receipt_root(&receipts), "logsBloom": Bloom::ZERO, "difficulty": "0x1",
        "number": format!("{number:#x}"), "gasLimit": "0x1c9c380",
        "gasUsed": format!("{:#x}", 21_000 * transactions.len()), "timestamp": "0x61788be4", "extraData": "0x",
        "mixHash": B256::ZERO, "nonce": "0x0000000000000000", "baseFeePerGas": format!("{BASE_FEE:#x}"),
        "size": "0x400", "uncles": [], "transactions": transactions,
    })
}

/// Runs the binary.
pub(crate) fn citius(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_citius")).args(arguments).output().unwrap()
}

/// Runs `citius replay` once over, with a JSON report, and returns its exit code and the report.
pub(crate) fn replay(arguments: &[&str]) -> (i32, Value) {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let mut all = vec!["replay", "--repeat", "1", "--json", json.to_str().unwrap()];
    all.extend(arguments);
    let output = citius(&all);
    let report = fs::read(&json).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), serde_json::from_slice(&report).unwrap())
}

/// The folder of recorded blocks of the main network; says so where there is none.
pub(crate) fn corpus() -> Option<PathBuf> {
    let corpus = env::var_os("CITIUS_CORPUS").map(|folder| Path::new(&folder).join("mainnet"));
    if corpus.is_none() {
        // Not through the macro, whose output of a passing test is swallowed.
        stderr().write_all(b"SKIPPED: CITIUS_CORPUS is not set\n").unwrap();
    }
    corpus
}

/// Reads a JSON file.
pub(crate) fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}
