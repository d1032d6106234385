//! The vocabulary of state: what the engine reads, what it returns, and a map that does both.
//!
//! - [`StateReader`] is the one trait through which the engine sees a state. It answers with a value, with a
//!   typed [`ReadError::NotInWitness`], or with a [`Ticket`] that completes later.
//! - [`ChangeSet`] is what one block did to the state: accounts and slots before and after.
//! - [`MemoryState`] implements the reader over plain maps and applies change sets; [`RevmReader`] turns any
//!   revm `DatabaseRef` into a reader.
//!
//! ```
//! use alloy_primitives::{Address, U256};
//! use citius_state::{Account, MemoryState, StateReader};
//!
//! let alice = Address::with_last_byte(0xa1);
//! let mut state = MemoryState::complete();
//! state.set_account(alice, Account { balance: U256::from(7), ..Account::EMPTY });
//!
//! assert_eq!(state.account(alice).unwrap().unwrap().balance, U256::from(7));
//! assert_eq!(state.account(Address::ZERO).unwrap(), None); // complete: an absent account does not exist
//! ```

mod account;
mod change_set;
pub mod cold;
mod commits;
pub mod durable;
mod memory;
mod reader;
mod recording;
mod revm_reader;
pub mod ssmt;
mod ticket;
pub mod trie;
mod workers;

pub use account::Account;
pub use change_set::{AccountChange, ChangeSet, SlotChange};
pub use commits::{CommitSink, Committed};
pub use memory::MemoryState;
pub use reader::{ReadError, StateKey, StateReader};
pub use recording::{RecordingReader, Touched};
pub use revm_reader::RevmReader;
pub use ticket::{Ticket, TicketIssuer};
pub use workers::{CallerAlone, IdleWork, SharedWork, Workers};
