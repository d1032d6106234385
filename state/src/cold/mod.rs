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

mod asking;
mod block;
pub(crate) mod codes;
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
mod space;
mod store;
mod superblock;
#[cfg(test)]
mod tests;
mod tree;
mod verify;
pub(crate) mod view;
pub(crate) mod walk;

pub use block::BlockRecord;
pub use error::{ColdError, PageDamage};
pub use file::PageCounts;
pub use journal::Durability;
pub use page::{PAGE_BYTES, PageNumber};
pub use store::{BlockId, Opened, Store, StoreConfig, StoreStats};
pub use verify::Verified;
