//! Threads that read versions, and make others on top of them, while the head moves.

use crate::{
    drafts::{DRAFTED, tell, told},
    model::{Threads, World},
    random::{SEED, number, random_hasher, report_missing_kinds},
    versions::{Known, Versions},
};
use citius_state::{
    ChangeSet,
    ssmt::{Sealed, Ssmt, SsmtConfig, SsmtError, VersionId},
};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use std::sync::{
    Arc, RwLock,
    atomic::{AtomicBool, Ordering},
};

const READERS: u64 = 3;
/// Rounds that a thread makes at least, however little it gets to run while there is a writer.
const ROUNDS_MIN: u64 = 20;

struct Shared {
    trie: Arc<Ssmt>,
    world: World,
    /// A version is forgotten here before it is given up there.
    versions: RwLock<Versions>,
    is_over: AtomicBool,
    what: String,
}

impl Shared {
    fn pick(&self, random: &mut ChaCha8Rng) -> Arc<Known> {
        Arc::clone(self.versions.read().unwrap().known.choose(random).unwrap())
    }

    /// What the trie answered; nothing if the version was given up meanwhile.
    fn kept<T>(&self, version: VersionId, answer: Result<T, SsmtError>) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer),
            Err(SsmtError::UnknownVersion { version: unknown, .. }) if unknown == version => {
                let is_kept = self.versions.read().unwrap().get(version).is_some();
                assert!(!is_kept, "{}: version {version} is kept", self.what);
                None
            }
            Err(error) => panic!("{}: {error}", self.what),
        }
    }

    fn is_over(&self, rounds: u64) -> bool {
        rounds >= ROUNDS_MIN && self.is_over.load(Ordering::Acquire)
    }

    /// Makes blocks, and moves the head along, now and then to another branch.
    fn write(&self, random: &mut ChaCha8Rng, blocks: u64) {
        for _ in 0..blocks {
            let newest = Arc::clone(self.versions.read().unwrap().known.last().unwrap());
            let parent = if random.random_bool(0.7) { newest } else { self.pick(random) };
            let changes = Arc::new(self.world.changes(random, &parent.state));
            let sealed = self.trie.seal(parent.version, &changes).unwrap();
            let mut state = parent.state.clone();
            state.apply(&changes);
            let known = Known::new(sealed.version, Some(parent.version), state);
            assert_eq!(sealed.root, known.root, "{}", self.what);
            self.versions.write().unwrap().push(known);
            let head = if random.random_bool(0.7) { sealed.version } else { self.pick(random).version };
            self.versions.write().unwrap().set_head(head);
            self.trie.set_head(head).unwrap();
        }
    }

    /// Reads whatever is kept.
    fn read(&self, random: &mut ChaCha8Rng) -> u64 {
        let mut values = 0;
        for rounds in 0.. {
            if self.is_over(rounds) {
                break;
            }
            let known = self.pick(random);
            let what = || format!("{}: version {}", self.what, known.version);
            if let Some(root) = self.kept(known.version, self.trie.root(known.version)) {
                assert_eq!(root, known.root, "{}", what());
            }
            let address = *self.world.addresses.choose(random).unwrap();
            if let Some(account) = self.kept(known.version, self.trie.account(known.version, address)) {
                assert_eq!(account, known.account(address), "{}: {address}", what());
                values += 1;
            }
            for slot in self.world.slots.choose_multiple(random, 3) {
                let value = self.trie.storage(known.version, address, *slot);
                if let Some(value) = self.kept(known.version, value) {
                    assert_eq!(value, known.storage(address, *slot), "{}: {slot} of {address}", what());
                    values += 1;
                }
            }
            assert!(self.trie.memory().top_bytes > 0);
        }
        values
    }

    /// Builds blocks that come to nothing on whatever is kept.
    fn build(&self, random: &mut ChaCha8Rng) -> u64 {
        let mut blocks = 0;
        for rounds in 0.. {
            if self.is_over(rounds) {
                break;
            }
            let parent = self.pick(random);
            let changes = Arc::new(self.world.changes(random, &parent.state));
            let sealed = if random.random() {
                self.trie.seal(parent.version, &changes)
            } else {
                self.draft(random, parent.version, &changes)
            };
            if let Some(sealed) = self.kept(parent.version, sealed) {
                let mut state = parent.state.clone();
                state.apply(&changes);
                let known = Known::new(sealed.version, Some(parent.version), state);
                assert_eq!(sealed.root, known.root, "{}", self.what);
                // It goes with its parent, if that does.
                self.kept(sealed.version, self.trie.discard(sealed.version));
                blocks += 1;
            }
        }
        blocks
    }
}

impl Shared {
    /// Seals by way of a draft, which whoever needs the shards meanwhile takes back.
    fn draft(
        &self,
        random: &mut ChaCha8Rng,
        parent: VersionId,
        changes: &Arc<ChangeSet>,
    ) -> Result<Sealed, SsmtError> {
        let draft = self.trie.draft(parent, DRAFTED)?;
        let calls = told(random, &self.world, changes);
        tell(random, &draft, &calls, &|| {});
        draft.seal(changes).map(|(sealed, _)| sealed)
    }
}

fn together(seed: u64, blocks: u64) -> (u64, u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let history = random.random_range(0..5);
    let config = SsmtConfig {
        history,
        large_storage_from: *[1, 8, 50, 4096].choose(&mut random).unwrap(),
        rebalance_every: 1,
        ..SsmtConfig::default()
    };
    let threads = *[1, 2, 8].choose(&mut random).unwrap();
    let trie = Arc::new(Ssmt::new(config, random_hasher(&mut random), Arc::new(Threads(threads))));
    let shared = &Shared {
        world: World::random(&mut random),
        versions: RwLock::new(Versions::new(&trie, history)),
        trie,
        is_over: AtomicBool::new(false),
        what: format!("CITIUS_SEED={seed} CITIUS_CASES=1"),
    };
    let end = EndOnDrop { is_over: &shared.is_over };
    std::thread::scope(|scope| {
        let dice = |number| ChaCha8Rng::seed_from_u64(seed << 8 | number);
        let readers = (0..READERS).map(|reader| scope.spawn(move || shared.read(&mut dice(reader))));
        let readers: Vec<_> = readers.collect();
        let builder = scope.spawn(move || shared.build(&mut dice(READERS)));
        shared.write(&mut random, blocks);
        drop(end);
        let values = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        (values, builder.join().unwrap())
    })
}

/// Lets the others end when the writer does, even by a panic.
struct EndOnDrop<'a> {
    is_over: &'a AtomicBool,
}

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
    }
}

#[test]
fn versions_are_what_they_are_while_others_are_made_and_the_head_moves() {
    report_missing_kinds();
    let seed = number("CITIUS_SEED").unwrap_or(SEED);
    let is_long = std::env::var_os("CITIUS_LONG").is_some();
    let cases = number("CITIUS_CASES").unwrap_or(if is_long { 400 } else { 8 });
    let (mut values, mut built) = (0, 0);
    for seed in seed..seed + cases {
        let (read, blocks) = together(seed, 25);
        values += read;
        built += blocks;
    }
    assert!(values > 0 && built > 0, "{values} values read, {built} blocks built beside the writer");
    println!("{cases} writers from seed {seed}; {values} values read and {built} blocks built meanwhile");
}
