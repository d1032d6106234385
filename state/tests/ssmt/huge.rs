//! One account with very many slots: its storage trie is cut into shards, shrinks to nothing, is wiped and made anew.

use crate::{
    ground,
    model::{Threads, World},
    random::{SEED, empty, number, random_hasher, random_ownership},
    versions::{Known, Versions},
};
use alloy_primitives::{Address, KECCAK256_EMPTY, U256};
use citius_state::{
    Account, AccountChange, ChangeSet, SlotChange, StateReader,
    ssmt::{Ssmt, SsmtConfig, VersionId},
};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeMap, sync::Arc};

const HUGE: Address = Address::repeat_byte(0x11);
/// Longer than the life below.
const HISTORY: usize = 100;

#[derive(Debug, Clone, Copy)]
struct Sizes {
    slots: usize,
    large_storage_from: u32,
    threads: usize,
    /// All slots in one shard.
    is_crowded: bool,
}

struct Life {
    trie: Ssmt,
    versions: Versions,
    world: World,
    random: ChaCha8Rng,
    what: String,
}

impl Life {
    fn new(seed: u64, sizes: Sizes) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let config = SsmtConfig {
            history: HISTORY,
            large_storage_from: sizes.large_storage_from,
            rebalance_every: random.random_range(0..3),
            ..SsmtConfig::default()
        };
        let trie = Ssmt::new(config, random_hasher(&mut random), Arc::new(Threads(sizes.threads)));
        let slots = if sizes.is_crowded {
            ground::slots_in_shard(0xc3, 0).take(sizes.slots).collect()
        } else {
            (0..sizes.slots).map(U256::from).collect()
        };
        // One neighbour in its shard, others anywhere.
        let shard = alloy_primitives::keccak256(HUGE)[0];
        let neighbours = ground::addresses_in_shard(shard, 0).take(1).chain((0..5).map(ground::address));
        let world = World {
            addresses: std::iter::once(HUGE).chain(neighbours).collect(),
            slots,
            slots_a_change_max: 6,
            accounts_a_change_max: 3,
            destroys_percent: 10,
            has_tiny_values: false,
        };
        let what = format!("CITIUS_SEED={seed} CITIUS_CASES=1, {sizes:?}");
        Self { versions: Versions::new(&trie, HISTORY), trie, world, random, what }
    }

    /// Seals a block on a version: the account as it is to be, its storage perhaps wiped, writes to it, and something of
    /// others. Returns the new version.
    fn block(
        &mut self,
        parent: VersionId,
        after: Option<u64>,
        is_wiped: bool,
        writes: impl IntoIterator<Item = (U256, U256)>,
    ) -> VersionId {
        let before = Arc::clone(self.versions.get(parent).unwrap());
        let mut changes = self.world.changes(&mut self.random, &before.state);
        changes.accounts.retain(|change| change.address != HUGE);
        let storage_wiped = is_wiped || after.is_none() || before.account(HUGE).is_none();
        let writes: BTreeMap<U256, U256> = writes.into_iter().collect();
        let slots = writes.into_iter().map(|(slot, after)| {
            let before = if storage_wiped { U256::ZERO } else { before.storage(HUGE, slot) };
            SlotChange { slot, before, after }
        });
        let mut storage: Vec<SlotChange> = slots.filter(|slot| slot.before != slot.after).collect();
        storage.shuffle(&mut self.random);
        let nonce = |nonce| Account { balance: U256::from(7), nonce, code_hash: KECCAK256_EMPTY };
        changes.accounts.push(AccountChange {
            address: HUGE,
            before: before.state.account(HUGE).unwrap(),
            after: after.map(nonce),
            storage_wiped,
            storage,
        });
        if self.random.random_bool(0.3) {
            self.trie.set_ownership(random_ownership(&mut self.random));
        }
        self.seal(&before, changes)
    }

    fn seal(&mut self, before: &Known, changes: ChangeSet) -> VersionId {
        let changes = Arc::new(changes);
        let sealed = self.trie.seal(before.version, &changes).unwrap();
        let mut state = before.state.clone();
        state.apply(&changes);
        let known = Known::new(sealed.version, Some(before.version), state);
        assert_eq!(sealed.root, known.root, "{}: version {}", self.what, sealed.version);
        self.versions.push(known);
        sealed.version
    }

    /// Some of the slots with new values.
    fn values(&mut self, slots: std::ops::Range<usize>) -> Vec<(U256, U256)> {
        let random = &mut self.random;
        self.world.slots[slots]
            .iter()
            .map(|slot| (*slot, U256::from(random.random::<u128>() >> random.random_range(0..127) | 1)))
            .collect()
    }

    fn zeros(&self, slots: std::ops::Range<usize>) -> Vec<(U256, U256)> {
        self.world.slots[slots].iter().map(|slot| (*slot, U256::ZERO)).collect()
    }
}

fn live(seed: u64, sizes: Sizes) {
    let mut life = Life::new(seed, sizes);
    let (all, cut) = (sizes.slots, sizes.large_storage_from as usize);
    // It grows in five blocks, past the cut in one of them.
    let mut at = life.trie.head();
    let mut ends: Vec<usize> = (1..=5).map(|part| all * part / 5).collect();
    ends.insert(0, cut.min(all / 5) - 1);
    ends.sort_unstable();
    let mut from = 0;
    for (nonce, end) in ends.into_iter().enumerate() {
        let writes = life.values(from..end);
        at = life.block(at, Some(nonce as u64), false, writes);
        from = end;
    }
    let full = at;
    // Everything at once: new values, slots that go, and some that were never there.
    let mut mixed = life.values(0..all / 3);
    mixed.extend(life.zeros(all / 3..all / 2));
    mixed.extend((0..10).map(|slot| (U256::MAX - U256::from(slot), U256::ZERO)));
    let mixed = life.block(full, Some(10), false, mixed);
    // Beside that, other things become of the full one: destroyed; made anew, small, large, and without slots.
    let destroyed = life.block(full, None, true, []);
    let writes = life.values(0..3);
    let small = life.block(full, Some(0), true, writes);
    let writes = life.values(all / 4..all);
    let large = life.block(full, Some(0), true, writes);
    let bare = life.block(full, Some(1), true, []);
    let writes = life.values(0..all / 2);
    let again = life.block(destroyed, Some(1), true, writes);
    for version in [small, large, bare, again] {
        let writes = life.values(0..all / 3);
        life.block(version, Some(20), false, writes);
    }
    // It shrinks, below the cut, to one slot, to none; and the same in one block.
    let mut at = mixed;
    for end in [cut, cut.saturating_sub(5), 1, 0] {
        let writes = life.zeros(end.min(all)..all);
        at = life.block(at, Some(30), false, writes);
    }
    assert!(life.versions.get(at).unwrap().state.slots(HUGE).all(|(_, value)| value.is_zero()));
    let writes = life.zeros(0..all);
    let emptied = life.block(full, Some(31), false, writes);
    // From nothing it grows again, in one block and in two.
    for from in [at, emptied] {
        let writes = life.values(0..all);
        let grown = life.block(from, Some(40), false, writes);
        let writes = life.values(0..2);
        let two = life.block(from, Some(41), false, writes);
        let writes = life.values(1..cut.min(all));
        life.block(two, Some(42), false, writes);
        life.block(grown, None, true, []);
    }
    // Whatever was made in between, each version is what it was; the head goes to and fro.
    for _ in 0..3 {
        let Life { versions, trie, world, random, what } = &mut life;
        versions.check(trie, world, random, what);
        let head = versions.known[random.random_range(0..versions.known.len())].version;
        trie.set_head(head).unwrap();
        assert!(versions.set_head(head).is_empty());
    }
    let last = life.versions.known.pop().unwrap();
    empty(&life.trie, last.version, &last.state, HISTORY);
    assert_eq!(life.trie.memory().node_bytes, 0, "{}", life.what);
}

#[test]
fn a_storage_of_twenty_thousand_slots_grows_shrinks_and_is_made_anew() {
    live(SEED, Sizes { slots: 20_000, large_storage_from: 4096, threads: 2, is_crowded: false });
}

#[test]
fn storage_past_the_cut_grows_shrinks_and_is_made_anew() {
    let seed = number("CITIUS_SEED").unwrap_or(SEED);
    let is_long = std::env::var_os("CITIUS_LONG").is_some();
    let cases = number("CITIUS_CASES").unwrap_or(if is_long { 400 } else { 6 });
    for seed in seed..seed + cases {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let is_crowded = random.random_bool(0.3);
        let slots = random.random_range(10..if is_crowded { 60 } else { 900 });
        let large_storage_from = random.random_range(2..slots as u32);
        let threads = [1, 2, 8][random.random_range(0..3)];
        live(seed, Sizes { slots, large_storage_from, threads, is_crowded });
    }
    println!("{cases} lives of an account from seed {seed}");
}
