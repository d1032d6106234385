use super::{
    draft::Shared,
    error::{SsmtError, VersionId},
    flat::Step,
    shard::{Shard, ShardLog, finish},
    top::Top,
};
use crate::ChangeSet;
use alloy_primitives::{Address, U256};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A state: what the tries were after a block.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) id: VersionId,
    pub(crate) parent: Option<VersionId>,
    pub(crate) top: Arc<Top>,
    /// What the block changed from the parent's state to this one.
    pub(crate) changes: Arc<ChangeSet>,
    /// What that did to the shards; taken when the version is given up, or its parent is.
    pub(crate) logs: Mutex<Vec<(u8, ShardLog)>>,
}

/// The states that are kept: a tree, whose root is the oldest and of which one is the head.
///
/// The shards are at one of them, the current one; from there the logs lead to any other. What a version replaced is
/// given back when its parent is dropped; what it made, when it is discarded itself.
#[derive(Debug)]
pub(crate) struct Versions {
    kept: BTreeMap<VersionId, Arc<Version>>,
    oldest: VersionId,
    head: VersionId,
    current: VersionId,
    /// What is being made of the current version, in the shards already.
    draft: Option<Arc<Shared>>,
    next: u64,
    /// Somebody panicked while the shards were between two versions: nothing can be said of them any more.
    is_torn: Arc<AtomicBool>,
}

/// Says so, if it is dropped by a panic.
#[derive(Debug)]
pub(crate) struct TornOnPanic(Arc<AtomicBool>);

impl Drop for TornOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Relaxed: behind the lock of the versions, or of a draft that is asked for nothing else then.
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

impl Versions {
    pub(crate) fn new(top: Arc<Top>) -> Self {
        let id = VersionId(0);
        let first = Version { id, parent: None, top, changes: Arc::default(), logs: Mutex::default() };
        Self {
            kept: BTreeMap::from([(id, Arc::new(first))]),
            oldest: id,
            head: id,
            current: id,
            draft: None,
            next: 1,
            is_torn: Arc::default(),
        }
    }

    /// To be held while the shards change.
    pub(crate) fn torn_on_panic(&self) -> TornOnPanic {
        TornOnPanic(Arc::clone(&self.is_torn))
    }

    pub(crate) fn get(&self, id: VersionId) -> Result<&Arc<Version>, SsmtError> {
        if self.is_torn.load(Ordering::Relaxed) {
            return Err(SsmtError::Torn);
        }
        self.kept.get(&id).ok_or(SsmtError::UnknownVersion {
            version: id,
            kept: self.kept.len(),
            oldest: self.oldest,
        })
    }

    pub(crate) fn head(&self) -> &Arc<Version> {
        &self.kept[&self.head]
    }

    pub(crate) fn oldest(&self) -> VersionId {
        self.oldest
    }

    /// Whether something is being made of the current version.
    pub(crate) fn has_draft(&self) -> bool {
        self.draft.is_some()
    }

    /// What a slot of the current version was, if a draft may have written it. To be asked after the trie was: the draft
    /// says so before it writes.
    pub(crate) fn before_draft(&self, address: Address, slot: U256) -> Option<U256> {
        self.draft.as_ref().and_then(|draft| draft.before(address, slot))
    }

    pub(crate) fn set_draft(&mut self, draft: Arc<Shared>) {
        self.draft = Some(draft);
    }

    /// Takes a draft that is to become a version; whether it is still being made.
    pub(crate) fn take_draft(&mut self, draft: &Arc<Shared>) -> bool {
        self.draft.take_if(|open| Arc::ptr_eq(open, draft)).is_some()
    }

    /// Takes back what a draft has written, so that the shards are at the current version and nothing else.
    pub(crate) fn end_draft(&mut self, shards: &[RwLock<Shard>]) {
        if let Some(draft) = self.draft.take() {
            draft.end(shards);
        }
    }

    /// The version that the shards are at.
    pub(crate) fn current(&self) -> VersionId {
        self.current
    }

    /// Takes the shards to a version. Costs as much memory traffic as the blocks in between changed, and no hashing.
    pub(crate) fn check_out(&mut self, target: VersionId, shards: &[RwLock<Shard>]) -> Result<(), SsmtError> {
        self.get(target)?;
        if target == self.current {
            return Ok(());
        }
        self.end_draft(shards);
        let _torn = self.torn_on_panic();
        let (mut from, mut to) = (self.current, target);
        let mut forth = Vec::new();
        // Children have higher numbers than their parents: the higher of the two is not their common ancestor.
        while from != to {
            let id = from.max(to);
            let version = &self.kept[&id];
            let Some(parent) = version.parent else {
                panic!("versions {from} and {to} have a common ancestor")
            };
            if id == from {
                for (shard, log) in &mut *version.logs.lock() {
                    log.nodes.back(&mut shards[usize::from(*shard)].write().arena);
                }
                from = parent;
            } else {
                forth.push(id);
                to = parent;
            }
        }
        for id in forth.into_iter().rev() {
            for (shard, log) in &mut *self.kept[&id].logs.lock() {
                log.nodes.forth(&mut shards[usize::from(*shard)].write().arena);
            }
        }
        self.current = target;
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(crate) fn log_bytes(&self) -> u64 {
        let logs = self
            .kept
            .values()
            .map(|version| version.logs.lock().iter().map(|(_, log)| log.bytes() + 128).sum::<u64>());
        logs.sum()
    }

    /// Takes in a version that was just made of its parent; the shards are at it.
    pub(crate) fn insert(
        &mut self,
        parent: VersionId,
        top: Arc<Top>,
        changes: Arc<ChangeSet>,
        logs: Vec<(u8, ShardLog)>,
    ) -> VersionId {
        let id = VersionId(self.next);
        self.next += 1;
        let version = Version { id, parent: Some(parent), top, changes, logs: Mutex::new(logs) };
        self.kept.insert(id, Arc::new(version));
        self.current = id;
        id
    }

    /// Makes a version the head, and drops what is more than `history` versions before it. A version that somebody
    /// still reads, and those after it, stay.
    pub(crate) fn set_head(
        &mut self,
        head: VersionId,
        history: usize,
        shards: &[RwLock<Shard>],
    ) -> Result<(), SsmtError> {
        self.check_out(head, shards)?;
        self.head = head;
        let mut line = vec![head];
        while let Some(parent) =
            self.kept[&line[line.len() - 1]].parent.filter(|id| self.kept.contains_key(id))
        {
            line.push(parent);
        }
        // From the oldest on; each is dropped in favour of the next.
        while line.len() - 1 > history {
            let (Some(oldest), Some(next)) = (line.pop(), line.last().copied()) else { break };
            let is_read = |version: &Arc<Version>| Arc::strong_count(version) > 1;
            let others = self.descendants(oldest, next);
            if is_read(&self.kept[&oldest]) || others.iter().any(|id| is_read(&self.kept[id])) {
                break;
            }
            for id in others.into_iter().rev() {
                self.remove(id, shards);
            }
            self.kept.remove(&oldest);
            self.oldest = next;
            for (shard, log) in std::mem::take(&mut *self.kept[&next].logs.lock()) {
                finish(shards, shard, log);
            }
        }
        Ok(())
    }

    /// Everything below a version but what is below its child `except`; parents first.
    fn descendants(&self, of: VersionId, except: VersionId) -> Vec<VersionId> {
        let mut found = vec![of];
        // Children have higher numbers than their parents.
        for (id, version) in self.kept.range(of..).skip(1) {
            if *id != except && version.parent.is_some_and(|parent| found.contains(&parent)) {
                found.push(*id);
            }
        }
        found.remove(0);
        found
    }

    /// Gives a version up that nothing stands on.
    pub(crate) fn discard(&mut self, id: VersionId, shards: &[RwLock<Shard>]) -> Result<(), SsmtError> {
        let version = self.get(id)?;
        let in_use = |reason| Err(SsmtError::InUse { version: id, reason });
        if id == self.head {
            return in_use("it is the head");
        }
        if id == self.oldest {
            return in_use("it is the oldest that is kept");
        }
        if Arc::strong_count(version) > 1 {
            return in_use("somebody reads it");
        }
        if self.kept.values().any(|other| other.parent == Some(id)) {
            return in_use("others descend from it");
        }
        if let Some(parent) = version.parent.filter(|_| self.current == id) {
            self.check_out(parent, shards)?;
        }
        self.remove(id, shards);
        Ok(())
    }

    /// Gives back what a version made that is not the current one.
    fn remove(&mut self, id: VersionId, shards: &[RwLock<Shard>]) {
        if let Some(version) = self.kept.remove(&id) {
            for (shard, log) in std::mem::take(&mut *version.logs.lock()) {
                log.undo(&mut shards[usize::from(shard)].write());
            }
        }
    }

    /// The blocks to undo and to make on the way from one version to another; `None` if there are more than
    /// `steps_max`, or one of the versions is not kept.
    pub(crate) fn steps(&self, from: VersionId, to: VersionId, steps_max: usize) -> Option<Vec<Step>> {
        let (mut back, mut forth) = (Vec::new(), Vec::new());
        let (mut one, mut other) = (from, to);
        while one != other {
            if back.len() + forth.len() == steps_max {
                return None;
            }
            // Children have higher numbers than their parents.
            let is_forward = other > one;
            let (at, steps) = if is_forward { (&mut other, &mut forth) } else { (&mut one, &mut back) };
            let version = self.kept.get(at)?;
            steps.push(Step { changes: Arc::clone(&version.changes), is_forward });
            *at = version.parent?;
        }
        back.extend(forth.into_iter().rev());
        Some(back)
    }
}
