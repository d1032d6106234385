//! Which backend is chosen, and what the line for the log says.

use citius_io::{Backend, DiskConfig, DiskError, OpenMode, PAGE_BYTES, Refusals, Remedy, open_disk};
use std::path::Path;
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// As a container (EPERM, EACCES), an old kernel (ENOSYS, EINVAL) or a limit (ENOMEM) would.
const REFUSED: [(i32, &str); 5] =
    [(1, "os error 1"), (13, "os error 13"), (38, "os error 38"), (22, "os error 22"), (12, "os error 12")];

#[test]
fn a_refused_ring_falls_back_and_says_why() {
    for (code, text) in REFUSED {
        let directory = directory();
        let refusals = Refusals { io_uring: Some(code), ..Refusals::default() };
        let config = DiskConfig { refusals, ..DiskConfig::default() };
        let (disk, choice) = open_disk(directory.path(), &config).unwrap();
        assert_eq!(disk.capabilities().backend, "blocking");
        let line = choice.to_string();
        assert!(
            line.contains("blocking") && line.contains("no io_uring: io_uring_setup") && line.contains(text),
            "{line}"
        );
        assert!(!line.contains('\n'));
        let file = disk.open("pages", OpenMode::CreateNew).unwrap();
        disk.append(file, &[1; PAGE_BYTES]).unwrap();

        let config = DiskConfig { backend: Backend::Uring, ..config };
        let error = open_disk(directory.path(), &config).unwrap_err();
        assert!(matches!(error, DiskError::Backend { backend: "io_uring", .. }), "{error:?}");
        assert_eq!(error.remedy(), Remedy::Change);
    }
}

#[test]
fn what_is_not_registered_is_told_and_works() {
    let directory = directory();
    let refusals = Refusals { fixed_buffers: Some(12), fixed_files: Some(1), ..Refusals::default() };
    let (disk, choice) =
        open_disk(directory.path(), &DiskConfig { refusals, ..DiskConfig::default() }).unwrap();
    let line = choice.to_string();
    if choice.capabilities.backend == "io_uring" {
        assert!(
            line.contains("buffers are not registered") && line.contains("files are not registered"),
            "{line}"
        );
        assert!(!line.contains("registered buffers"), "{line}");
    }
    let file = disk.open("pages", OpenMode::CreateNew).unwrap();
    disk.append(file, &[1; PAGE_BYTES]).unwrap();
    assert_eq!(disk.capabilities().queues_unregistered, 0, "refused once, not for each queue");
}

#[test]
fn a_pool_without_slots_works() {
    let directory = directory();
    let (disk, choice) =
        open_disk(directory.path(), &DiskConfig { buffers: 0, ..DiskConfig::default() }).unwrap();
    assert!(!choice.capabilities.fixed_buffers);
    let file = disk.open("pages", OpenMode::CreateNew).unwrap();
    disk.append(file, &[1; PAGE_BYTES]).unwrap();
    assert!(disk.buffers().overflows() > 0);
}

#[test]
fn a_configuration_that_cannot_be_is_refused_by_field() {
    let directory = directory();
    let refused = |config: DiskConfig, wanted: &str| match open_disk(directory.path(), &config) {
        Err(DiskError::OutOfRange { field, .. }) => assert_eq!(field, wanted),
        other => panic!("{wanted}: {other:?}"),
    };
    let default = DiskConfig::default;
    refused(DiskConfig { queue_depth: 0, ..default() }, "queue_depth");
    refused(DiskConfig { queue_depth: 4097, ..default() }, "queue_depth");
    refused(DiskConfig { threads: 0, ..default() }, "threads");
    refused(DiskConfig { buffers: 1 << 19, ..default() }, "slots");
    refused(DiskConfig { buffer_pages: 0, ..default() }, "slot_pages");
    let missing = open_disk(&directory.path().join("missing"), &default()).unwrap_err();
    assert!(matches!(missing, DiskError::System { operation: "open", .. }), "{missing:?}");
    assert!(open_disk(Path::new("Cargo.toml"), &default()).is_err(), "a file is no directory");
}
