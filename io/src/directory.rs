//! A directory of the system's, and its open files: what the real disks have in common.

use crate::{DirectoryLock, DiskError, FileId, OpenMode, disk::pages_up};
use parking_lot::RwLock;
use rustix::{
    fs::{self, AtFlags, FallocateFlags, FileType, FlockOperation, Mode, OFlags},
    io::{Errno, pread, pwrite},
};
use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// The file that is locked for the directory. It stays, since removing it would race with the next holder.
pub(crate) const LOCK_NAME: &str = "lock";

/// A directory and the files that are open in it.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    name: Arc<str>,
    descriptor: OwnedFd,
    direct: bool,
    files: RwLock<Vec<Slot>>,
    /// Grows with every opening and closing, so that queues know when to look again.
    changes: AtomicU64,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    file: Option<Arc<OpenFile>>,
}

/// A file that is open, until nobody has it any more.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) name: Arc<str>,
    pub(crate) descriptor: OwnedFd,
    /// Where the next append goes: at or behind the end of everything submitted.
    end: AtomicU64,
    /// For [`AlreadyOpen`](DiskError::AlreadyOpen): a removed file's name may be used again.
    is_removed: AtomicBool,
}

impl Directory {
    /// Opens a directory. With `direct`, files are opened past the page cache if its file system lets them.
    pub(crate) fn open(path: &Path, direct: bool) -> Result<Self, DiskError> {
        let name: Arc<str> = path.to_string_lossy().into();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = fs::open(path, flags, Mode::empty())
            .map_err(|errno| DiskError::system("open", &name, errno.into()))?;
        let direct = direct
            && match nameless_file(&descriptor, true) {
                Ok(_) => true,
                Err(Errno::INVAL) => false,
                Err(errno) => return Err(DiskError::system("open", &name, errno.into())),
            };
        Ok(Self {
            path: path.to_owned(),
            name,
            descriptor,
            direct,
            files: RwLock::default(),
            changes: AtomicU64::new(0),
        })
    }

    /// Whether files are opened past the page cache.
    pub(crate) fn is_direct(&self) -> bool {
        self.direct
    }

    /// A file without a name, to try things on, opened as the others are.
    pub(crate) fn nameless_file(&self) -> Result<OpenFile, DiskError> {
        let descriptor = nameless_file(&self.descriptor, self.direct)
            .map_err(|errno| DiskError::system("open", &self.name, errno.into()))?;
        let name = Arc::clone(&self.name);
        Ok(OpenFile { name, descriptor, end: AtomicU64::new(0), is_removed: true.into() })
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn open_file(&self, name: &str, mode: OpenMode) -> Result<FileId, DiskError> {
        check_name(name)?;
        // Held throughout, so that two openings of one name cannot both find it closed.
        let mut files = self.files.write();
        let is_open = |slot: &Slot| {
            slot.file
                .as_ref()
                .is_some_and(|file| *file.name == *name && !file.is_removed.load(Ordering::Relaxed))
        };
        if files.iter().any(is_open) {
            return Err(DiskError::AlreadyOpen { name: name.to_owned() });
        }
        let file = OpenFile::open(&self.descriptor, name, mode, self.direct)?;
        let index = files.iter().position(|slot| slot.file.is_none()).unwrap_or(files.len());
        if index == files.len() {
            files.push(Slot::default());
        }
        let slot = &mut files[index];
        slot.file = Some(Arc::new(file));
        // Pairs with the load in `changes`: who sees the number finds the file under the lock.
        self.changes.fetch_add(1, Ordering::Release);
        Ok(FileId { slot: index as u32, generation: slot.generation })
    }

    pub(crate) fn close(&self, file: FileId) -> Result<(), DiskError> {
        let mut files = self.files.write();
        let slot = files
            .get_mut(file.slot as usize)
            .filter(|slot| slot.generation == file.generation && slot.file.is_some())
            .ok_or(DiskError::NotOpen { file })?;
        slot.file = None;
        slot.generation = slot.generation.wrapping_add(1);
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// The open file with this number.
    pub(crate) fn file(&self, file: FileId) -> Result<Arc<OpenFile>, DiskError> {
        let files = self.files.read();
        files
            .get(file.slot as usize)
            .filter(|slot| slot.generation == file.generation)
            .and_then(|slot| slot.file.clone())
            .ok_or(DiskError::NotOpen { file })
    }

    /// How many times a file was opened or closed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), DiskError> {
        check_name(name)?;
        let files = self.files.write();
        fs::unlinkat(&self.descriptor, name, AtFlags::empty()).map_err(|errno| match errno {
            Errno::NOENT => DiskError::NotFound { name: name.to_owned() },
            _ => DiskError::system("remove", &name.into(), errno.into()),
        })?;
        for file in files.iter().filter_map(|slot| slot.file.as_ref()).filter(|file| *file.name == *name) {
            file.is_removed.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(crate) fn names(&self) -> Result<Vec<String>, DiskError> {
        let failed = |errno: Errno| DiskError::system("names", &self.name, errno.into());
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.descriptor).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let is_file = match entry.file_type() {
                FileType::RegularFile => true,
                // Some file systems do not say.
                FileType::Unknown => fs::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile),
                _ => false,
            };
            if is_file && name != LOCK_NAME {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    pub(crate) fn sync(&self) -> Result<(), DiskError> {
        fs::fsync(&self.descriptor)
            .map_err(|errno| DiskError::system("sync_directory", &self.name, errno.into()))
    }

    /// Locks the directory by flock(2), which ends with the process however that ends.
    pub(crate) fn lock(&self) -> Result<DirectoryLock, DiskError> {
        let failed = |errno: Errno| DiskError::system("lock", &LOCK_NAME.into(), errno.into());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = fs::openat(&self.descriptor, LOCK_NAME, flags, FILE_MODE).map_err(failed)?;
        match fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = [0; 16];
                let length = pread(&file, &mut text[..], 0).unwrap_or(0);
                let holder = str::from_utf8(&text[..length]).ok().and_then(|text| text.trim().parse().ok());
                return Err(DiskError::Locked { directory: self.path.clone(), holder });
            }
            Err(errno) => return Err(failed(errno)),
        }
        fs::ftruncate(&file, 0).map_err(failed)?;
        pwrite(&file, format!("{}\n", process::id()).as_bytes(), 0).map_err(failed)?;
        Ok(DirectoryLock::new(file))
    }
}

/// Readable and writable by the owner alone.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

impl OpenFile {
    fn open(directory: &OwnedFd, name: &str, mode: OpenMode, direct: bool) -> Result<Self, DiskError> {
        let mut flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        flags.set(OFlags::CREATE, mode != OpenMode::Existing);
        flags.set(OFlags::EXCL, mode == OpenMode::CreateNew);
        flags.set(OFlags::DIRECT, direct);
        let descriptor = fs::openat(directory, name, flags, FILE_MODE).map_err(|errno| match errno {
            Errno::NOENT => DiskError::NotFound { name: name.to_owned() },
            Errno::EXIST => DiskError::Exists { name: name.to_owned() },
            _ => DiskError::system("open", &name.into(), errno.into()),
        })?;
        let file = Self { name: name.into(), descriptor, end: AtomicU64::new(0), is_removed: false.into() };
        file.end.store(pages_up(file.length()?), Ordering::Relaxed);
        Ok(file)
    }

    /// Bytes it has, as the file system says.
    pub(crate) fn length(&self) -> Result<u64, DiskError> {
        let stat = fs::fstat(&self.descriptor)
            .map_err(|errno| DiskError::system("len", &self.name, errno.into()))?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    /// The place of an append of `length` bytes: the same to nobody else.
    pub(crate) fn reserve(&self, length: u64) -> Result<u64, DiskError> {
        // Relaxed: only the number itself is shared, and each addition sees the one before.
        self.end
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |end| {
                end.checked_add(length).filter(|end| *end <= i64::MAX as u64)
            })
            .map_err(|end| DiskError::OutOfRange {
                field: "offset",
                value: end,
                expected: "that it and the length stay below 2^63",
            })
    }

    /// Notes that the file reaches, or will reach, to `end`.
    pub(crate) fn extend(&self, end: u64) {
        self.end.fetch_max(end, Ordering::Relaxed);
    }
}

/// How fallocate(2) gives space back.
pub(crate) const TRIM_FLAGS: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);

/// Refuses names that are paths, and the lock's.
pub(crate) fn check_name(name: &str) -> Result<(), DiskError> {
    let is_plain = (1..=255).contains(&name.len()) && !name.contains(['/', '\0']);
    if is_plain && ![".", "..", LOCK_NAME].contains(&name) {
        Ok(())
    } else {
        Err(DiskError::Name { name: name.to_owned() })
    }
}

/// A file without a name, readable and writable: what a disk tries things on. One that has a name for the moment
/// where the file system knows no others.
fn nameless_file(directory: &OwnedFd, direct: bool) -> Result<OwnedFd, Errno> {
    static PROBES: AtomicU64 = AtomicU64::new(0);
    let mut flags = OFlags::RDWR | OFlags::CLOEXEC;
    flags.set(OFlags::DIRECT, direct);
    match fs::openat(directory, ".", flags | OFlags::TMPFILE, FILE_MODE) {
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => {}
        result => return result,
    }
    let probe = format!("probe-{}-{}", process::id(), PROBES.fetch_add(1, Ordering::Relaxed));
    let file = fs::openat(directory, &*probe, flags | OFlags::CREATE | OFlags::EXCL, FILE_MODE);
    // The file is made even where direct I/O is then refused.
    let _ = fs::unlinkat(directory, &*probe, AtFlags::empty());
    file
}
