//! The sharded state trie against plain maps and `alloy-trie`.

mod model;
mod random;
