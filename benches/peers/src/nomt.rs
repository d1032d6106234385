use crate::peer;
use alloy_primitives::{Address, B256};
use citius_benches::stores::{Commit, Contender, Ground, StoresError, account_of, value_of};
use citius_state::Account;
use nomt::{KeyReadWrite, Nomt, Options, Session, SessionParams, WitnessMode, hasher::Blake3Hasher};
use std::fs;

/// NOMT, as its `benchtop` uses it, without witnesses. It has a root of its own, of a binary trie.
pub struct NomtContender {
    nomt: Nomt<Blake3Hasher>,
    /// What reads go through until the next commit.
    session: Option<Session<Blake3Hasher>>,
}

/// Accounts for each bucket of the table of pages, about: a page has some twenty of them below it at least, most a few more, and a
/// table in use to half is one in which little is looked for twice.
const ACCOUNTS_PER_BUCKET: u32 = 8;

impl NomtContender {
    /// A database in a directory. `is_warmed` has it fetch pages for keys that are read, which are all written later.
    ///
    /// # Errors
    ///
    /// What NOMT says.
    pub fn open(ground: &Ground, is_warmed: bool) -> Result<Self, StoresError> {
        fs::create_dir_all(&ground.directory)?;
        let mut options = Options::new();
        options.path(&ground.directory);
        options.commit_concurrency(2);
        options.io_workers(3);
        options.hashtable_buckets((ground.accounts / ACCOUNTS_PER_BUCKET).max(64_000));
        options.page_cache_size((ground.cache_mib / 2).max(1));
        options.leaf_cache_size((ground.cache_mib / 2).max(1));
        options.warm_up(is_warmed);
        let nomt = Nomt::open(options).map_err(peer)?;
        let session = Some(begin(&nomt));
        Ok(Self { nomt, session })
    }

    fn session(&self) -> Result<&Session<Blake3Hasher>, StoresError> {
        self.session.as_ref().ok_or_else(|| peer("a commit failed before"))
    }
}

fn begin(nomt: &Nomt<Blake3Hasher>) -> Session<Blake3Hasher> {
    nomt.begin_session(SessionParams::default().witness_mode(WitnessMode::disabled()))
}

impl Contender for NomtContender {
    fn read(&self, keys: &[(Address, B256)], into: &mut Vec<Option<Account>>) -> Result<(), StoresError> {
        let session = self.session()?;
        for (_, key) in keys {
            // Does nothing unless it was opened to be warmed.
            session.warm_up(key.0);
        }
        for (_, key) in keys {
            let value = session.read(key.0).map_err(peer)?;
            into.push(value.and_then(|value| account_of(&value)));
        }
        Ok(())
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoresError> {
        let session = self.session.take().ok_or_else(|| peer("a commit failed before"))?;
        let writes = commit.writes.iter().map(|write| {
            let after = Some(value_of(&write.after).to_vec());
            let access = match &write.before {
                Some(before) => KeyReadWrite::ReadThenWrite(Some(value_of(before).to_vec()), after),
                None => KeyReadWrite::Write(after),
            };
            (write.key.0, access)
        });
        let finished = session.finish(writes.collect()).map_err(peer)?;
        finished.commit(&self.nomt).map_err(peer)?;
        self.session = Some(begin(&self.nomt));
        Ok(())
    }
}

impl Drop for NomtContender {
    fn drop(&mut self) {
        // A session that is warmed and not finished takes a thread down with it.
        if let Some(session) = self.session.take() {
            let _ = session.finish(Vec::new());
        }
    }
}
