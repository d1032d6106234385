use super::{RecordedError, json::Node};
use alloy_primitives::{B256, Bytes, map::B256Set};
use alloy_rlp::Decodable;
use alloy_trie::nodes::TrieNode;
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
    /// Hashes of nodes that are known to be branches though they are not there, as far as the file says so.
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

    /// The nodes that may be taken for branches where they are not there and nothing else of them matters: those
    /// hinted at, and all that branches lead to.
    ///
    /// What is left alone when its last sibling goes must be known to be a branch or not. Some tools put it into the
    /// witness in any case, others only if it is none. So what is not there is one; if it is not, the root that
    /// follows is wrong, and the header's shows it.
    #[must_use]
    pub fn likely_branches(&self) -> B256Set {
        let mut likely = self.branch_hints.clone();
        for node in &self.nodes {
            if let Ok(TrieNode::Branch(branch)) = TrieNode::decode(&mut &node[..]) {
                likely.extend(branch.stack.iter().filter_map(|child| child.as_hash()));
            }
        }
        likely
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
