//! State on disk: pages of sorted accounts and slots with the state after some block, and a journal of the blocks since.
//!
//! | | |
//! |---|---|
//! | [`Store`] | appends blocks, brings them from the journal to the pages, finds both again |
//! | `journal`, `block` | records of blocks, durable in groups of one sync each |
//! | `line` | the blocks of the journal that are not in the pages, on forks, too |
//! | `superblock`, `space`, `file` | what all is found from; which pages are in use; the file of pages while a checkpoint is made |
//! | `page` | 4 KiB with a checksum, a kind, and the number of the place where they belong |
//! | `items` | what is on pages: `record`s of accounts and slots, and `codes`; references to subtries on other pages |
//! | `merkle` | the roots of subtries out of either |
//! | `pack` | what goes on which page |
//! | `tree` | a trie on pages, and what it is after writes; `leaves` say what becomes of accounts and slots |
//! | `parts` | subtries for the trie in memory to take in |
//! | `walk`, `view` | the way to a key, page by page; the pages of a checkpoint for all who read beside the next one |
//! | `asking` | reads that nobody waits for |
//! | `verify` | everything read and hashed again |
//! | `bulk` | a state that comes from elsewhere, in steps: [`Import`] |
//! | `records` | records of a trie in the order of their keys; `stream` hashes them |
//! | `snapshot`, `chunk` | a state as files, by ranges of keys, each to be checked alone: [`Snapshot`] |
//! | `compact` | pages moved to the beginning of the file, whose end is given back |

pub(crate) mod asking;
mod block;
mod bulk;
mod chunk;
pub(crate) mod codes;
mod compact;
mod error;
mod file;
mod items;
mod journal;
mod leaves;
mod line;
mod merkle;
mod pack;
mod page;
pub(crate) mod parts;
mod prefix;
mod record;
mod records;
mod snapshot;
mod space;
mod store;
mod stream;
mod superblock;
#[cfg(test)]
mod tests;
mod tree;
mod verify;
pub(crate) mod view;
pub(crate) mod walk;
mod ways;

pub use block::BlockRecord;
pub use bulk::{Import, ImportAccount, ImportProgress, ImportStep};
pub use compact::{Compacted, SpaceStats};
pub use error::{ColdError, PageDamage};
pub use file::PageCounts;
pub use journal::Durability;
pub use page::{PAGE_BYTES, PageNumber};
pub use snapshot::{Exported, RangeEntry, Snapshot, SnapshotProgress};
pub use store::{BlockId, Opened, Store, StoreConfig, StoreStats};
pub use verify::Verified;
