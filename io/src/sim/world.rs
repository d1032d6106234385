//! All of a simulated disk, behind one lock: its names, its files, and what happens to them.

use super::{
    SimConfig,
    inode::{Change, Content, Inode},
    rng::Rng,
};
use crate::{
    Buffer, DiskError, Done, FileId, OpenMode, OperationKind, PAGE_BYTES,
    directory::check_name,
    operation::{Parts, check_end},
};
use std::{collections::BTreeMap, io, sync::Arc};

type Name = Arc<str>;

/// The state of a simulated disk.
#[derive(Debug)]
pub(super) struct World {
    pub(super) config: SimConfig,
    pub(super) rng: Rng,
    /// Starts so far: numbers of files from before a restart are refused.
    pub(super) epoch: u32,
    inodes: BTreeMap<u64, Inode>,
    inodes_made: u64,
    names: BTreeMap<Name, u64>,
    durable_names: BTreeMap<Name, u64>,
    /// Names that changed since, oldest first, and what they then were of.
    name_changes: Vec<(Name, Option<u64>)>,
    handles: Vec<Option<Handle>>,
    changes_made: u64,
    /// Operations carried out.
    pub(super) operations: u64,
    /// The first operation that finds no power.
    pub(super) cut_at: u64,
    /// Operations that fail, each once.
    pub(super) fail_at: Vec<u64>,
    pub(super) is_locked: bool,
}

#[derive(Clone, Debug)]
struct Handle {
    name: Name,
    inode: u64,
}

/// An operation in flight.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) tag: u64,
    name: Name,
    inode: u64,
    parts: Parts,
    /// The change that it makes, if it makes one.
    change: Option<u64>,
}

/// What chance, or the caller, made of an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    Failed,
}

impl World {
    pub(super) fn new(config: SimConfig) -> Self {
        Self {
            rng: Rng::new(config.seed),
            config,
            epoch: 0,
            inodes: BTreeMap::new(),
            inodes_made: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            handles: Vec::new(),
            changes_made: 0,
            operations: 0,
            cut_at: u64::MAX,
            fail_at: Vec::new(),
            is_locked: false,
        }
    }

    /// The disk after a power cut at this moment.
    pub(super) fn after_cut(&self, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut names = self.durable_names.clone();
        settle_names(&mut names, &self.name_changes, &mut rng);
        let mut inodes: BTreeMap<u64, Inode> = BTreeMap::new();
        for inode in names.values() {
            if let Some(file) = self.inodes.get(inode) {
                inodes.insert(*inode, file.after_cut(&mut rng));
            }
        }
        let numbers: Vec<u64> = inodes.keys().copied().collect();
        for _ in 0..self.config.rot_bits_per_restart {
            let number = numbers.get(rng.below(numbers.len() as u64) as usize);
            if let Some(inode) =
                number.and_then(|number| inodes.get_mut(number)).filter(|inode| inode.live_bytes > 0)
            {
                let bit = rng.below(8 * inode.live_bytes);
                // A page that was never written has no cell that could rot.
                if inode.live.get(bit / 8 / PAGE_BYTES as u64).is_some() {
                    inode.flip_bit(bit);
                }
            }
        }
        Self {
            rng,
            epoch: self.epoch + 1,
            inodes,
            inodes_made: self.inodes_made,
            durable_names: names.clone(),
            names,
            ..Self::new(self.config.clone())
        }
    }

    /// Counts an operation, and says whether it succeeds.
    fn begin(&mut self, errors_per_million: u32) -> Result<Fate, DiskError> {
        let operation = self.operations;
        if operation >= self.cut_at {
            return Err(DiskError::PowerLost { operation: self.cut_at });
        }
        self.operations += 1;
        let is_chosen = self.fail_at.contains(&operation);
        self.fail_at.retain(|at| *at != operation);
        let is_unlucky = self.rng.per_million(errors_per_million);
        Ok(if is_chosen || is_unlucky { Fate::Failed } else { Fate::Done })
    }

    pub(super) fn open(&mut self, name: &str, mode: OpenMode) -> Result<FileId, DiskError> {
        check_name(name)?;
        let found = self.names.get_key_value(name).map(|(name, inode)| (Arc::clone(name), *inode));
        let text = || name.to_owned();
        let (name, inode) = match (found, mode) {
            (Some(_), OpenMode::CreateNew) => return Err(DiskError::Exists { name: text() }),
            (None, OpenMode::Existing) => return Err(DiskError::NotFound { name: text() }),
            (Some((name, inode)), _) => {
                if self.handles.iter().flatten().any(|handle| handle.inode == inode) {
                    return Err(DiskError::AlreadyOpen { name: text() });
                }
                (name, inode)
            }
            (None, _) => {
                let name: Name = name.into();
                if self.begin(0)? == Fate::Failed {
                    return Err(injected("open", &name));
                }
                let inode = self.inodes_made;
                self.inodes_made += 1;
                self.inodes.insert(inode, Inode::default());
                self.names.insert(Arc::clone(&name), inode);
                self.name_changes.push((Arc::clone(&name), Some(inode)));
                (name, inode)
            }
        };
        self.powered()?;
        self.handles.push(Some(Handle { name, inode }));
        Ok(FileId { slot: self.handles.len() as u32 - 1, generation: self.epoch })
    }

    pub(super) fn close(&mut self, file: FileId) -> Result<(), DiskError> {
        self.handle(file)?;
        self.handles[file.slot as usize] = None;
        self.forget();
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        check_name(name)?;
        let not_found = || DiskError::NotFound { name: name.to_owned() };
        let (name, _) = self.names.get_key_value(name).ok_or_else(not_found)?;
        let name = Arc::clone(name);
        if self.begin(0)? == Fate::Failed {
            return Err(injected("remove", &name));
        }
        self.names.remove(&name);
        self.name_changes.push((name, None));
        Ok(())
    }

    pub(super) fn names(&self) -> Result<Vec<String>, DiskError> {
        self.powered()?;
        Ok(self.names.keys().map(|name| name.as_ref().to_owned()).collect())
    }

    pub(super) fn len(&self, file: FileId) -> Result<u64, DiskError> {
        let inode = self.handle(file)?.inode;
        self.powered()?;
        Ok(self.inodes.get(&inode).map_or(0, |inode| inode.live_bytes))
    }

    pub(super) fn sync_directory(&mut self) -> Result<(), DiskError> {
        let fate = self.begin(self.config.sync_errors_per_million)?;
        let changes = std::mem::take(&mut self.name_changes);
        if fate == Fate::Failed {
            settle_names(&mut self.durable_names, &changes, &mut self.rng);
            return Err(injected("sync_directory", &".".into()));
        }
        for (name, inode) in changes {
            set_name(&mut self.durable_names, &name, inode);
        }
        self.forget();
        Ok(())
    }

    pub(super) fn flip_bit(&mut self, name: &str, bit: u64) -> Result<(), DiskError> {
        let not_found = || DiskError::NotFound { name: name.to_owned() };
        let number = self.names.get(name).ok_or_else(not_found)?;
        let inode = self.inodes.get_mut(number).ok_or_else(not_found)?;
        if bit / 8 >= inode.live_bytes {
            return Err(DiskError::OutOfRange { field: "bit", value: bit, expected: "one of the file's" });
        }
        inode.flip_bit(bit);
        Ok(())
    }

    /// Begins an operation: from now on a power cut may leave parts of it.
    pub(super) fn submit(
        &mut self,
        tag: u64,
        file: FileId,
        mut parts: Parts,
    ) -> Result<Flight, (Parts, DiskError)> {
        let checked = parts.check().and_then(|()| self.handle(file).cloned());
        let handle = match checked {
            Ok(handle) => handle,
            Err(error) => return Err((parts, error)),
        };
        let Some(inode) = self.inodes.get_mut(&handle.inode) else {
            return Err((parts, DiskError::NotOpen { file }));
        };
        if parts.kind == OperationKind::Append {
            parts.offset = inode.append_end;
            if let Err(error) = check_end(parts.offset, parts.length) {
                return Err((parts, error));
            }
        }
        let page_bytes = PAGE_BYTES as u64;
        let (first_page, pages) = (parts.offset / page_bytes, parts.length / page_bytes);
        let content = match parts.kind {
            OperationKind::Read | OperationKind::Sync => None,
            OperationKind::Write | OperationKind::Append => {
                let (pages, _) = parts.buffer.as_deref().unwrap_or_default().as_chunks::<PAGE_BYTES>();
                Some(Content::Pages(pages.iter().map(|page| Arc::new(*page)).collect()))
            }
            OperationKind::Preallocate => Some(Content::Reserved { pages }),
            OperationKind::Trim => {
                // Behind the end there is nothing to give back.
                let end = inode.append_end.max(inode.live_bytes).div_ceil(page_bytes);
                Some(Content::Zeros { pages: pages.min(end.saturating_sub(first_page)) })
            }
        };
        let change = content.map(|content| {
            let id = self.changes_made;
            self.changes_made += 1;
            inode.note(Change { id, first_page, content, is_live: false });
            id
        });
        Ok(Flight { tag, name: handle.name, inode: handle.inode, parts, change })
    }

    /// Carries an operation out.
    pub(super) fn finish(&mut self, flight: Flight) -> (u64, Result<Done, DiskError>, Option<Buffer>) {
        let Flight { tag, name, inode: number, parts, change } = flight;
        let Parts { kind, offset, length, mut buffer } = parts;
        let result = self.carry_out(&name, number, kind, offset, length, buffer.as_mut(), change);
        (tag, result.map(|()| Done { offset, bytes: length }), buffer)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one operation, taken apart by `finish` alone"
    )]
    fn carry_out(
        &mut self,
        name: &Name,
        number: u64,
        kind: OperationKind,
        offset: u64,
        length: u64,
        buffer: Option<&mut Buffer>,
        change: Option<u64>,
    ) -> Result<(), DiskError> {
        let errors = match kind {
            OperationKind::Read => self.config.read_errors_per_million,
            OperationKind::Sync => self.config.sync_errors_per_million,
            _ => self.config.write_errors_per_million,
        };
        let fate = self.begin(errors)?;
        let free = self.free_pages();
        let Some(inode) = self.inodes.get_mut(&number) else { return Err(injected(kind.name(), name)) };
        if let Some(id) = change {
            let mut error = None;
            let before = inode.allocated();
            let fits = inode.change(id).map_or(0, |change| change.content.pages());
            let needed = match kind {
                OperationKind::Preallocate => ((offset + length) / PAGE_BYTES as u64).saturating_sub(before),
                OperationKind::Trim => 0,
                _ => {
                    let first = offset / PAGE_BYTES as u64;
                    let fresh = (first..first + fits).filter(|page| inode.live.get(*page).is_none()).count();
                    (inode.live.count() + fresh as u64).saturating_sub(before)
                }
            };
            let mut kept = fits;
            if needed > free {
                error = Some(DiskError::Full { name: Arc::clone(name), operation: kind.name() });
                kept = 0;
            } else if fate == Fate::Failed {
                error = Some(injected(kind.name(), name));
                kept = self.rng.below(fits + 1);
            }
            if let Some(change) = inode.change(id) {
                // What failed has taken place in part.
                match &mut change.content {
                    Content::Pages(pages) => pages.truncate(kept as usize),
                    Content::Zeros { pages } | Content::Reserved { pages } => *pages = kept,
                }
            }
            if kept > 0 {
                inode.apply(id);
                if kind == OperationKind::Preallocate {
                    inode.reserved_pages = inode.reserved_pages.max(offset / PAGE_BYTES as u64 + kept);
                }
            } else {
                inode.withdraw(id);
            }
            return error.map_or(Ok(()), Err);
        }
        match (kind, fate) {
            (OperationKind::Sync, Fate::Done) => inode.sync(),
            (OperationKind::Sync, Fate::Failed) => {
                inode.fail_sync(&mut self.rng);
                return Err(injected("sync", name));
            }
            (_, Fate::Failed) => return Err(injected(kind.name(), name)),
            (_, Fate::Done) => {
                let file_bytes = inode.live_bytes;
                if offset + length > file_bytes {
                    return Err(DiskError::BeyondEnd { name: Arc::clone(name), offset, length, file_bytes });
                }
                let bytes = buffer.map(|buffer| &mut buffer[..]).unwrap_or_default();
                for (page, bytes) in (offset / PAGE_BYTES as u64..).zip(bytes.chunks_exact_mut(PAGE_BYTES)) {
                    match inode.live.get(page) {
                        Some(content) => bytes.copy_from_slice(&content[..]),
                        None => bytes.fill(0),
                    }
                }
            }
        }
        Ok(())
    }

    /// Pages that may still be written.
    fn free_pages(&self) -> u64 {
        let Some(capacity) = self.config.capacity_bytes else { return u64::MAX };
        let allocated: u64 = self
            .inodes
            .iter()
            .filter(|(number, _)| self.is_used(**number))
            .map(|(_, inode)| inode.allocated())
            .sum();
        (capacity / PAGE_BYTES as u64).saturating_sub(allocated)
    }

    /// Whether a file has a name or is open.
    fn is_used(&self, number: u64) -> bool {
        self.names.values().any(|inode| *inode == number)
            || self.handles.iter().flatten().any(|handle| handle.inode == number)
    }

    /// Lets go of files that nobody can reach any more, not even after a power cut.
    fn forget(&mut self) {
        let mut inodes = std::mem::take(&mut self.inodes);
        inodes.retain(|number, _| {
            self.is_used(*number)
                || self.durable_names.values().any(|inode| inode == number)
                || self.name_changes.iter().any(|(_, inode)| *inode == Some(*number))
        });
        self.inodes = inodes;
    }

    fn handle(&self, file: FileId) -> Result<&Handle, DiskError> {
        self.handles
            .get(file.slot as usize)
            .filter(|_| file.generation == self.epoch)
            .and_then(Option::as_ref)
            .ok_or(DiskError::NotOpen { file })
    }

    fn powered(&self) -> Result<(), DiskError> {
        if self.operations >= self.cut_at {
            return Err(DiskError::PowerLost { operation: self.cut_at });
        }
        Ok(())
    }
}

/// What a drive says whose sector is unreadable, or whose cable is loose.
fn injected(operation: &'static str, name: &Name) -> DiskError {
    DiskError::system(operation, name, io::Error::from_raw_os_error(libc::EIO))
}

/// Lets of each name some of its changes become durable, by chance: the first ones, as many as may be.
fn settle_names(names: &mut BTreeMap<Name, u64>, changes: &[(Name, Option<u64>)], rng: &mut Rng) {
    let mut by_name: BTreeMap<&Name, Vec<Option<u64>>> = BTreeMap::new();
    for (name, inode) in changes {
        by_name.entry(name).or_default().push(*inode);
    }
    for (name, states) in by_name {
        let survivors = rng.below(states.len() as u64 + 1) as usize;
        if let Some(last) = states[..survivors].last() {
            set_name(names, name, *last);
        }
    }
}

fn set_name(names: &mut BTreeMap<Name, u64>, name: &Name, inode: Option<u64>) {
    match inode {
        Some(inode) => names.insert(Arc::clone(name), inode),
        None => names.remove(name),
    };
}
