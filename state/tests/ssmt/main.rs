//! The sharded state trie against plain maps and `alloy-trie`.

mod drafts;
mod durable;
mod failing;
mod ground;
mod huge;
mod killed;
mod model;
mod nodes;
mod partial;
mod proofs;
mod random;
mod readers;
mod stores;
mod together;
mod upkeep;
mod versions;
mod witnesses;
