//! Citius as a contender.

use super::{
    Commit, Contender, Ground, StoresError, change_set,
    filling::{block_hash, record},
};
use crate::root::Threads;
use alloy_primitives::{Address, B256, map::B256Map};
use citius_hashing::Hasher;
use citius_io::{DiskConfig, open_disk};
use citius_state::{
    Account, ReadError, StateReader, Workers,
    cold::{BlockId, ColdError, Store, StoreConfig},
    durable::{DurableConfig, DurableState},
    ssmt::SsmtConfig,
};
use parking_lot::Mutex;
use std::{
    fs,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// [`Store`] alone: accounts out of its pages, blocks to its journal, checkpoints on a thread of their own. What blocks wrote that
/// is not in the pages yet is in a plain map. Roots are told: they are computed by checkpoints only.
#[derive(Debug)]
pub struct StoreContender {
    store: Arc<Store>,
    /// What was written since the last checkpoint, and by which commit.
    recent: B256Map<(u64, Account)>,
    last: u64,
    checkpoint_every: u64,
    wanted: Option<Sender<u64>>,
    made: Mutex<Receiver<Result<u64, ColdError>>>,
    /// Checkpoints that were begun and are not known to be made.
    under_way: usize,
    thread: Option<JoinHandle<()>>,
}

impl StoreContender {
    /// A store in a directory, which is made.
    ///
    /// # Errors
    ///
    /// [`StoresError`] of the disk and the store.
    pub fn open(ground: &Ground) -> Result<Self, StoresError> {
        fs::create_dir_all(&ground.directory)?;
        let (disk, _) = open_disk(&ground.directory, &DiskConfig::default())?;
        let page_cache_bytes = (ground.cache_mib as u64) << 20;
        let config = StoreConfig { page_cache_bytes, ..StoreConfig::default() };
        let store = Arc::new(Store::open(disk, config, super::random())?.store);
        let (wanted, wishes) = channel::<u64>();
        let (done, made) = channel();
        let of_thread = Arc::clone(&store);
        let thread = thread::spawn(move || {
            let hasher = Hasher::cpu();
            for through in wishes {
                let checkpoint = of_thread.checkpoint(through, &hasher).map(|_| through);
                if done.send(checkpoint).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            store,
            recent: B256Map::default(),
            last: 0,
            checkpoint_every: ground.checkpoint_every.max(1),
            wanted: Some(wanted),
            made: Mutex::new(made),
            under_way: 0,
            thread: Some(thread),
        })
    }

    fn begin_checkpoint(&mut self) {
        if self.wanted.as_ref().is_some_and(|wanted| wanted.send(self.last).is_ok()) {
            self.under_way += 1;
        }
    }

    /// What a checkpoint brought to the pages is found there.
    fn forget_recent(&mut self, made: Result<u64, ColdError>) -> Result<(), StoresError> {
        self.under_way -= 1;
        let through = made?;
        self.recent.retain(|_, (commit, _)| *commit > through);
        Ok(())
    }
}

impl Contender for StoreContender {
    fn read(&self, keys: &[(Address, B256)], into: &mut Vec<Option<Account>>) -> Result<(), StoresError> {
        for (_, key) in keys {
            into.push(match self.recent.get(key) {
                Some((_, account)) => Some(*account),
                None => self.store.account(key)?,
            });
        }
        Ok(())
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoresError> {
        let number = commit.number;
        self.store.append(vec![record(number, commit.root, change_set(&commit.writes))])?;
        for write in &commit.writes {
            self.recent.insert(write.key, (number, write.after));
        }
        self.last = number;
        while let Ok(made) = self.made.get_mut().try_recv() {
            self.forget_recent(made)?;
        }
        if number.is_multiple_of(self.checkpoint_every) && self.under_way == 0 {
            self.begin_checkpoint();
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), StoresError> {
        self.begin_checkpoint();
        while self.under_way > 0 {
            let Ok(made) = self.made.get_mut().recv() else {
                return Err(StoresError::Peer("the thread of checkpoints is gone".into()));
            };
            self.forget_recent(made)?;
        }
        Ok(())
    }

    fn syncs(&self) -> Option<u64> {
        Some(syncs(&self.store))
    }
}

impl Drop for StoreContender {
    fn drop(&mut self) {
        self.wanted = None;
        if let Some(thread) = self.thread.take() {
            // What it panicked with was printed.
            let _ = thread.join();
        }
    }
}

/// [`DurableState`]: the trie in memory as far as its budget goes, the rest in the store. Each commit is sealed, its root compared with
/// the one expected, kept, and made the head.
///
/// Of its memory half is for pages, a quarter for nodes, a quarter for values.
pub struct DurableContender {
    state: DurableState,
    /// The last commit's.
    last: B256,
}

/// Commits before the head that the trie keeps, and that come to no page.
const HISTORY: usize = 2;
/// Accounts that are asked for before the first answer is waited for.
const ASKED: usize = 128;

impl DurableContender {
    /// A state in a directory, which is made.
    ///
    /// # Errors
    ///
    /// [`StoresError`] of the disk and the state.
    pub fn open(ground: &Ground) -> Result<Self, StoresError> {
        fs::create_dir_all(&ground.directory)?;
        let (disk, _) = open_disk(&ground.directory, &DiskConfig::default())?;
        let cache_bytes = (ground.cache_mib as u64) << 20;
        let config = DurableConfig {
            store: StoreConfig { page_cache_bytes: cache_bytes / 8 * 7, ..StoreConfig::default() },
            ssmt: SsmtConfig {
                history: HISTORY,
                flat_cache_bytes: cache_bytes / 16,
                node_bytes_max: cache_bytes / 16,
                ..SsmtConfig::default()
            },
            checkpoint_every: ground.checkpoint_every as usize,
            ..DurableConfig::default()
        };
        let threads = Threads::unpinned().map_err(|error| StoresError::Peer(error.to_string()))?;
        let workers = Arc::clone(&threads.two) as Arc<dyn Workers>;
        let state = DurableState::open(disk, config, super::random(), Arc::new(Hasher::cpu()), workers)?;
        Ok(Self { state, last: B256::ZERO })
    }
}

impl Contender for DurableContender {
    fn read(&self, keys: &[(Address, B256)], into: &mut Vec<Option<Account>>) -> Result<(), StoresError> {
        let reader = self.state.reader()?;
        let failed = |error: ReadError| StoresError::Peer(error.to_string());
        for keys in keys.chunks(ASKED) {
            for (address, _) in keys {
                match reader.account(*address) {
                    Ok(_) | Err(ReadError::Pending { .. }) => {}
                    Err(error) => return Err(failed(error)),
                }
            }
            for (address, _) in keys {
                into.push(loop {
                    match reader.account(*address) {
                        Err(ReadError::Pending { ticket, .. }) => {
                            while !ticket.is_complete() {
                                reader.progress(Some(Duration::from_millis(5)));
                            }
                        }
                        answer => break answer.map_err(failed)?,
                    }
                });
            }
        }
        Ok(())
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoresError> {
        let trie = self.state.ssmt();
        let sealed = trie.seal(trie.head(), &Arc::new(change_set(&commit.writes)))?;
        if sealed.root != commit.root {
            let reason =
                format!("commit {} has the root {}, not {}", commit.number, sealed.root, commit.root);
            return Err(StoresError::wrong("transfers", reason));
        }
        let id = BlockId { number: commit.number, hash: block_hash(commit.number) };
        self.state.keep(sealed.version, id, self.last)?;
        self.state.set_head(sealed.version)?;
        self.last = id.hash;
        Ok(())
    }

    fn settle(&mut self) -> Result<(), StoresError> {
        self.state.checkpoint()?;
        Ok(self.state.checkpoint_error().map_or(Ok(()), Err)?)
    }

    fn syncs(&self) -> Option<u64> {
        Some(syncs(self.state.store()))
    }
}

fn syncs(store: &Store) -> u64 {
    let stats = store.stats();
    stats.journal_syncs + stats.pages.syncs
}
