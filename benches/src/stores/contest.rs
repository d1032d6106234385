//! The same transfers by everyone, each in a process of its own, in turns.

use super::{
    Commit, Contender, Expected, Ground, Options, Roster, StoresError, Taken, Transfers,
    contender::disk_bytes, digest, forget_files, save, saved,
};
use crate::root::Threads;
use alloy_primitives::{Address, B256};
use citius_state::{Account, Workers};
use serde::{Deserialize, Serialize};
use std::{
    env, fmt, fs,
    io::{BufRead, BufReader, Lines, Write, stdin, stdout},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    thread,
    time::Instant,
};

/// A contender and the commits that it makes.
pub struct Driver {
    plan: Transfers,
    expected: Vec<Expected>,
    contender: Box<dyn Contender>,
    ground: Ground,
    readers: usize,
    /// Transfers' commits made.
    made: u32,
}

/// How a state was filled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Filled {
    /// Seconds, until everything in the background was done.
    pub seconds: f64,
    /// Bytes that its files take.
    pub disk_bytes: u64,
}

/// Some commits one after the other, and what they took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Turn {
    /// Transfers made.
    pub transfers: u64,
    /// Reads of each commit, all of a commit's at once.
    pub read_ms: Vec<f64>,
    /// Each commit, until it was durable.
    pub commit_ms: Vec<f64>,
    /// Waiting for what was still done in the background at the end.
    pub settle_ms: f64,
    /// Bytes that the drive read for it.
    pub read_bytes: u64,
    /// Bytes that the drive wrote for it.
    pub written_bytes: u64,
    /// Syncs, if it tells.
    pub syncs: Option<u64>,
    /// Memory of the process, in bytes, without files.
    pub heap_bytes: u64,
    /// Bytes that its files take at the end.
    pub disk_bytes: u64,
}

impl Turn {
    /// All of it, in milliseconds.
    #[must_use]
    pub fn ms(&self) -> f64 {
        self.read_ms.iter().chain(&self.commit_ms).sum::<f64>() + self.settle_ms
    }
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

impl Driver {
    /// Puts a contender before a plan, of which it is known what it leaves.
    #[must_use]
    pub fn new(
        plan: Transfers,
        expected: Vec<Expected>,
        contender: Box<dyn Contender>,
        ground: Ground,
        readers: usize,
    ) -> Self {
        Self { plan, expected, contender, ground, readers: readers.max(1), made: 0 }
    }

    /// Has it fill its state.
    ///
    /// # Errors
    ///
    /// [`StoresError`] of the contender.
    pub fn fill(&mut self) -> Result<Filled, StoresError> {
        let start = Instant::now();
        for number in 0..self.plan.fills() {
            let root = self.expected_of(number)?.root;
            let commit = Commit { number: u64::from(number) + 1, root, writes: self.plan.fill(number) };
            self.contender.commit(&commit)?;
            // Otherwise what is in memory until the next checkpoint would be the whole state.
            self.contender.settle()?;
        }
        self.cool()?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(Filled { seconds, disk_bytes: disk_bytes(&self.ground.directory)? })
    }

    /// Has it make some commits.
    ///
    /// # Errors
    ///
    /// [`StoresError`] of the contender; [`StoresError::Wrong`] if it does not know what it was told.
    pub fn turn(&mut self, commits: u32) -> Result<Turn, StoresError> {
        let (before, syncs) = (Taken::now(), self.contender.syncs());
        let (mut read_ms, mut commit_ms) = (Vec::new(), Vec::new());
        for _ in 0..commits {
            let touched = self.plan.touched(self.made);
            let keys: Vec<(Address, B256)> =
                touched.iter().map(|(_, address, key)| (*address, *key)).collect();
            let start = Instant::now();
            let accounts = read(&*self.contender, &keys, self.readers)?;
            read_ms.push(ms(start));
            let writes = self.plan.apply(self.made, &touched, &accounts);
            let expected = self.expected_of(self.plan.fills() + self.made)?;
            if digest(&writes) != expected.digest {
                return Err(StoresError::wrong("transfers", "what was read is not what was written"));
            }
            let number = u64::from(self.plan.fills() + self.made) + 1;
            let commit = Commit { number, root: expected.root, writes };
            let start = Instant::now();
            self.contender.commit(&commit)?;
            commit_ms.push(ms(start));
            self.made += 1;
            self.cool()?;
        }
        let start = Instant::now();
        self.contender.settle()?;
        let settle_ms = ms(start);
        let after = Taken::now();
        self.cool()?;
        Ok(Turn {
            transfers: u64::from(commits) * u64::from(self.plan.transfers),
            read_ms,
            commit_ms,
            settle_ms,
            read_bytes: after.read_bytes - before.read_bytes,
            written_bytes: after.written_bytes - before.written_bytes,
            syncs: self.contender.syncs().zip(syncs).map(|(after, before)| after - before),
            heap_bytes: after.heap_bytes,
            disk_bytes: disk_bytes(&self.ground.directory)?,
        })
    }

    fn cool(&mut self) -> Result<(), StoresError> {
        self.contender.cool()?;
        forget_files(&self.ground.directory)
    }

    fn expected_of(&self, commit: u32) -> Result<Expected, StoresError> {
        let none = || StoresError::wrong("transfers", format!("commit {commit} is not in the plan"));
        self.expected.get(commit as usize).copied().ok_or_else(none)
    }
}

/// Reads keys on some threads, each a part of them.
fn read(
    contender: &dyn Contender,
    keys: &[(Address, B256)],
    threads: usize,
) -> Result<Vec<Option<Account>>, StoresError> {
    let part = keys.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let parts: Vec<_> = keys
            .chunks(part)
            .map(|keys| {
                scope.spawn(move || {
                    let mut accounts = Vec::with_capacity(keys.len());
                    contender.read(keys, &mut accounts).map(|()| accounts)
                })
            })
            .collect();
        let mut all = Vec::with_capacity(keys.len());
        for part in parts {
            match part.join() {
                Ok(accounts) => all.extend(accounts?),
                Err(_) => return Err(StoresError::Peer("a thread that read has ended".into())),
            }
        }
        Ok(all)
    })
}

/// What everyone did.
#[derive(Debug, Clone, Serialize)]
pub struct ContestFigures {
    /// The state and the commits.
    pub plan: Transfers,
    /// Commits of a turn.
    pub commits_of_a_turn: u32,
    /// Threads that read at a time.
    pub readers: usize,
    /// Memory for each one's caches.
    pub cache_mib: usize,
    /// Commits between checkpoints of whoever makes any.
    pub checkpoint_every: u64,
    /// The one whose speed is 1.
    pub reference: String,
    /// Each one's figures.
    pub contenders: Vec<ContenderFigures>,
}

/// What one did.
#[derive(Debug, Clone, Serialize)]
pub struct ContenderFigures {
    /// Who.
    pub name: String,
    /// How it filled its state.
    pub filled: Filled,
    /// Transfers a second, the median of all turns.
    pub transfers_per_second: f64,
    /// By the reference's in the same round, the median of all rounds.
    pub by_reference: f64,
    /// Reading what a commit needs, the median of all commits.
    pub read_ms: f64,
    /// A commit until it is durable, the median of all.
    pub commit_ms: f64,
    /// Bytes that the drive read for a commit, what was done in the background included.
    pub read_bytes: f64,
    /// Bytes that the drive wrote for it.
    pub written_bytes: f64,
    /// Syncs for it.
    pub syncs: Option<f64>,
    /// The most memory at the end of a turn.
    pub heap_bytes: u64,
    /// Bytes of the disk at the end.
    pub disk_bytes: u64,
    /// Each turn.
    pub turns: Vec<Turn>,
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Options {
    fn plan(&self) -> Transfers {
        Transfers {
            accounts: self.accounts,
            transfers: self.transfers,
            commits: self.turn * self.turns,
            filled_at_a_time: self.accounts.div_ceil(16).clamp(1, 250_000),
        }
    }

    fn ground(&self, name: &str) -> Ground {
        Ground {
            directory: self.directory.join(name),
            cache_mib: self.cache_mib,
            accounts: self.accounts,
            checkpoint_every: self.checkpoint_every,
        }
    }

    fn of_plan(&self) -> std::path::PathBuf {
        self.directory.join("expected")
    }
}

/// Makes the directory and computes what everyone is to leave, which takes memory that the contenders' processes do not.
fn prepare(options: &Options) -> Result<(), StoresError> {
    fs::create_dir_all(&options.directory)?;
    let threads = Threads::unpinned().map_err(|error| StoresError::Peer(error.to_string()))?;
    let workers = Arc::clone(&threads.two) as Arc<dyn Workers>;
    save(&options.plan().expected(workers)?, &options.of_plan())
}

fn driver(options: &Options, roster: Roster, name: &str) -> Result<Driver, StoresError> {
    let ground = options.ground(name);
    let _ = fs::remove_dir_all(&ground.directory);
    let nobody = || StoresError::Argument(format!("nobody is called `{name}`"));
    let contender = roster(name, &ground).ok_or_else(nobody)??;
    let expected = saved(&options.of_plan())?;
    Ok(Driver::new(options.plan(), expected, contender, ground, options.readers))
}

/// Takes part, as the process that another one has started for it: a line comes in for each thing to do, one goes out with what
/// it took.
///
/// # Errors
///
/// [`StoresError`] of the contender.
pub fn take_part(options: &Options, roster: Roster, name: &str) -> Result<(), StoresError> {
    let mut driver = driver(options, roster, name)?;
    for line in stdin().lines() {
        let answer = match line?.as_str() {
            "fill" => serde_json::to_string(&driver.fill()?),
            "turn" => serde_json::to_string(&driver.turn(options.turn)?),
            other => return Err(StoresError::Argument(format!("nobody says `{other}`"))),
        };
        let answer = answer.map_err(std::io::Error::from)?;
        let mut out = stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

/// The process of somebody who takes part.
struct Process {
    name: String,
    child: Child,
    say: Option<ChildStdin>,
    hear: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(name: &str) -> Result<Self, StoresError> {
        let mut child = Command::new(env::current_exe()?)
            .args(env::args_os().skip(1))
            .args(["--contender", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (say, hear) = (child.stdin.take(), child.stdout.take());
        let Some(hear) = hear else { return Err(StoresError::Peer(format!("{name} cannot be heard"))) };
        Ok(Self { name: name.to_owned(), child, say, hear: BufReader::new(hear).lines() })
    }

    fn ask<T: for<'de> Deserialize<'de>>(&mut self, what: &str) -> Result<T, StoresError> {
        if let Some(say) = &mut self.say {
            writeln!(say, "{what}")?;
            say.flush()?;
        }
        let ended = || StoresError::Peer(format!("{} has ended", self.name));
        let line = self.hear.next().ok_or_else(ended)??;
        Ok(serde_json::from_str(&line).map_err(std::io::Error::from)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It ends when it is told nothing more.
        self.say = None;
        let _ = self.child.wait();
    }
}

/// Has everyone make the same transfers, in turns whose order changes from round to round.
///
/// # Errors
///
/// [`StoresError`] of whoever fails first.
pub fn contest(options: &Options, names: &[String]) -> Result<ContestFigures, StoresError> {
    prepare(options)?;
    let mut processes = names.iter().map(|name| Process::start(name)).collect::<Result<Vec<_>, _>>()?;
    let mut filled = Vec::new();
    for process in &mut processes {
        filled.push(process.ask::<Filled>("fill")?);
        eprintln!("{} is filled: {:.0} s", process.name, filled[filled.len() - 1].seconds);
    }
    let mut turns: Vec<Vec<Turn>> = vec![Vec::new(); names.len()];
    for round in 0..options.turns as usize {
        for place in 0..names.len() {
            let who = (round + place) % names.len();
            let turn: Turn = processes[who].ask("turn")?;
            eprintln!(
                "round {round}: {} {:.0} transfers/s",
                names[who],
                1e3 * turn.transfers as f64 / turn.ms()
            );
            turns[who].push(turn);
        }
    }
    drop(processes);
    remove(&options.directory, names)?;
    Ok(figures(options, names, filled, turns))
}

/// As [`contest`], in this process: for tests, since memory and bytes are then those of all.
///
/// # Errors
///
/// [`StoresError`] of whoever fails first.
pub fn contest_here(
    options: &Options,
    roster: Roster,
    names: &[String],
) -> Result<ContestFigures, StoresError> {
    prepare(options)?;
    let mut drivers =
        names.iter().map(|name| driver(options, roster, name)).collect::<Result<Vec<_>, _>>()?;
    let filled = drivers.iter_mut().map(Driver::fill).collect::<Result<Vec<_>, _>>()?;
    let mut turns: Vec<Vec<Turn>> = vec![Vec::new(); names.len()];
    for _ in 0..options.turns {
        for (driver, turns) in drivers.iter_mut().zip(&mut turns) {
            turns.push(driver.turn(options.turn)?);
        }
    }
    drop(drivers);
    remove(&options.directory, names)?;
    Ok(figures(options, names, filled, turns))
}

fn remove(directory: &Path, names: &[String]) -> Result<(), StoresError> {
    for name in names {
        fs::remove_dir_all(directory.join(name))?;
    }
    Ok(fs::remove_file(directory.join("expected"))?)
}

fn figures(
    options: &Options,
    names: &[String],
    filled: Vec<Filled>,
    turns: Vec<Vec<Turn>>,
) -> ContestFigures {
    let reference = names.iter().position(|name| name == "nomt").unwrap_or(names.len() - 1);
    let speed = |turn: &Turn| 1e3 * turn.transfers as f64 / turn.ms();
    let speeds: Vec<f64> = turns[reference].iter().map(speed).collect();
    let commits = f64::from(options.turn);
    let contenders = names.iter().zip(filled).zip(turns).map(|((name, filled), turns)| ContenderFigures {
        name: name.clone(),
        filled,
        transfers_per_second: median(turns.iter().map(speed)),
        by_reference: median(turns.iter().zip(&speeds).map(|(turn, of)| speed(turn) / of)),
        read_ms: median(turns.iter().flat_map(|turn| turn.read_ms.iter().copied())),
        commit_ms: median(turns.iter().flat_map(|turn| turn.commit_ms.iter().copied())),
        read_bytes: median(turns.iter().map(|turn| turn.read_bytes as f64 / commits)),
        written_bytes: median(turns.iter().map(|turn| turn.written_bytes as f64 / commits)),
        syncs: turns[0]
            .syncs
            .map(|_| median(turns.iter().filter_map(|turn| Some(turn.syncs? as f64 / commits)))),
        heap_bytes: turns.iter().map(|turn| turn.heap_bytes).max().unwrap_or_default(),
        disk_bytes: turns.last().map_or(0, |turn| turn.disk_bytes),
        turns,
    });
    ContestFigures {
        plan: options.plan(),
        commits_of_a_turn: options.turn,
        readers: options.readers,
        cache_mib: options.cache_mib,
        checkpoint_every: options.checkpoint_every,
        reference: names[reference].clone(),
        contenders: contenders.collect(),
    }
}

impl fmt::Display for ContestFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Transfers { accounts, transfers, commits, .. } = self.plan;
        writeln!(
            f,
            "{accounts} accounts, {commits} commits of {transfers} transfers in turns of {}, {} threads that read, \
             {} MiB of caches, a checkpoint every {} commits",
            self.commits_of_a_turn, self.readers, self.cache_mib, self.checkpoint_every
        )?;
        writeln!(
            f,
            "{:<10} {:>12} {:>8} {:>9} {:>10} {:>9} {:>10} {:>7} {:>9} {:>9} {:>8}",
            "",
            "transfers/s",
            "by ref.",
            "read ms",
            "commit ms",
            "MB read",
            "MB written",
            "syncs",
            "heap MB",
            "disk MB",
            "fill s"
        )?;
        let mb = |bytes: f64| bytes / 1e6;
        for who in &self.contenders {
            let syncs = who.syncs.map_or("-".into(), |syncs| format!("{syncs:.2}"));
            writeln!(
                f,
                "{:<10} {:>12.0} {:>7.2}x {:>9.1} {:>10.1} {:>9.1} {:>10.1} {syncs:>7} {:>9.0} {:>9.0} {:>8.1}",
                who.name,
                who.transfers_per_second,
                who.by_reference,
                who.read_ms,
                who.commit_ms,
                mb(who.read_bytes),
                mb(who.written_bytes),
                mb(who.heap_bytes as f64),
                mb(who.disk_bytes as f64),
                who.filled.seconds
            )?;
        }
        Ok(())
    }
}
