//! How fast batches of messages are hashed, by the ways of this processor and by devices, side by side.

mod contest;
mod load;

pub use contest::{HashResult, WrongDigest, contest};
pub use load::HashLoad;
