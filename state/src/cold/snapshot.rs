//! A state as files: cut by the first byte of the accounts' keys into ranges, each of which can be checked alone against the root.
//!
//! ```text
//! manifest  block u64 | hash | root | ranges u16 | range ..
//! range     first u16 | end u16 | file's bytes u64 | checksum u64 | accounts u64 | slots u64 | codes u64
//! head      block u64 | hash | root | first u16 | end u16 | nodes u16 | node ..
//! node      nibbles u8 | byte u8 | 1 u8 | hash [32]                  a branch
//!           nibbles u8 | byte u8 | 3 u8 | len u8 | bytes             a leaf or an extension
//! accounts  entry ..
//! entry     0 u8 | key [32] | has code u8 | nonce | balance | code hash [32]?     an account; its slots follow
//!           2 u8 | as above                                                       again, for more of its slots
//!           1 u8 | key [32] | value
//! codes     length u32 | bytes ..
//! end       accounts u64 | slots u64 | codes u64
//! ```
//!
//! All in [chunks](super::chunk). Nonce, balance and value are the number's bytes without leading zeros, their count before them in one
//! byte. A range has the accounts whose keys begin with its bytes, with all their slots, and the codes whose hashes do. The nodes of the head
//! are what the state's trie has beside the range: with them the accounts hash to the root.

use super::{
    bulk::{Import, ImportAccount, ImportStep},
    chunk::{ChunkKind, ChunkReader, ChunkWriter},
    codes::CodeRecord,
    error::ColdError,
    file::PageFile,
    merkle::{Item, Node},
    prefix::Prefix,
    record::{AccountRecord, Reader, Record, Slot, Storage, write_short},
    records::{nodes_beside, nodes_by_byte, walk},
    store::{BlockId, Store, StoreConfig},
    stream::Stream,
    superblock::Superblock,
};
use crate::{Account, ssmt::account::encode};
use alloy_primitives::{B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use alloy_rlp::Decodable;
use alloy_trie::nodes::TrieNode;
use citius_hashing::Hasher;
use citius_io::{Disk, DiskError};
use std::{ops::Range, sync::Arc};

const MANIFEST: &str = "manifest";
const RANGE: &str = "range-";
const ACCOUNT: u8 = 0;
const SLOT: u8 = 1;
const AGAIN: u8 = 2;
/// Ranges at most: one for each first byte.
const RANGES_MAX: u16 = 256;
/// Bytes of a chunk, but for one long code.
const CHUNK_BYTES: usize = 1 << 20;
/// Where in a cursor the range stands, above the chunks of it.
const RANGE_SHIFT: u32 = 32;

/// A range of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeEntry {
    /// The first bytes of keys, of `0..256`.
    pub bytes: Range<u16>,
    /// Bytes of its file.
    pub file_bytes: u64,
    /// The checksum of its file.
    pub checksum: u64,
    /// Accounts.
    pub accounts: u64,
    /// Slots.
    pub slots: u64,
    /// Codes.
    pub codes: u64,
}

/// How far an export or import has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SnapshotProgress {
    /// Ranges that are done.
    pub ranges_done: usize,
    /// Ranges in all.
    pub ranges: usize,
}

/// A snapshot that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The block after which the state is.
    pub block: BlockId,
    /// The state's root.
    pub root: B256,
    /// Its ranges.
    pub ranges: Vec<RangeEntry>,
    /// Ranges that were there from an earlier export of the same state.
    pub kept: usize,
}

/// A snapshot in a directory.
#[derive(Debug)]
pub struct Snapshot {
    disk: Arc<dyn Disk>,
    block: BlockId,
    root: B256,
    ranges: Vec<RangeEntry>,
    id: B256,
}

fn range_name(number: usize) -> String {
    format!("{RANGE}{number:04}")
}

/// The first bytes of keys of one of so many ranges.
fn range_bytes(number: u16, ranges: u16) -> Range<u16> {
    let start = |number: u16| (u32::from(number) * 256 / u32::from(ranges)) as u16;
    start(number)..start(number + 1)
}

/// What a range file says that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Head {
    block: BlockId,
    root: B256,
    bytes: Range<u16>,
    beside: Vec<(Prefix, Node)>,
}

impl Store {
    /// Writes the state in the pages as a snapshot of so many ranges (1 to 256) to a directory. Ranges that are there already, and are
    /// right, are kept; so it goes on where an earlier one ended, if no checkpoint was made since. Checkpoints wait for it.
    ///
    /// # Errors
    ///
    /// [`ColdError::Blinded`] if the state is not all here, [`ColdError::Damaged`]; what either disk says.
    pub fn export(
        &self,
        target: &Arc<dyn Disk>,
        ranges: u16,
        hasher: &Hasher,
        progress: &mut dyn FnMut(&SnapshotProgress),
    ) -> Result<Exported, ColdError> {
        let _lock = target.lock()?;
        let ranges = ranges.clamp(1, RANGES_MAX);
        self.with_pages(|pages, superblock| export(pages, &superblock, target, ranges, hasher, progress))
    }
}

fn export(
    pages: &mut PageFile,
    superblock: &Superblock,
    target: &Arc<dyn Disk>,
    ranges: u16,
    hasher: &Hasher,
    progress: &mut dyn FnMut(&SnapshotProgress),
) -> Result<Exported, ColdError> {
    let block = BlockId { number: superblock.block, hash: superblock.hash };
    let root = superblock.root;
    let nodes = nodes_by_byte(pages, superblock.accounts, hasher)?;
    let names = target.names()?;
    let is_there = |name: &str| names.iter().any(|other| other == name);
    let mut entries = Vec::new();
    let mut kept = 0;
    let mut is_removed = false;
    for number in 0..ranges {
        let bytes = range_bytes(number, ranges);
        let name = range_name(number.into());
        let beside = nodes_beside(&nodes, &bytes, hasher);
        let head = Head { block, root, bytes, beside };
        let found =
            if is_there(&name) { check_range(target, &name, root, hasher) } else { Err(ColdError::Failed) };
        let entry = match found {
            Ok((found, entry)) if found == head => {
                kept += 1;
                entry
            }
            _ => {
                if !is_removed && is_there(MANIFEST) {
                    // It must not name what is not there any more.
                    target.remove(MANIFEST)?;
                    target.sync_directory()?;
                }
                is_removed = true;
                write_range(pages, superblock, target, &name, &head)?
            }
        };
        entries.push(entry);
        progress(&SnapshotProgress { ranges_done: entries.len(), ranges: ranges.into() });
    }
    target.sync_directory()?;
    write_manifest(target, block, root, &entries)?;
    for name in names.iter().filter(|name| name.starts_with(RANGE)) {
        if !(0..entries.len()).any(|number| range_name(number) == *name) {
            target.remove(name)?;
        }
    }
    Ok(Exported { block, root, ranges: entries, kept })
}

fn write_manifest(
    target: &Arc<dyn Disk>,
    block: BlockId,
    root: B256,
    ranges: &[RangeEntry],
) -> Result<(), ColdError> {
    let mut body = Vec::new();
    write_block(&mut body, block, root);
    body.extend_from_slice(&(ranges.len() as u16).to_le_bytes());
    for RangeEntry { bytes, file_bytes, checksum, accounts, slots, codes } in ranges {
        body.extend_from_slice(&bytes.start.to_le_bytes());
        body.extend_from_slice(&bytes.end.to_le_bytes());
        for number in [file_bytes, checksum, accounts, slots, codes] {
            body.extend_from_slice(&number.to_le_bytes());
        }
    }
    let mut writer = ChunkWriter::create(target, MANIFEST)?;
    writer.write(ChunkKind::Manifest, &body)?;
    writer.finish()?;
    Ok(target.sync_directory()?)
}

fn write_block(out: &mut Vec<u8>, block: BlockId, root: B256) {
    out.extend_from_slice(&block.number.to_le_bytes());
    out.extend_from_slice(&block.hash[..]);
    out.extend_from_slice(&root[..]);
}

fn u16_of(from: &mut Reader<'_>) -> Option<u16> {
    Some(u16::from_le_bytes(from.take(2)?.try_into().ok()?))
}

fn u64_of(from: &mut Reader<'_>) -> Option<u64> {
    Some(u64::from_le_bytes(from.take(8)?.try_into().ok()?))
}

fn block_of(from: &mut Reader<'_>) -> Option<(BlockId, B256)> {
    let block = BlockId { number: u64_of(from)?, hash: from.hash()? };
    Some((block, from.hash()?))
}

impl Head {
    fn write(&self) -> Vec<u8> {
        let mut body = Vec::new();
        write_block(&mut body, self.block, self.root);
        for number in [self.bytes.start, self.bytes.end, self.beside.len() as u16] {
            body.extend_from_slice(&number.to_le_bytes());
        }
        for (prefix, node) in &self.beside {
            body.extend_from_slice(&[prefix.nibbles(), prefix.key()[0]]);
            match node {
                Node::Branch(item) => {
                    body.push(1);
                    // Nodes of accounts are never so short that they stand in their parents whole.
                    body.extend_from_slice(&item.as_hash().unwrap_or_default()[..]);
                }
                Node::Short(rlp) => {
                    body.push(3);
                    write_short(&mut body, rlp);
                }
            }
        }
        body
    }

    fn read(body: &[u8]) -> Option<Self> {
        let mut from = Reader(body);
        let (block, root) = block_of(&mut from)?;
        let bytes = u16_of(&mut from)?..u16_of(&mut from)?;
        if bytes.is_empty() || bytes.end > 256 {
            return None;
        }
        let mut beside: Vec<(Prefix, Node)> = Vec::new();
        for _ in 0..u16_of(&mut from)? {
            let (nibbles, byte) = (from.byte()?, from.byte()?);
            if !(1..=2).contains(&nibbles) {
                return None;
            }
            let prefix = Prefix::of(&B256::repeat_byte(byte), nibbles);
            let first = u16::from(prefix.key()[0]);
            let end = first + if nibbles == 1 { 16 } else { 1 };
            let is_outside = end <= bytes.start || first >= bytes.end;
            let is_behind =
                beside.last().is_none_or(|(last, _)| last.key() < prefix.key() && !last.contains(&prefix));
            let node = match from.byte()? {
                1 => Node::Branch(Item::hash(&from.hash()?)),
                3 => Node::Short(short_of(from.short()?)?),
                _ => return None,
            };
            if prefix.key()[0] != byte || !is_outside || !is_behind {
                return None;
            }
            beside.push((prefix, node));
        }
        from.0.is_empty().then_some(Self { block, root, bytes, beside })
    }
}

/// A leaf or an extension, as it must be encoded.
fn short_of(rlp: &[u8]) -> Option<Vec<u8>> {
    let mut rest = rlp;
    let node = TrieNode::decode(&mut rest).ok()?;
    let is_short = matches!(node, TrieNode::Leaf(_) | TrieNode::Extension(_));
    (is_short && rest.is_empty() && alloy_rlp::encode(&node) == rlp).then(|| rlp.to_vec())
}

/// Entries on their way to a file.
struct Entries {
    writer: ChunkWriter,
    body: Vec<u8>,
    kind: ChunkKind,
    /// The account that slots belong to.
    open: Option<(B256, Account)>,
    accounts: u64,
    slots: u64,
    codes: u64,
}

impl Entries {
    fn flush(&mut self) -> Result<(), ColdError> {
        if !self.body.is_empty() {
            self.writer.write(self.kind, &self.body)?;
            self.body.clear();
        }
        Ok(())
    }

    fn account(&mut self, key: B256, account: Account) -> Result<(), ColdError> {
        if self.body.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        write_account(&mut self.body, ACCOUNT, &key, &account);
        self.open = Some((key, account));
        self.accounts += 1;
        Ok(())
    }

    fn slot(&mut self, slot: &Slot) -> Result<(), ColdError> {
        if self.body.len() >= CHUNK_BYTES {
            self.flush()?;
            if let Some((key, account)) = &self.open {
                write_account(&mut self.body, AGAIN, key, account);
            }
        }
        self.body.push(SLOT);
        self.body.extend_from_slice(&slot.key[..]);
        write_number(&mut self.body, slot.value);
        self.slots += 1;
        Ok(())
    }

    fn code(&mut self, code: &[u8]) -> Result<(), ColdError> {
        if self.body.len() + code.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        self.body.extend_from_slice(&(code.len() as u32).to_le_bytes());
        self.body.extend_from_slice(code);
        self.codes += 1;
        Ok(())
    }
}

fn write_number(out: &mut Vec<u8>, number: U256) {
    write_short(out, &number.to_be_bytes::<32>()[32 - number.byte_len()..]);
}

fn number_of(from: &mut Reader<'_>) -> Option<U256> {
    let bytes = from.short()?;
    (bytes.len() <= 32 && bytes.first() != Some(&0)).then(|| U256::from_be_slice(bytes))
}

fn write_account(out: &mut Vec<u8>, tag: u8, key: &B256, account: &Account) {
    out.push(tag);
    out.extend_from_slice(&key[..]);
    out.push(u8::from(account.has_code()));
    write_number(out, U256::from(account.nonce));
    write_number(out, account.balance);
    if account.has_code() {
        out.extend_from_slice(&account.code_hash[..]);
    }
}

fn write_range(
    pages: &mut PageFile,
    superblock: &Superblock,
    target: &Arc<dyn Disk>,
    name: &str,
    head: &Head,
) -> Result<RangeEntry, ColdError> {
    let mut writer = ChunkWriter::create(target, name)?;
    writer.write(ChunkKind::Head, &head.write())?;
    let (body, kind) = (Vec::new(), ChunkKind::Accounts);
    let mut out = Entries { writer, body, kind, open: None, accounts: 0, slots: 0, codes: 0 };
    if let Some(tree) = superblock.accounts {
        let mut each = |pages: &mut PageFile, record: AccountRecord| write_record(pages, &mut out, record);
        walk(pages, &tree, &head.bytes, &mut each)?;
    }
    out.flush()?;
    out.kind = ChunkKind::Codes;
    if let Some(tree) = superblock.codes {
        let mut each =
            |pages: &mut PageFile, record: CodeRecord| out.code(&CodeRecord::bytes(record, pages)?);
        walk(pages, &tree, &head.bytes, &mut each)?;
    }
    out.flush()?;
    let Entries { mut writer, accounts, slots, codes, .. } = out;
    let end: Vec<u8> = [accounts, slots, codes].iter().flat_map(|count| count.to_le_bytes()).collect();
    writer.write(ChunkKind::End, &end)?;
    let (file_bytes, checksum) = writer.finish()?;
    Ok(RangeEntry { bytes: head.bytes.clone(), file_bytes, checksum, accounts, slots, codes })
}

fn write_record(pages: &mut PageFile, out: &mut Entries, record: AccountRecord) -> Result<(), ColdError> {
    let AccountRecord { key, account, storage } = record;
    out.account(key, account)?;
    match storage {
        Storage::Empty => Ok(()),
        Storage::Inline(_, slots) => slots.iter().try_for_each(|slot| out.slot(slot)),
        Storage::Pages(tree) => {
            let mut each = |_: &mut PageFile, slot: Slot| out.slot(&slot);
            walk::<Slot, PageFile>(pages, &tree, &(0..256), &mut each)
        }
        Storage::Blinded(_) => Err(ColdError::Blinded { key, nibbles: 64 }),
    }
}

/// The accounts of a chunk.
fn accounts_of(body: &[u8]) -> Option<Vec<ImportAccount>> {
    let mut from = Reader(body);
    let mut accounts: Vec<ImportAccount> = Vec::new();
    while !from.0.is_empty() {
        let tag = from.byte()?;
        let key = from.hash()?;
        if tag == SLOT {
            let value = number_of(&mut from).filter(|value| !value.is_zero())?;
            accounts.last_mut()?.slots.push((key, value));
            continue;
        }
        if tag != ACCOUNT && tag != AGAIN {
            return None;
        }
        let has_code = from.byte()?;
        let nonce = number_of(&mut from)?.try_into().ok()?;
        let balance = number_of(&mut from)?;
        let code_hash = match has_code {
            0 => KECCAK256_EMPTY,
            1 => from.hash()?,
            _ => return None,
        };
        let account = Account { balance, nonce, code_hash };
        accounts.push(ImportAccount { key, account, slots: Vec::new(), is_continued: tag == AGAIN });
    }
    Some(accounts)
}

/// The codes of a chunk.
fn codes_of(body: &[u8]) -> Option<Vec<Bytes>> {
    let mut from = Reader(body);
    let mut codes = Vec::new();
    while !from.0.is_empty() {
        let len = u32::from_le_bytes(from.take(4)?.try_into().ok()?);
        codes.push(Bytes::copy_from_slice(from.take(len as usize)?));
    }
    Some(codes)
}

/// Hashes a range's accounts, as they come.
struct RangeHash<'a> {
    hasher: &'a Hasher,
    bytes: Range<u16>,
    state: Stream,
    open: Option<OpenAccount>,
    accounts: u64,
    slots: u64,
}

/// An account whose slots come.
struct OpenAccount {
    key: B256,
    account: Account,
    storage: Stream,
    last: Option<B256>,
}

impl RangeHash<'_> {
    fn close(&mut self) {
        if let Some(OpenAccount { key, account, storage, .. }) = self.open.take() {
            let root = storage.root(self.hasher);
            self.state.leaf(key, self.hasher, |out| encode(&account, root, out));
        }
    }

    /// Whether it may come behind what came.
    fn add(&mut self, part: ImportAccount) -> Result<(), &'static str> {
        let ImportAccount { key, account, slots, is_continued } = part;
        match &self.open {
            Some(open) if is_continued && open.key == key && open.account == account => {}
            _ if is_continued => return Err("it goes on with another account than the one before it"),
            Some(open) if open.key >= key => return Err("its accounts are not in order"),
            _ => {
                if !self.bytes.contains(&u16::from(key[0])) {
                    return Err("it holds an account that is not of its range");
                }
                self.close();
                self.open = Some(OpenAccount { key, account, storage: Stream::default(), last: None });
                self.accounts += 1;
            }
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        for (key, value) in slots {
            if open.last.is_some_and(|last| last >= key) {
                return Err("its slots are not in order");
            }
            open.last = Some(key);
            open.storage.leaf(key, self.hasher, |out| Slot { key, value }.write_value(out));
            self.slots += 1;
        }
        Ok(())
    }
}

/// Reads a range file, and checks that it is whole, and with the nodes beside it has a root.
fn check_range(
    disk: &Arc<dyn Disk>,
    name: &str,
    expected: B256,
    hasher: &Hasher,
) -> Result<(Head, RangeEntry), ColdError> {
    let mut reader = ChunkReader::open(disk, name)?;
    let head = read_head(&mut reader)?;
    let (before, behind): (Vec<_>, Vec<_>) =
        head.beside.iter().cloned().partition(|(prefix, _)| u16::from(prefix.key()[0]) < head.bytes.start);
    let mut hash = RangeHash {
        hasher,
        bytes: head.bytes.clone(),
        state: Stream::default(),
        open: None,
        accounts: 0,
        slots: 0,
    };
    before.into_iter().for_each(|(prefix, node)| hash.state.node(prefix, node, hasher));
    let mut codes = 0;
    let mut last_code: Option<B256> = None;
    let end = loop {
        let chunk = reader.next()?;
        match chunk.kind {
            ChunkKind::Accounts if codes == 0 => {
                let parts = accounts_of(&chunk.body);
                let parts = parts.ok_or_else(|| reader.damaged("its accounts do not fit together"))?;
                for part in parts {
                    hash.add(part).map_err(|what| reader.damaged(what))?;
                }
            }
            ChunkKind::Codes => {
                let all = codes_of(&chunk.body);
                for code in all.ok_or_else(|| reader.damaged("its codes do not fit together"))? {
                    let key = keccak256(&code);
                    if !head.bytes.contains(&u16::from(key[0])) || last_code.is_some_and(|last| last >= key) {
                        return Err(reader.damaged("its codes are not in order, or not of its range"));
                    }
                    last_code = Some(key);
                    codes += 1;
                }
            }
            ChunkKind::End => break chunk,
            _ => return Err(reader.damaged("it is of a kind that does not belong there")),
        }
    };
    hash.close();
    behind.into_iter().for_each(|(prefix, node)| hash.state.node(prefix, node, hasher));
    let RangeHash { state, accounts, slots, .. } = hash;
    let counts: Vec<u8> = [accounts, slots, codes].iter().flat_map(|count| count.to_le_bytes()).collect();
    if end.body != counts {
        return Err(reader.damaged("it counts other accounts, slots or codes"));
    }
    let found = state.root(hasher);
    if found != expected {
        return Err(ColdError::SnapshotRoot { file: name.to_owned(), expected, found });
    }
    let (file_bytes, checksum) = reader.position();
    let entry = RangeEntry { bytes: head.bytes.clone(), file_bytes, checksum, accounts, slots, codes };
    Ok((head, entry))
}

fn read_head(reader: &mut ChunkReader) -> Result<Head, ColdError> {
    let chunk = reader.next()?;
    let head = (chunk.kind == ChunkKind::Head).then(|| Head::read(&chunk.body)).flatten();
    head.ok_or_else(|| reader.damaged("it is no head of a range"))
}

impl Snapshot {
    /// Opens a snapshot by its manifest.
    ///
    /// # Errors
    ///
    /// [`ColdError::Snapshot`], [`ColdError::Version`]; what the disk says: [`citius_io::DiskError::NotFound`] if the export was
    /// not done.
    pub fn open(disk: Arc<dyn Disk>) -> Result<Self, ColdError> {
        let mut reader = ChunkReader::open(&disk, MANIFEST)?;
        let chunk = reader.next()?;
        let parsed = (chunk.kind == ChunkKind::Manifest).then(|| manifest_of(&chunk.body)).flatten();
        let (block, root, ranges) =
            parsed.ok_or_else(|| reader.damaged("it is no manifest of a whole state"))?;
        Ok(Self { disk, block, root, ranges, id: keccak256(&chunk.body) })
    }

    /// Whether a directory has the manifest of a snapshot.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn is_in(disk: &dyn Disk) -> Result<bool, DiskError> {
        Ok(disk.names()?.iter().any(|name| name == MANIFEST))
    }

    /// The block after which the state is.
    #[must_use]
    pub fn block(&self) -> BlockId {
        self.block
    }

    /// The state's root, as the manifest says.
    #[must_use]
    pub fn root(&self) -> B256 {
        self.root
    }

    /// What it consists of.
    #[must_use]
    pub fn ranges(&self) -> &[RangeEntry] {
        &self.ranges
    }

    /// Reads a range, and checks it against the manifest and the root. Needs none of the others.
    ///
    /// # Errors
    ///
    /// [`ColdError::Snapshot`], [`ColdError::SnapshotRoot`]; what the disk says.
    ///
    /// # Panics
    ///
    /// If there is no such range.
    pub fn verify_range(&self, number: usize, hasher: &Hasher) -> Result<(), ColdError> {
        let name = range_name(number);
        let (head, entry) = check_range(&self.disk, &name, self.root, hasher)?;
        if (head.block, head.root) != (self.block, self.root) || entry != self.ranges[number] {
            let what = "it is not what the manifest says";
            return Err(ColdError::Snapshot { file: name, chunk: 0, what });
        }
        Ok(())
    }

    /// Imports the state into an empty store, or goes on with that. Every range is checked before anything of it is imported; what is
    /// imported becomes durable in steps of about `step_bytes`. `random` as for [`Store::open`].
    ///
    /// # Errors
    ///
    /// Those of [`Import`] and [`Snapshot::verify_range`].
    pub fn import(
        &self,
        disk: Arc<dyn Disk>,
        config: StoreConfig,
        random: u64,
        step_bytes: usize,
        hasher: &Hasher,
        progress: &mut dyn FnMut(&SnapshotProgress),
    ) -> Result<Store, ColdError> {
        let mut import = Import::open(disk, config, random, self.id)?;
        let begun = import.progress().cursor;
        let first = (begun >> RANGE_SHIFT) as usize;
        for number in first..self.ranges.len() {
            let chunks = if number == first { begun & u64::from(u32::MAX) } else { 0 };
            self.import_range(&mut import, number, chunks, step_bytes, hasher)?;
            progress(&SnapshotProgress { ranges_done: number + 1, ranges: self.ranges.len() });
        }
        import.finish(self.block, Some(self.root))
    }

    /// Imports a range, but for its first chunks.
    fn import_range(
        &self,
        import: &mut Import,
        number: usize,
        chunks: u64,
        step_bytes: usize,
        hasher: &Hasher,
    ) -> Result<(), ColdError> {
        self.verify_range(number, hasher)?;
        let mut reader = ChunkReader::open(&self.disk, &range_name(number))?;
        let mut step = ImportStep::default();
        let (mut read, mut bytes) = (0, 0);
        loop {
            let chunk = reader.next()?;
            read += 1;
            if chunk.kind == ChunkKind::End {
                return import.add(step, (number as u64 + 1) << RANGE_SHIFT, hasher);
            }
            if read <= chunks {
                continue;
            }
            match chunk.kind {
                ChunkKind::Accounts => {
                    let parts = accounts_of(&chunk.body);
                    let parts = parts.ok_or_else(|| reader.damaged("its accounts do not fit together"))?;
                    step.accounts.extend(parts);
                }
                ChunkKind::Codes => {
                    let codes = codes_of(&chunk.body);
                    let codes = codes.ok_or_else(|| reader.damaged("its codes do not fit together"))?;
                    step.codes.extend(codes);
                }
                _ => continue,
            }
            bytes += chunk.body.len();
            if bytes >= step_bytes {
                import.add(std::mem::take(&mut step), (number as u64) << RANGE_SHIFT | read, hasher)?;
                bytes = 0;
            }
        }
    }
}

fn manifest_of(body: &[u8]) -> Option<(BlockId, B256, Vec<RangeEntry>)> {
    let mut from = Reader(body);
    let (block, root) = block_of(&mut from)?;
    let mut ranges: Vec<RangeEntry> = Vec::new();
    for _ in 0..u16_of(&mut from)? {
        let bytes = u16_of(&mut from)?..u16_of(&mut from)?;
        let start = ranges.last().map_or(0, |last| last.bytes.end);
        if bytes.start != start || bytes.is_empty() || bytes.end > 256 {
            return None;
        }
        let mut number = || u64_of(&mut from);
        let (file_bytes, checksum) = (number()?, number()?);
        let (accounts, slots, codes) = (number()?, number()?, number()?);
        ranges.push(RangeEntry { bytes, file_bytes, checksum, accounts, slots, codes });
    }
    let is_whole = ranges.last().is_some_and(|last| last.bytes.end == 256);
    (from.0.is_empty() && is_whole).then_some((block, root, ranges))
}

#[cfg(test)]
mod tests {
    use super::*;
    use citius_io::{SimConfig, SimDisk};
    use rand::{Rng, SeedableRng, rngs::SmallRng};

    const ROOT_AT: usize = 8 + 32;

    fn new_disk() -> Arc<dyn Disk> {
        Arc::new(SimDisk::new(SimConfig::default()))
    }

    fn snapshot(accounts: u64) -> (Arc<dyn Disk>, B256) {
        let hasher = Hasher::cpu();
        let config = StoreConfig { segment_bytes: 64 << 10, ..StoreConfig::default() };
        let mut import = Import::open(new_disk(), config, 5, B256::ZERO).unwrap();
        let account = |at: u64| ImportAccount {
            key: keccak256(at.to_be_bytes()),
            account: Account { balance: U256::from(at), ..Account::EMPTY },
            slots: (0..at % 3).map(|slot| (keccak256(slot.to_be_bytes()), U256::from(at))).collect(),
            is_continued: false,
        };
        let codes = (0..9).map(|at| Bytes::from(vec![at; 30])).collect();
        import.add(ImportStep { accounts: (0..accounts).map(account).collect(), codes }, 1, &hasher).unwrap();
        let root = import.root();
        let store = import.finish(BlockId { number: 1, hash: B256::ZERO }, None).unwrap();
        let target = new_disk();
        store.export(&target, 16, &hasher, &mut |_| ()).unwrap();
        (target, root)
    }

    /// Whoever writes a range file with right checksums cannot make it pass for another.
    #[test]
    fn no_other_content_leads_to_the_root_whatever_its_checksums_are() {
        for accounts in [1, 3, 40, 900] {
            let (disk, root) = snapshot(accounts);
            let hasher = Hasher::cpu();
            for seed in 0..600 {
                let mut random = SmallRng::seed_from_u64(seed);
                let name = range_name(random.random_range(0..16));
                let mut reader = ChunkReader::open(&disk, &name).unwrap();
                let mut chunks = vec![reader.next().unwrap()];
                while chunks.last().unwrap().kind != ChunkKind::End {
                    chunks.push(reader.next().unwrap());
                }
                drop(reader);
                let at = random.random_range(0..chunks.len());
                let body = &mut chunks[at].body;
                // Of which block the state is, the manifest says.
                let first = if at == 0 { ROOT_AT } else { 0 };
                let byte = random.random_range(first..body.len());
                match random.random_range(0..4) {
                    0 => body.truncate(byte),
                    1 => {
                        body.remove(byte);
                    }
                    2 => body.insert(byte, random.random()),
                    _ => body[byte] ^= 1 << random.random_range(0..8),
                }
                let other = new_disk();
                let mut writer = ChunkWriter::create(&other, &name).unwrap();
                chunks.iter().for_each(|chunk| writer.write(chunk.kind, &chunk.body).unwrap());
                let entry = writer.finish().unwrap();
                match check_range(&other, &name, root, &hasher) {
                    Err(ColdError::Snapshot { .. } | ColdError::SnapshotRoot { .. }) => {}
                    // What it says of itself, and what is beside it, may be said otherwise.
                    Ok(_) if at == 0 => {}
                    Ok((_, found)) => {
                        let (_, own) = check_range(&disk, &name, root, &hasher).unwrap();
                        let is_same = (found.file_bytes, found.checksum) == (own.file_bytes, own.checksum);
                        assert!(
                            is_same || chunks[at].kind == ChunkKind::Codes,
                            "seed {seed}, {accounts} accounts, {name}: {entry:?}"
                        );
                    }
                    Err(error) => panic!("seed {seed}: {error}"),
                }
            }
        }
    }
}
