//! The disks that the suite runs against.

use citius_io::{
    Backend, Delayed, Delays, Disk, DiskConfig, Metered, Refusals, SimConfig, SimDisk, open_disk,
};
use std::{
    io::{Write, stderr},
    ops::Deref,
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

/// A disk, and the directory that it is in, if it is a real one.
pub(crate) struct Store {
    disk: Arc<dyn Disk>,
    pub(crate) directory: Option<TempDir>,
}

impl Deref for Store {
    type Target = Arc<dyn Disk>;

    fn deref(&self) -> &Arc<dyn Disk> {
        &self.disk
    }
}

pub(crate) fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A few small slots, so that tests use those and the heap.
pub(crate) fn config(backend: Backend) -> DiskConfig {
    DiskConfig { backend, queue_depth: 32, buffers: 16, buffer_pages: 2, threads: 3, ..DiskConfig::default() }
}

fn skip(why: &str) {
    // Not through the macro, whose output of a passing test is swallowed.
    stderr().write_all(format!("SKIPPED: {why}\n").as_bytes()).unwrap();
}

impl Store {
    fn open(config: &DiskConfig) -> Self {
        let directory = directory();
        let (disk, _) = open_disk(directory.path(), config).unwrap();
        Self { disk, directory: Some(directory) }
    }

    /// By io_uring, where that works.
    fn open_uring(change: impl FnOnce(&mut DiskConfig)) -> Option<Self> {
        let mut config = config(Backend::Auto);
        change(&mut config);
        let directory = directory();
        let (disk, choice) = open_disk(directory.path(), &config).unwrap();
        if choice.capabilities.backend != "io_uring" {
            skip(&choice.to_string());
            return None;
        }
        Some(Self { disk, directory: Some(directory) })
    }

    pub(crate) fn uring() -> Option<Self> {
        Self::open_uring(|_| {})
    }

    pub(crate) fn uring_unregistered() -> Option<Self> {
        let refused = Some(libc_enomem());
        let refusals = Refusals { fixed_buffers: refused, fixed_files: refused, ..Refusals::default() };
        let store = Self::open_uring(|config| config.refusals = refusals)?;
        let capabilities = store.capabilities();
        assert!(!capabilities.fixed_buffers && !capabilities.fixed_files, "{capabilities:?}");
        Some(store)
    }

    pub(crate) fn uring_buffered() -> Option<Self> {
        let store = Self::open_uring(|config| config.direct = false)?;
        assert!(!store.capabilities().direct);
        Some(store)
    }

    pub(crate) fn uring_sqpoll() -> Option<Self> {
        let store = Self::open_uring(|config| config.sqpoll = true)?;
        if store.capabilities().sqpoll {
            return Some(store);
        }
        skip("no SQPOLL");
        None
    }

    pub(crate) fn uring_iopoll() -> Option<Self> {
        let store = Self::open_uring(|config| config.iopoll = true)?;
        if store.capabilities().iopoll {
            return Some(store);
        }
        skip("no IOPOLL on this drive");
        None
    }

    pub(crate) fn fallback() -> Option<Self> {
        let mut config = config(Backend::Auto);
        config.refusals.io_uring = Some(1);
        let store = Self::open(&config);
        assert_eq!(store.capabilities().backend, "blocking");
        Some(store)
    }

    pub(crate) fn blocking() -> Option<Self> {
        Some(Self::open(&config(Backend::Blocking)))
    }

    pub(crate) fn blocking_buffered() -> Option<Self> {
        Some(Self::open(&DiskConfig { direct: false, ..config(Backend::Blocking) }))
    }

    pub(crate) fn sim() -> Option<Self> {
        let config = SimConfig { queue_depth: 32, seed: 7, ..SimConfig::default() };
        Some(Self { disk: Arc::new(SimDisk::new(config)), directory: None })
    }

    pub(crate) fn metered() -> Option<Self> {
        let Self { disk, directory } = Self::open(&config(Backend::Auto));
        Some(Self { disk: Arc::new(Metered::new(disk)), directory })
    }

    pub(crate) fn delayed() -> Option<Self> {
        let Self { disk, directory } = Self::open(&config(Backend::Auto));
        let time = Duration::from_micros(200);
        let delays = Delays { read: time, write: time, sync: time };
        Some(Self { disk: Arc::new(Delayed::new(disk, delays)), directory })
    }
}

/// ENOMEM, as the kernel says where the limit of locked memory is reached.
fn libc_enomem() -> i32 {
    12
}
