//! States as files: a geth genesis file, what `geth dump` writes, or one account a line.
//!
//! A leaf file holds one JSON object a line, in any order, each address once; it may be zstd-compressed (`.zst`):
//!
//! ```json
//! {"address": "0x00…01", "balance": "0x1", "nonce": 2, "code": "0x60…", "storage": {"0x0": "0x7"}}
//! {"address": "0x00…02", "balance": "0x5", "nonce": 1, "codeHash": "0xc5…70"}
//! ```
//!
//! `balance` must be there; `nonce` is 0 if it is not; `code` and `codeHash` exclude each other, and without both there
//! is no code; slots that are zero count as not listed. Empty lines are passed over. A file whose first line is no such
//! object is taken for a genesis file, or for what `geth dump` writes: one object of `root` and `accounts`, or, with `--iterative`, a line with
//! the `root` and one account a line. There balances are decimal, slots' values hex without `0x`.

use crate::{
    chain::ChainError,
    recorded::{JsonFile, JsonNode, RecordedError},
};
use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256, map::AddressSet};
use citius_engine::chain::Genesis;
use citius_state::{Account, AccountChange, ChangeSet, SlotChange, StateReader};
use rayon::prelude::*;
use revm::{bytecode::Bytecode, primitives::hardfork::SpecId};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Text of lines that are decoded, and become part of a trie, at a time.
const BATCH_BYTES: usize = 32 << 20;
/// Most bytes that a line may have: an account with some ten million slots.
const LINE_BYTES_MAX: u64 = 2 << 30;
/// Most bytes that a genesis file may have.
const GENESIS_BYTES_MAX: u64 = 4 << 30;

/// Why a state could not be read from a file.
#[derive(Debug, thiserror::Error)]
pub enum LeavesError {
    /// A line or field of a leaf file is not what it should be, or a file cannot be read.
    #[error(transparent)]
    Record(#[from] RecordedError),
    /// The genesis file cannot be used.
    #[error(transparent)]
    Genesis(#[from] ChainError),
    /// An account is listed twice.
    #[error("{file}:{line}: field `address` is {address}: expected one that no line before this one has")]
    Twice {
        /// The file.
        file: PathBuf,
        /// The later line, from 1.
        line: u64,
        /// The address.
        address: Address,
    },
}

/// Accounts of a file, batch by batch. Behind an error there is no more.
pub struct Leaves {
    path: PathBuf,
    source: Source,
    seen: AddressSet,
    read_bytes: Arc<AtomicU64>,
    file_bytes: u64,
    lines: u64,
    keeps_codes: bool,
    root: Option<B256>,
    genesis: Option<Box<Header>>,
}

enum Source {
    Whole(Box<dyn BufRead + Send>),
    Lines { reader: Box<dyn BufRead + Send>, form: Form },
    Done,
}

/// How accounts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As described above.
    Leaves,
    /// As geth does.
    Geth,
}

/// An account, and its code if that is there.
type Decoded = (AccountChange, Option<Bytes>);

/// Counts what is read of a file, as progress knows its length.
struct Counted<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Leaves {
    /// Opens a file, and looks at its first line to tell what it is.
    ///
    /// # Errors
    ///
    /// [`LeavesError::Record`] if it cannot be read.
    pub fn open(path: &Path) -> Result<Self, LeavesError> {
        let io_error = |source| RecordedError::Io { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(io_error)?;
        let file_bytes = file.metadata().map_err(io_error)?.len();
        let read_bytes = Arc::new(AtomicU64::new(0));
        let file = Counted { inner: file, bytes: Arc::clone(&read_bytes) };
        let mut reader: Box<dyn BufRead + Send> = if path.extension().is_some_and(|name| name == "zst") {
            Box::new(BufReader::new(zstd::stream::read::Decoder::new(file).map_err(io_error)?))
        } else {
            Box::new(BufReader::with_capacity(1 << 20, file))
        };
        let root = geth_root(&mut reader).map_err(io_error)?;
        let (source, lines) = if root.is_some() {
            (Source::Lines { reader, form: Form::Geth }, 1)
        } else if begins_with_leaf(&mut reader).map_err(io_error)? {
            (Source::Lines { reader, form: Form::Leaves }, 0)
        } else {
            (Source::Whole(reader), 0)
        };
        let (path, seen) = (path.to_path_buf(), AddressSet::default());
        Ok(Self {
            path,
            source,
            seen,
            read_bytes,
            file_bytes,
            lines,
            keeps_codes: false,
            root,
            genesis: None,
        })
    }

    /// Codes are part of the changes, where the file has them.
    #[must_use]
    pub fn with_codes(mut self) -> Self {
        self.keeps_codes = true;
        self
    }

    /// Whether accounts come line by line; else they all come at once.
    #[must_use]
    pub fn is_lines(&self) -> bool {
        matches!(self.source, Source::Lines { .. })
    }

    /// Lines that were read.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The root that the file says its state has, as soon as that was read.
    #[must_use]
    pub fn stated_root(&self) -> Option<B256> {
        self.root
    }

    /// The header of a genesis file, once it was read, less its root; `None` if it has fields of later forks that are not in the file.
    #[must_use]
    pub fn genesis_header(&self) -> Option<&Header> {
        self.genesis.as_deref()
    }

    /// Passes over lines until so many were read: what is in them is not looked at, nor whether it comes twice.
    ///
    /// # Errors
    ///
    /// [`LeavesError::Record`] if they cannot be read.
    pub fn skip_lines(&mut self, lines: u64) -> Result<(), LeavesError> {
        let Source::Lines { reader, .. } = &mut self.source else { return Ok(()) };
        while self.lines < lines {
            let skipped = reader.skip_until(b'\n');
            let skipped = skipped.map_err(|source| RecordedError::Io { path: self.path.clone(), source })?;
            if skipped == 0 {
                break;
            }
            self.lines += 1;
        }
        Ok(())
    }

    /// Bytes of the file that were read, and all that it has.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.read_bytes.load(Ordering::Relaxed), self.file_bytes)
    }

    /// The next accounts, as a change that creates them; decoded in parallel on `pool`. `None` at the end.
    ///
    /// # Errors
    ///
    /// [`LeavesError`], naming file, line, field, value and expectation: of several mistakes the first one.
    pub fn next_batch(&mut self, pool: &rayon::ThreadPool) -> Result<Option<ChangeSet>, LeavesError> {
        match std::mem::replace(&mut self.source, Source::Done) {
            Source::Done => Ok(None),
            Source::Whole(reader) => self.whole(reader).map(Some),
            Source::Lines { mut reader, form } => {
                let first = self.lines;
                let batch = self.read_lines(&mut reader)?;
                if self.lines == first {
                    return Ok(None);
                }
                let decode = |(line, text): &(u64, Vec<u8>)| {
                    let file = PathBuf::from(format!("{}:{line}", self.path.display()));
                    decode(file, text, form).map(|decoded| (*line, decoded))
                };
                // Collected one by one: which error is reported must not depend on the threads.
                let decoded: Vec<Result<(u64, Decoded), RecordedError>> =
                    pool.install(|| batch.par_iter().map(decode).collect());
                let mut changes =
                    ChangeSet { accounts: Vec::with_capacity(decoded.len()), codes: Vec::new() };
                for decoded in decoded {
                    let (line, decoded) = decoded?;
                    let address = decoded.0.address;
                    if !self.seen.insert(address) {
                        return Err(LeavesError::Twice { file: self.path.clone(), line, address });
                    }
                    self.add(&mut changes, decoded);
                }
                self.source = Source::Lines { reader, form };
                Ok(Some(changes))
            }
        }
    }

    fn add(&self, changes: &mut ChangeSet, (account, code): Decoded) {
        if let (true, Some(code), Some(after)) = (self.keeps_codes, code, account.after)
            && after.has_code()
        {
            changes.codes.push((after.code_hash, code_of(code)));
        }
        changes.accounts.push(account);
    }

    /// A genesis file, or a dump that is one object.
    fn whole(&mut self, reader: Box<dyn BufRead + Send>) -> Result<ChangeSet, LeavesError> {
        let path = self.path.clone();
        let mut json = String::new();
        let read = reader.take(GENESIS_BYTES_MAX + 1).read_to_string(&mut json);
        read.map_err(|source| RecordedError::Io { path: path.clone(), source })?;
        if json.len() as u64 > GENESIS_BYTES_MAX {
            return Err(RecordedError::TooLarge { path, limit_bytes: GENESIS_BYTES_MAX }.into());
        }
        let dump = serde_json::from_str(&json).ok().filter(is_dump);
        if let Some(value) = dump {
            return Ok(self.dump(JsonFile { path, value })?);
        }
        let genesis = Genesis::from_json(&json).map_err(|source| ChainError::Genesis { path, source })?;
        let spec = genesis.chain.spec_id(&genesis.header);
        if spec < SpecId::LONDON || spec < SpecId::SHANGHAI && genesis.header.base_fee_per_gas.is_some() {
            self.genesis = Some(Box::new(genesis.header));
        }
        let mut changes = crate::roots::changes_from_nothing(&genesis.state);
        if self.keeps_codes {
            let hashes = changes.accounts.iter().filter_map(|change| change.after);
            let hashes = hashes.filter(Account::has_code).map(|account| account.code_hash);
            changes.codes = hashes.filter_map(|hash| Some((hash, genesis.state.code(hash).ok()?))).collect();
        }
        Ok(changes)
    }

    fn dump(&mut self, file: JsonFile) -> Result<ChangeSet, RecordedError> {
        let dump = JsonNode::root(&file);
        self.root = Some(dump.required("root")?.b256()?);
        let accounts = dump.required("accounts")?;
        let mut changes = ChangeSet::default();
        for (_, entry) in accounts.fields()? {
            let address = match entry.optional("address")? {
                Some(address) => address.address()?,
                None => entry.key_address()?,
            };
            self.add(&mut changes, geth_account(&entry, address)?);
        }
        Ok(changes)
    }

    /// Lines that are not empty, with their numbers from 1.
    fn read_lines(
        &mut self,
        reader: &mut Box<dyn BufRead + Send>,
    ) -> Result<Vec<(u64, Vec<u8>)>, RecordedError> {
        let name = self.path.clone();
        let lines = &mut self.lines;
        let path = |line: u64| PathBuf::from(format!("{}:{line}", name.display()));
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES {
            let mut line = Vec::new();
            let read = reader.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
            if let Err(source) = read {
                return Err(RecordedError::Io { path: path(*lines + 1), source });
            }
            if line.is_empty() {
                break;
            }
            if line.len() as u64 > LINE_BYTES_MAX {
                return Err(RecordedError::TooLarge { path: path(*lines + 1), limit_bytes: LINE_BYTES_MAX });
            }
            *lines += 1;
            bytes += line.len();
            if !line.trim_ascii().is_empty() {
                batch.push((*lines, line));
            }
        }
        Ok(batch)
    }
}

/// Whether a file's first line is an account's: a whole object with an address. Consumes nothing.
fn begins_with_leaf(reader: &mut Box<dyn BufRead + Send>) -> io::Result<bool> {
    let start = reader.fill_buf()?;
    let line = start.trim_ascii_start();
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    // The first line may be longer than the buffer: then its beginning tells.
    let is_object = line.starts_with(b"{") && line.len() > 1;
    let at = |name: &[u8]| line.windows(name.len()).position(|window| window == name);
    // A dump may be one line, too.
    let is_dump = |address| at(b"\"accounts\"").is_some_and(|accounts| accounts < address);
    Ok(is_object && at(b"\"address\"").is_some_and(|address| !is_dump(address)))
}

/// The root of a dump that goes on with one account a line: its first line has nothing else. Consumes that line.
fn geth_root(reader: &mut Box<dyn BufRead + Send>) -> io::Result<Option<B256>> {
    /// Bytes that such a line has at most.
    const LINE_MAX: usize = 200;
    let start = reader.fill_buf()?;
    let Some(end) = start.iter().take(LINE_MAX).position(|byte| *byte == b'\n') else { return Ok(None) };
    let root = match serde_json::from_slice(&start[..end]) {
        Ok(serde_json::Value::Object(fields)) if fields.len() == 1 => {
            fields.get("root").and_then(|root| root.as_str()).and_then(|root| root.parse().ok())
        }
        _ => None,
    };
    if root.is_some() {
        reader.consume(end + 1);
    }
    Ok(root)
}

/// Whether an object is what `geth dump` writes.
fn is_dump(value: &serde_json::Value) -> bool {
    value.get("accounts").is_some() && value.get("config").is_none()
}

fn code_of(code: Bytes) -> Bytecode {
    // Code from before EIP-3541 may begin as nothing that is known today does.
    Bytecode::new_raw_checked(code.clone()).unwrap_or_else(|_| Bytecode::new_legacy(code))
}

/// An account as geth writes it.
fn geth_account(entry: &JsonNode<'_>, address: Address) -> Result<Decoded, RecordedError> {
    let code = entry.optional("code")?.map(|code| code.bytes()).transpose()?.filter(|code| !code.is_empty());
    let stated = entry.optional("codeHash")?;
    let code_hash = match (&code, &stated) {
        (Some(code), _) => keccak256(code),
        (None, Some(hash)) => hash.b256()?,
        (None, None) => KECCAK256_EMPTY,
    };
    if let Some(stated) = stated
        && stated.b256()? != code_hash
    {
        return Err(stated.refuse(&format!("the hash of the code, {code_hash}")));
    }
    let after = Account {
        balance: entry.required("balance")?.decimal()?,
        nonce: entry.optional("nonce")?.map_or(Ok(0), |nonce| nonce.u64())?,
        code_hash,
    };
    let storage = entry.optional("storage")?.map_or(Ok(Vec::new()), |slots| slots_of(&slots))?;
    let change = AccountChange { address, before: None, after: Some(after), storage_wiped: true, storage };
    Ok((change, code))
}

/// Slots that are not zero.
fn slots_of(slots: &JsonNode<'_>) -> Result<Vec<SlotChange>, RecordedError> {
    let mut storage = Vec::new();
    for (_, value) in slots.fields()? {
        let (slot, after) = (value.key_u256()?, value.u256()?);
        if !after.is_zero() {
            storage.push(SlotChange { slot, before: U256::ZERO, after });
        }
    }
    // Two texts may be one number.
    let mut sorted: Vec<U256> = storage.iter().map(|slot| slot.slot).collect();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(slots.refuse("every slot once"));
    }
    Ok(storage)
}

/// Decodes an account; `file` names file and line.
fn decode(file: PathBuf, text: &[u8], form: Form) -> Result<Decoded, RecordedError> {
    let value = match serde_json::from_slice(text) {
        Ok(value) => value,
        Err(source) => return Err(RecordedError::Json { path: file, source }),
    };
    let file = JsonFile { path: file, value };
    let entry = JsonNode::root(&file);
    if form == Form::Geth {
        return geth_account(&entry, entry.required("address")?.address()?);
    }
    let known = ["address", "balance", "nonce", "code", "codeHash", "storage"];
    for (key, node) in entry.fields()? {
        if !known.contains(&key) {
            return Err(node.refuse(&format!("no such field: those of an account are {}", known.join(", "))));
        }
    }
    let code = entry.optional("code")?;
    let code_hash = match (&code, entry.optional("codeHash")?) {
        (Some(_), Some(hash)) => return Err(hash.refuse("nothing, as `code` is there")),
        (Some(code), None) => keccak256(code.bytes()?),
        (None, Some(hash)) => hash.b256()?,
        (None, None) => KECCAK256_EMPTY,
    };
    let after = Account {
        balance: entry.required("balance")?.u256()?,
        nonce: entry.optional("nonce")?.map_or(Ok(0), |nonce| nonce.u64())?,
        code_hash,
    };
    let storage = entry.optional("storage")?.map_or(Ok(Vec::new()), |slots| slots_of(&slots))?;
    let address = entry.required("address")?.address()?;
    let code = code.map(|code| code.bytes()).transpose()?;
    let change = AccountChange { address, before: None, after: Some(after), storage_wiped: true, storage };
    Ok((change, code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn all(name: &str, content: &[u8]) -> Result<Vec<AccountChange>, LeavesError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let mut leaves = Leaves::open(&path)?;
        let mut accounts = Vec::new();
        while let Some(batch) = leaves.next_batch(&pool)? {
            accounts.extend(batch.accounts);
        }
        let (read, total) = leaves.progress();
        assert_eq!(read, total);
        Ok(accounts)
    }

    fn address(byte: u8) -> String {
        Address::repeat_byte(byte).to_string()
    }

    fn two_lines() -> String {
        let [one, two] = [1, 2].map(address);
        format!(
            "{{\"address\": \"{one}\", \"balance\": \"0x1\", \"nonce\": 2, \"code\": \"0x6001\", \
             \"storage\": {{\"0x0\": \"0x7\", \"0x1\": \"0x0\"}}}}\n\n{{\"balance\":\"5\",\"address\":\"{two}\"}}"
        )
    }

    #[test]
    fn one_account_a_line_plain_or_packed() {
        let plain = all("leaves.jsonl", two_lines().as_bytes()).unwrap();
        let packed = zstd::encode_all(two_lines().as_bytes(), 1).unwrap();
        assert_eq!(all("leaves.jsonl.zst", &packed).unwrap(), plain);
        let [first, second] = plain.as_slice() else { panic!("{plain:?}") };
        let slot = SlotChange { slot: U256::ZERO, before: U256::ZERO, after: U256::from(7) };
        assert_eq!(first.storage, [slot]);
        let account = first.after.unwrap();
        assert_eq!((account.nonce, account.code_hash), (2, keccak256([0x60, 1])));
        assert_eq!(second.after.unwrap(), Account { balance: U256::from(5), ..Account::EMPTY });
    }

    #[test]
    fn a_genesis_file_is_told_by_its_first_line() {
        let account = address(3);
        let genesis = format!(
            r#"{{"config": {{"chainId": 7}}, "gasLimit": "0x1", "difficulty": "0x0", "alloc": {{"{account}": {{"balance": "0x9"}}}}}}"#
        );
        let accounts = all("genesis.json", genesis.as_bytes()).unwrap();
        assert_eq!(accounts[0].after.unwrap().balance, U256::from(9));
        let error = all("genesis.json", b"[]").unwrap_err();
        assert!(matches!(error, LeavesError::Genesis(_)), "{error}");
        assert!(matches!(all("empty", b"").unwrap_err(), LeavesError::Genesis(_)));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let good = two_lines();
        let third = address(3);
        let with =
            |line: &str| all("leaves", format!("{good}\n{line}\n").as_bytes()).unwrap_err().to_string();
        let cases = [
            (
                format!(r#"{{"address": "{third}", "balance": "0xq"}}"#),
                "leaves:4: field `balance` is \"0xq\"",
            ),
            (format!(r#"{{"address": "{third}"}}"#), "leaves:4: field `balance` is missing"),
            (r#"{"balance": "0x1"}"#.to_owned(), "leaves:4: field `address` is missing"),
            (format!(r#"{{"address": "{third}", "balance": "0x1", "stroage": {{}}}}"#), "field `stroage`"),
            (
                format!(r#"{{"address": "{third}", "balance": "0x1", "code": "0x", "codeHash": "0x"}}"#),
                "expected nothing, as `code` is there",
            ),
            (
                format!(
                    r#"{{"address": "{third}", "balance": "0x1", "storage": {{"0x1": "0x1", "0x01": "0x2"}}}}"#
                ),
                "field `storage` is an object of 2 fields: expected every slot once",
            ),
            (
                format!(r#"{{"address": "{third}", "balance": "0x1", "storage": {{"x": "0x1"}}}}"#),
                "leaves:4: field `storage.x`",
            ),
            (format!(r#"{{"address": "{}", "balance": "0x1"}}"#, address(1)), "leaves:4: field `address` is"),
            ("[1]".to_owned(), "leaves:4: holds an array"),
            ("{".to_owned(), "leaves:4: not JSON"),
        ];
        for (line, needle) in cases {
            let error = with(&line);
            assert!(error.contains(needle), "{line}: {error}");
        }
    }
}
