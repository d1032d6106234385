//! The sharded state trie against plain maps and `alloy-trie`.

mod drafts;
mod model;
mod random;
