use super::{RecordedError, json::Node};
use alloy_primitives::{B256, Bytes, map::B256Set};
use std::path::PathBuf;

/// The part of the state's tries that a block reads and changes: nodes, from which its state root can be computed.
#[derive(Debug, Clone)]
pub struct Witness {
    /// The file that it was read from.
    pub file: PathBuf,
    /// The state root before the block.
    pub pre_state_root: B256,
    /// RLPs of nodes, in any order.
    pub nodes: Vec<Bytes>,
    /// Hashes of nodes that are known to be branches though they are not there.
    pub branch_hints: B256Set,
}

impl Witness {
    /// Adds what a later block's witness tells of the state before this one's: the nodes that nothing between them
    /// changed. The others are in no trie that begins at this root, and do no harm.
    #[must_use]
    pub fn with_later(mut self, later: &Self) -> Self {
        self.nodes.extend(later.nodes.iter().cloned());
        self.branch_hints.extend(later.branch_hints.iter().copied());
        self
    }

    /// Decodes `{preStateRoot, state: [rlp node], branchHints?: [hash]}`; other fields tell nothing that the pre-state
    /// does not.
    pub(super) fn decode(root: &Node<'_>) -> Result<Self, RecordedError> {
        let state = root.required("state")?;
        let nodes = state.items()?.map(|node| node.bytes()).collect::<Result<_, _>>()?;
        let branch_hints = match root.optional("branchHints")? {
            Some(hints) => hints.items()?.map(|hint| hint.b256()).collect::<Result<_, _>>()?,
            None => B256Set::default(),
        };
        let pre_state_root = root.required("preStateRoot")?.b256()?;
        Ok(Self { file: root.file().to_path_buf(), pre_state_root, nodes, branch_hints })
    }
}
