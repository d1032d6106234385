//! Citius as a contender.

use super::{Commit, Contender, Ground, StoresError, change_set};
use alloy_primitives::{B256, map::B256Map};
use citius_hashing::Hasher;
use citius_io::{DiskConfig, open_disk};
use citius_state::{
    Account,
    cold::{BlockRecord, ColdError, Store, StoreConfig},
};
use parking_lot::Mutex;
use std::{
    fs,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
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
        let store = Arc::new(Store::open(disk, StoreConfig::default(), super::random())?.store);
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
    fn read(&self, keys: &[B256], into: &mut Vec<Option<Account>>) -> Result<(), StoresError> {
        for key in keys {
            into.push(match self.recent.get(key) {
                Some((_, account)) => Some(*account),
                None => self.store.account(key)?,
            });
        }
        Ok(())
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoresError> {
        let hash = |number: u64| B256::from(alloy_primitives::U256::from(number));
        let number = commit.number;
        let block = BlockRecord {
            number,
            hash: hash(number),
            parent: hash(number - 1),
            root: commit.root,
            changes: change_set(&commit.writes),
        };
        self.store.append(vec![Arc::new(block)])?;
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
        let stats = self.store.stats();
        Some(stats.journal_syncs + stats.pages.syncs)
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

// The place for the state that answers with Ethereum's roots itself and reads from its pages (`DurableState`): a
// `DurableContender` beside `StoreContender`, named `citius` in `roster`, whose commit seals and compares the root.
