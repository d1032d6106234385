//! What a batch of writes needs of a store, read before it is written: many pages at a time.

use super::hands::{Batch, Hands, SlotTrie, Whose};
use crate::{
    cold::walk::Sought,
    ssmt::{cold::Cold, top::CUT},
    trie::{arena::Arena, node::Child, sweep::Target, walk},
};
use alloy_primitives::B256;

impl Hands<'_> {
    /// Reads the pages of accounts that are not in memory.
    pub(super) fn prepare_accounts(&self, cold: &Cold, batch: &Batch<'_>) {
        let mut sought = Vec::new();
        for claimed in &batch.shards {
            if claimed.target.is_some_and(|target| !self.accounts.is_left(target)) {
                continue;
            }
            let held = &self.held[claimed.index];
            let (Some(guard), Ok(sub)) = (&held.guard, self.work.parent.sub(held.shard)) else { continue };
            let keys = claimed.writes.clone().map(|write| batch.accounts[write as usize].key);
            sought.extend(keys.filter(|key| is_elsewhere(&guard.arena, sub, CUT, key)).map(Sought::Account));
        }
        prepare(cold, sought);
    }

    /// Reads the pages of slots that are not in memory, of tries that are not swept; the first has the number `first`.
    pub(super) fn prepare_slots(
        &self,
        cold: &Cold,
        tries: &[SlotTrie<'_>],
        first: u32,
        targets: &[Target],
        depth: usize,
    ) {
        let mut sought = Vec::new();
        let mut swept = targets.iter().enumerate().peekable();
        for (number, trie) in (first..).zip(tries) {
            let target = swept.next_if(|(_, target)| target.number == number);
            if target.is_some_and(|(target, _)| !self.is_storage_left(target)) {
                continue;
            }
            let account = match &trie.whose {
                Whose::Account(account, ..) => account.key,
                Whose::Large(large) => large.account,
            };
            let Some(guard) = &self.held[trie.index].guard else { continue };
            let slots = &self.slots[trie.slots.start as usize..trie.slots.end as usize];
            let keys = slots.iter().map(|slot| slot.key);
            let keys = keys.filter(|key| is_elsewhere(&guard.arena, trie.root, depth, key));
            sought.extend(keys.map(|key| Sought::Slot(account, key)));
        }
        prepare(cold, sought);
    }
}

/// Whether the way to a key leads out of memory.
fn is_elsewhere(arena: &Arena, root: Child, depth: usize, key: &B256) -> bool {
    walk::find(arena, root, depth, &key[..], |_| ()).is_err()
}

fn prepare(cold: &Cold, sought: Vec<Sought>) {
    // One alone is read where it is needed.
    if sought.len() > 1 {
        cold.shared().prepare(&cold.view(), sought.into_iter());
    }
}
