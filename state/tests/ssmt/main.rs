//! The sharded state trie against plain maps and `alloy-trie`.

mod ground;
mod huge;
mod model;
mod random;
mod together;
mod versions;
