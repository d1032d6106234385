//! The sharded state trie against plain maps and `alloy-trie`.

mod drafts;
mod model;
mod nodes;
mod partial;
mod proofs;
mod random;
mod readers;
mod witnesses;
