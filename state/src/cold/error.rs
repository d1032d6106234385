use super::page::PageNumber;
use crate::{ssmt::error::TrieName, trie::update::path_text};
use alloy_primitives::B256;
use citius_io::DiskError;
use std::sync::Arc;

/// What is wrong with a page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageDamage {
    /// Its bytes are not those that were written.
    #[error("its checksum is {found:#018x}, and says {stated:#018x}")]
    Checksum {
        /// What the page says.
        stated: u64,
        /// That of its bytes.
        found: u64,
    },
    /// It does not begin as pages do.
    #[error("it does not begin as pages do")]
    Magic,
    /// It is of another form than this program reads.
    #[error("it is of form {found}, and this program reads form {known}")]
    Version {
        /// The page's form.
        found: u8,
        /// The form that is known.
        known: u8,
    },
    /// It is of no kind that is known.
    #[error("it is of an unknown kind, {found}")]
    Kind {
        /// The page's kind.
        found: u8,
    },
    /// It belongs elsewhere: it was written to the wrong place, or nothing was written here since.
    #[error("it belongs to {stated}")]
    Place {
        /// Where the page says that it is.
        stated: PageNumber,
    },
    /// What it holds cannot be.
    #[error("{0}")]
    Content(&'static str),
}

/// Why nothing was read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ColdError {
    /// A page is not what was written.
    #[error("{number} is damaged: {damage}")]
    Damaged {
        /// The page.
        number: PageNumber,
        /// What is wrong with it.
        damage: PageDamage,
    },
    /// A part of the state is known by its hash only.
    #[error("of the subtrie at {key} / {nibbles} nibbles the hash alone is stored")]
    Blinded {
        /// A key that begins as the subtrie's do.
        key: B256,
        /// How many of its nibbles are those of the subtrie.
        nibbles: u8,
    },
    /// Nothing is stored where the trie in memory has a subtrie by its hash.
    #[error("{trie}: nothing is stored below path {}", path_text(path))]
    Missing {
        /// Which trie.
        trie: TrieName,
        /// The nibbles from the trie's root to the subtrie.
        path: Vec<u8>,
    },
    /// Pages do not have the root that they are to have.
    #[error("the pages have the root {found}, not {expected}")]
    WrongRoot {
        /// What they should have.
        expected: B256,
        /// What they have.
        found: B256,
    },
    /// A disk failed.
    #[error(transparent)]
    Disk(Arc<DiskError>),
    /// A write or a sync failed before: it is not known what of it is on the disk, and nothing more is accepted. What was
    /// acknowledged is found again when the store is opened after a restart of the machine: before, the system may show what is not on
    /// the disk.
    #[error(
        "the store accepts nothing more since a write failed: see to the disk, restart the machine, and open it again"
    )]
    Failed,
    /// Whoever made a checkpoint panicked. The last checkpoint stands, and no more are made until the store is opened again.
    #[error("a checkpoint panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// Something does not fit where it belongs.
    #[error("a {what} of {bytes} bytes: at most {most} fit")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// How large it is.
        bytes: u64,
        /// How large it may be.
        most: u64,
    },
    /// The store would grow beyond what it may take of the disk. Nothing was written.
    #[error("the store would take {needed} bytes of the disk: its budget is {budget}")]
    Budget {
        /// Bytes that it would take.
        needed: u64,
        /// Bytes that it may take.
        budget: u64,
    },
    /// Records of the journal are missing that were acknowledged.
    #[error(
        "the journal is damaged: {missing} is missing, though {behind} was written when it was on the disk"
    )]
    Journal {
        /// Where something is missing.
        missing: String,
        /// What tells so.
        behind: String,
    },
    /// It was written by a newer version of this program.
    #[error(
        "the {what} has form {found}, and this program knows forms up to {known}: it was written by a newer version"
    )]
    Version {
        /// What has it.
        what: &'static str,
        /// Its form.
        found: u32,
        /// The newest form that is known.
        known: u32,
    },
    /// There is no superblock that is whole.
    #[error("neither superblock is whole: {first}; {second}")]
    Superblocks {
        /// What is wrong with the first.
        first: PageDamage,
        /// What is wrong with the second.
        second: PageDamage,
    },
    /// A record of the journal is none, though its checksum is right.
    #[error("{place} of the journal holds no block")]
    Record {
        /// Where it is.
        place: String,
    },
    /// A block is neither in the journal nor the checkpoint's.
    #[error("block {hash} is not stored, or older than the last checkpoint")]
    Unknown {
        /// Its hash.
        hash: B256,
    },
    /// A block does not follow what is stored.
    #[error("block {number} follows {parent}, and the last that is stored is {last}")]
    Order {
        /// The block's number.
        number: u64,
        /// Its parent.
        parent: B256,
        /// The last block's hash.
        last: B256,
    },
    /// A state is imported into it, and not all of it is there: it takes no blocks yet.
    #[error(
        "a state is half imported into it, with {accounts} accounts and {slots} slots so far: continue with \
         `citius state import --datadir`, from what it was begun with"
    )]
    Importing {
        /// What is imported.
        source_id: B256,
        /// Accounts that are there.
        accounts: u64,
        /// Slots that are there.
        slots: u64,
    },
    /// An import was begun from something else.
    #[error(
        "the import was begun from another source, {begun}, not {given}: continue with that, or begin in an empty directory"
    )]
    OtherSource {
        /// What it was begun from.
        begun: B256,
        /// What it is to be continued with.
        given: B256,
    },
    /// A state can be imported only where none is.
    #[error(
        "it holds a state already, that after block {block} ({hash}) with the root {root}: import into an empty directory"
    )]
    NotEmpty {
        /// The block's number.
        block: u64,
        /// Its hash.
        hash: B256,
        /// The state's root.
        root: B256,
    },
    /// An account, or a slot of one, is imported twice.
    #[error("the account with the hashed address {key}, or a slot of it, is there twice")]
    Twice {
        /// The hash of its address.
        key: B256,
    },
    /// Slots are imported of an account that is not there.
    #[error("slots of the account with the hashed address {key} come before it")]
    NotBegun {
        /// The hash of its address.
        key: B256,
    },
    /// A snapshot's file is not what was written.
    #[error("{file} of the snapshot is damaged at chunk {chunk}: {what}")]
    Snapshot {
        /// The file.
        file: String,
        /// Chunks before it.
        chunk: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A range of a snapshot does not have the hashes that lead to the state's root.
    #[error("{file} of the snapshot leads to the root {found}, not {expected}")]
    SnapshotRoot {
        /// The file.
        file: String,
        /// The root that it should lead to.
        expected: B256,
        /// The one that it leads to.
        found: B256,
    },
}

impl PartialEq for ColdError {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for ColdError {}

impl From<DiskError> for ColdError {
    fn from(error: DiskError) -> Self {
        Self::Disk(Arc::new(error))
    }
}

impl ColdError {
    /// A page that holds what cannot be.
    pub(crate) fn content(number: PageNumber, what: &'static str) -> Self {
        Self::Damaged { number, damage: PageDamage::Content(what) }
    }
}
