//! The plain trie against the Yellow Paper's definition and against `alloy-trie`.

mod index;
mod naive;
mod official;
mod plain;
