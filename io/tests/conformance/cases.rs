//! The cases. Each gets a store of its own.

use crate::stores::Store;
use citius_io::{
    Buffer, Completion, Disk, DiskError, Done, FileId, OpenMode, Operation, PAGE_BYTES, Queue, Remedy,
    Request,
};
use std::{collections::BTreeSet, process, sync::Arc, thread, time::Duration};

const PAGE: u64 = PAGE_BYTES as u64;

fn create(store: &Store, name: &str) -> FileId {
    store.open(name, OpenMode::CreateNew).unwrap()
}

/// Pages of which each 8 bytes tell file, page and place.
fn pattern(salt: u64, offset: u64, buffer: &mut [u8]) {
    for (index, word) in buffer.chunks_exact_mut(8).enumerate() {
        let value = (salt << 48) ^ (offset + 8 * index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word.copy_from_slice(&value.to_le_bytes());
    }
}

fn filled(disk: &dyn Disk, salt: u64, offset: u64, bytes: usize) -> Buffer {
    let mut buffer = disk.buffers().take(bytes);
    pattern(salt, offset, &mut buffer);
    buffer
}

fn assert_pattern(salt: u64, offset: u64, buffer: &[u8]) {
    let mut expected = vec![0; buffer.len()];
    pattern(salt, offset, &mut expected);
    assert!(expected == buffer, "other bytes at {offset}");
}

fn submit(queue: &mut dyn Queue, tag: u64, file: FileId, operation: Operation) {
    queue.submit(Request { tag, file, operation }).unwrap();
}

/// Waits for all, and sorts by tag.
fn drain(queue: &mut dyn Queue) -> Vec<Completion> {
    let mut completions = Vec::new();
    while queue.in_flight() > 0 {
        let before = (completions.len(), queue.in_flight());
        let count = queue.wait(1, None, &mut completions).unwrap();
        assert!(count >= 1);
        assert_eq!((completions.len(), queue.in_flight()), (before.0 + count, before.1 - count));
    }
    completions.sort_by_key(|completion| completion.tag);
    completions
}

fn page(store: &Store, file: FileId, offset: u64) -> [u8; PAGE_BYTES] {
    let mut page = [0xcc; PAGE_BYTES];
    store.read_exact_at(file, offset, &mut page).unwrap();
    page
}

pub(crate) fn what_is_written_is_read(store: &Store) {
    let file = create(store, "pages");
    let mut queue = store.queue().unwrap();
    // Of one to four pages: the larger ones are from the heap. Backwards, so that the file grows by its first write.
    let lengths = [1, 2, 3, 4].map(|pages| pages * PAGE_BYTES);
    for tag in (0..24_u64).rev() {
        let offset = tag * 4 * PAGE;
        let buffer = filled(&***store, 1, offset, lengths[tag as usize % 4]);
        submit(&mut *queue, tag, file, Operation::Write { offset, buffer });
    }
    for completion in drain(&mut *queue) {
        let bytes = lengths[completion.tag as usize % 4] as u64;
        assert_eq!(completion.result.unwrap(), Done { offset: completion.tag * 4 * PAGE, bytes });
        assert_eq!(completion.buffer.unwrap().len() as u64, bytes);
    }
    store.sync(file).unwrap();
    for tag in 0..24_u64 {
        let buffer = store.buffers().take(lengths[tag as usize % 4]);
        submit(&mut *queue, tag, file, Operation::Read { offset: tag * 4 * PAGE, buffer });
    }
    for completion in drain(&mut *queue) {
        let done = completion.result.unwrap();
        assert_pattern(1, done.offset, &completion.buffer.unwrap());
    }
    assert_eq!(store.len(file).unwrap(), (23 * 4 + 4) * PAGE);
    assert_eq!(page(store, file, PAGE), [0; PAGE_BYTES], "what was not written is zeros");
}

pub(crate) fn appends_land_one_behind_the_other(store: &Store) {
    let file = create(store, "journal");
    store.write_all_at(file, 0, &[9; PAGE_BYTES]).unwrap();
    let mut queue = store.queue().unwrap();
    let mut other = store.queue().unwrap();
    for tag in 0..30 {
        let queue = if tag % 3 == 0 { &mut other } else { &mut queue };
        let mut buffer = store.buffers().take((1 + tag as usize % 2) * PAGE_BYTES);
        buffer.fill(tag as u8);
        submit(&mut **queue, tag, file, Operation::Append { buffer });
    }
    let mut landed = drain(&mut *queue);
    landed.extend(drain(&mut *other));
    let mut ends = BTreeSet::from([PAGE]);
    let mut all: Vec<_> =
        landed.into_iter().map(|completion| (completion.result.unwrap(), completion.tag)).collect();
    all.sort_by_key(|(done, _)| done.offset);
    for (done, tag) in &all {
        assert!(ends.contains(&done.offset), "a gap or an overlap at {}", done.offset);
        ends.insert(done.offset + done.bytes);
        assert_eq!(page(store, file, done.offset + done.bytes - PAGE), [*tag as u8; PAGE_BYTES]);
    }
    assert_eq!(store.len(file).unwrap(), 46 * PAGE);
    assert_eq!(page(store, file, 0), [9; PAGE_BYTES]);
    store.close(file).unwrap();
    let file = store.open("journal", OpenMode::Existing).unwrap();
    assert_eq!(store.append(file, &[1; PAGE_BYTES]).unwrap().offset, 46 * PAGE);
}

pub(crate) fn queues_of_threads_do_not_mix(store: &Store) {
    let file = create(store, "shared");
    thread::scope(|scope| {
        for worker in 0..4_u64 {
            let disk = Arc::clone(store);
            scope.spawn(move || {
                let mut queue = disk.queue().unwrap();
                for round in 0..3 {
                    for tag in 0..16 {
                        let offset = (tag * 4 + worker) * PAGE;
                        let buffer = filled(&*disk, worker + 10 * round, offset, PAGE_BYTES);
                        submit(&mut *queue, tag, file, Operation::Write { offset, buffer });
                    }
                    assert!(drain(&mut *queue).iter().all(|completion| completion.result.is_ok()));
                    for tag in 0..16 {
                        let offset = (tag * 4 + worker) * PAGE;
                        let buffer = disk.buffers().take(PAGE_BYTES);
                        submit(&mut *queue, tag, file, Operation::Read { offset, buffer });
                    }
                    for (tag, completion) in (0..).zip(drain(&mut *queue)) {
                        assert_eq!(completion.tag, tag);
                        let done = completion.result.unwrap();
                        assert_pattern(worker + 10 * round, done.offset, &completion.buffer.unwrap());
                    }
                }
            });
        }
    });
}

pub(crate) fn a_dropped_queue_has_finished_and_gives_its_buffers_back(store: &Store) {
    let file = create(store, "pages");
    store.write_all_at(file, 31 * PAGE, &[1; PAGE_BYTES]).unwrap();
    let free = store.buffers().free();
    for _ in 0..20 {
        let mut queue = store.queue().unwrap();
        for tag in 0..32 {
            let (offset, buffer) = (tag * PAGE, filled(&***store, 5, tag * PAGE, PAGE_BYTES));
            let operation = if tag % 2 == 0 {
                Operation::Write { offset, buffer }
            } else {
                Operation::Read { offset, buffer }
            };
            submit(&mut *queue, tag, file, operation);
        }
        queue.poll(&mut Vec::new()).unwrap();
        drop(queue);
        assert_eq!(store.buffers().free(), free);
    }
    for tag in (0..32).step_by(2) {
        assert_pattern(5, tag * PAGE, &page(store, file, tag * PAGE));
    }
}

pub(crate) fn a_full_queue_returns_the_request(store: &Store) {
    let file = create(store, "pages");
    store.write_all_at(file, 0, &[1; PAGE_BYTES]).unwrap();
    let mut queue = store.queue().unwrap();
    assert_eq!(queue.capacity(), 32);
    for tag in 0..32 {
        let operation = Operation::Read { offset: 0, buffer: store.buffers().take(PAGE_BYTES) };
        submit(&mut *queue, tag, file, operation);
    }
    let operation = Operation::Read { offset: 0, buffer: store.buffers().take(3 * PAGE_BYTES) };
    let full = queue.submit(Request { tag: 99, file, operation }).unwrap_err();
    assert_eq!((full.capacity, full.request.tag), (32, 99));
    let Operation::Read { buffer, .. } = full.request.operation else { panic!("another operation") };
    assert_eq!(buffer.len(), 3 * PAGE_BYTES);
    queue.wait(1, None, &mut Vec::new()).unwrap();
    submit(&mut *queue, 100, file, Operation::Sync);
    assert!(drain(&mut *queue).iter().all(|completion| completion.result.is_ok()));
}

pub(crate) fn misuse_completes_with_the_reason_and_the_buffer(store: &Store) {
    let file = create(store, "pages");
    let closed = create(store, "closed");
    store.close(closed).unwrap();
    assert!(matches!(store.close(closed), Err(DiskError::NotOpen { .. })));
    assert!(matches!(store.len(closed), Err(DiskError::NotOpen { .. })));
    let take = |bytes| store.buffers().take(bytes);
    let top = (1 << 63) - PAGE;
    let cases: Vec<(FileId, Operation, &str)> = vec![
        (
            file,
            Operation::Read { offset: 1, buffer: take(PAGE_BYTES) },
            "offset = 1: expected a multiple of 4096",
        ),
        (
            file,
            Operation::Write { offset: 512, buffer: take(PAGE_BYTES) },
            "offset = 512: expected a multiple",
        ),
        (file, Operation::Write { offset: 0, buffer: take(7) }, "length = 7: expected a multiple of 4096"),
        (file, Operation::Append { buffer: take(0) }, "length = 0: expected at least a page"),
        (file, Operation::Write { offset: top, buffer: take(PAGE_BYTES) }, "below 2^63"),
        (file, Operation::Read { offset: u64::MAX - PAGE + 1, buffer: take(PAGE_BYTES) }, "below 2^63"),
        (file, Operation::Trim { offset: 0, length: 0 }, "length = 0"),
        (file, Operation::Trim { offset: top, length: 2 * PAGE }, "below 2^63"),
        (file, Operation::Preallocate { offset: 100, length: PAGE }, "offset = 100"),
        (closed, Operation::Append { buffer: take(PAGE_BYTES) }, "is not open on this disk"),
        (closed, Operation::Sync, "is not open on this disk"),
    ];
    let mut queue = store.queue().unwrap();
    let mut expected = Vec::new();
    for (tag, (file, operation, text)) in (0..).zip(cases) {
        let has_buffer =
            !matches!(operation, Operation::Sync | Operation::Trim { .. } | Operation::Preallocate { .. });
        expected.push((text, has_buffer));
        submit(&mut *queue, tag, file, operation);
    }
    for (completion, (text, has_buffer)) in drain(&mut *queue).into_iter().zip(expected) {
        let error = completion.result.unwrap_err();
        assert!(error.to_string().contains(text), "{error} for {text}");
        assert_eq!(error.remedy(), Remedy::Correct);
        assert_eq!(completion.buffer.is_some(), has_buffer, "{text}");
    }
    assert_eq!(store.len(file).unwrap(), 0, "nothing was written");
}

pub(crate) fn a_read_beyond_the_end_tells_both_sizes(store: &Store) {
    let file = create(store, "pages");
    store.write_all_at(file, 0, &[3; 2 * PAGE_BYTES]).unwrap();
    for (read_offset, pages) in [(2 * PAGE, 1), (PAGE, 2), (0, 3), (1000 * PAGE, 1)] {
        let operation =
            Operation::Read { offset: read_offset, buffer: store.buffers().take(pages * PAGE_BYTES) };
        let completion = store.complete(file, operation).unwrap();
        assert!(completion.buffer.is_some());
        match completion.result.unwrap_err() {
            DiskError::BeyondEnd { name, offset, length, file_bytes } => {
                assert_eq!(
                    (&*name, offset, length, file_bytes),
                    ("pages", read_offset, pages as u64 * PAGE, 2 * PAGE)
                );
            }
            error => panic!("{error:?}"),
        }
    }
    assert_eq!(page(store, file, PAGE), [3; PAGE_BYTES]);
}

pub(crate) fn names_are_made_found_and_removed(store: &Store) {
    assert!(matches!(store.open("b", OpenMode::Existing), Err(DiskError::NotFound { name }) if name == "b"));
    let file = store.open("b", OpenMode::Create).unwrap();
    assert!(matches!(store.open("b", OpenMode::Create), Err(DiskError::AlreadyOpen { .. })));
    assert!(matches!(
        store.open("b", OpenMode::CreateNew),
        Err(DiskError::Exists { .. } | DiskError::AlreadyOpen { .. })
    ));
    store.close(file).unwrap();
    assert!(matches!(store.open("b", OpenMode::CreateNew), Err(DiskError::Exists { .. })));
    create(store, "c");
    create(store, "a");
    let _lock = store.lock().unwrap();
    assert_eq!(store.names().unwrap(), ["a", "b", "c"]);
    store.remove("b").unwrap();
    assert!(matches!(store.remove("b"), Err(DiskError::NotFound { .. })));
    store.sync_directory().unwrap();
    assert_eq!(store.names().unwrap(), ["a", "c"]);
}

pub(crate) fn names_that_are_paths_are_refused(store: &Store) {
    let long = "x".repeat(256);
    for name in ["", ".", "..", "a/b", "/a", "a\0b", "lock", &long] {
        for error in [store.open(name, OpenMode::Create).unwrap_err(), store.remove(name).unwrap_err()] {
            assert!(matches!(error, DiskError::Name { .. }), "{name:?}: {error:?}");
        }
    }
    assert_eq!(store.names().unwrap(), [""; 0]);
}

pub(crate) fn a_removed_file_lives_on_for_who_has_it_open(store: &Store) {
    let old = create(store, "pages");
    store.write_all_at(old, 0, &[1; PAGE_BYTES]).unwrap();
    store.remove("pages").unwrap();
    let new = create(store, "pages");
    assert_ne!(old, new);
    store.write_all_at(new, 0, &[2; PAGE_BYTES]).unwrap();
    store.write_all_at(old, PAGE, &[3; PAGE_BYTES]).unwrap();
    assert_eq!((page(store, old, 0)[0], page(store, old, PAGE)[0], page(store, new, 0)[0]), (1, 3, 2));
    assert_eq!((store.len(old).unwrap(), store.len(new).unwrap()), (2 * PAGE, PAGE));
}

pub(crate) fn files_come_and_go_while_a_queue_lives(store: &Store) {
    let mut queue = store.queue().unwrap();
    let mut earlier = Vec::new();
    // More than a ring's table has places, and each place is used by two files in turn.
    for round in 0..2 {
        let files: Vec<_> = (0..80).map(|index| create(store, &format!("{round}-{index}"))).collect();
        for (index, file) in files.iter().enumerate() {
            let mut buffer = store.buffers().take(PAGE_BYTES);
            buffer.fill(index as u8 + round);
            submit(&mut *queue, 0, *file, Operation::Write { offset: 0, buffer });
            if queue.in_flight() == queue.capacity() {
                drain(&mut *queue).into_iter().for_each(|completion| assert!(completion.result.is_ok()));
            }
        }
        drain(&mut *queue).into_iter().for_each(|completion| assert!(completion.result.is_ok()));
        for (index, file) in files.iter().enumerate() {
            let operation = Operation::Read { offset: 0, buffer: store.buffers().take(PAGE_BYTES) };
            submit(&mut *queue, 0, *file, operation);
            let completion = drain(&mut *queue).pop().unwrap();
            completion.result.unwrap();
            assert_eq!(completion.buffer.unwrap()[..], [index as u8 + round; PAGE_BYTES]);
        }
        for file in &files {
            store.close(*file).unwrap();
        }
        submit(&mut *queue, 7, files[3], Operation::Sync);
        assert!(matches!(drain(&mut *queue)[0].result, Err(DiskError::NotOpen { .. })));
        earlier.extend(files);
    }
    assert_eq!(earlier.iter().collect::<BTreeSet<_>>().len(), 160, "numbers are not used twice");
}

pub(crate) fn a_file_may_be_closed_with_operations_in_flight(store: &Store) {
    let mut queue = store.queue().unwrap();
    for round in 0..10 {
        let name = format!("segment-{round}");
        let file = create(store, &name);
        for tag in 0..16 {
            let mut buffer = store.buffers().take(PAGE_BYTES);
            buffer.fill(round);
            submit(&mut *queue, tag, file, Operation::Append { buffer });
        }
        store.close(file).unwrap();
        // Something else takes its place, and its descriptor, before those were sent.
        let other = create(store, &format!("other-{round}"));
        submit(&mut *queue, 99, other, Operation::Sync);
        submit(&mut *queue, 100, file, Operation::Sync);
        let completions = drain(&mut *queue);
        for completion in &completions[..17] {
            assert!(completion.result.is_ok(), "{completion:?}");
        }
        assert!(matches!(completions[17].result, Err(DiskError::NotOpen { .. })));
        assert_eq!(store.len(other).unwrap(), 0);
        let file = store.open(&name, OpenMode::Existing).unwrap();
        assert_eq!(store.len(file).unwrap(), 16 * PAGE);
        assert_eq!(page(store, file, 15 * PAGE), [round; PAGE_BYTES]);
    }
}

pub(crate) fn reserved_and_trimmed_space_reads_as_zeros(store: &Store) {
    let file = create(store, "pages");
    let done = |operation| store.complete(file, operation).unwrap().result;
    let reserved = done(Operation::Preallocate { offset: 0, length: 16 * PAGE }).unwrap();
    assert_eq!(reserved, Done { offset: 0, bytes: 16 * PAGE });
    assert_eq!(store.len(file).unwrap(), 16 * PAGE);
    assert_eq!(page(store, file, 15 * PAGE), [0; PAGE_BYTES]);
    assert_eq!(store.append(file, &[1; PAGE_BYTES]).unwrap().offset, 16 * PAGE);
    store.write_all_at(file, 0, &[2; 4 * PAGE_BYTES]).unwrap();
    done(Operation::Trim { offset: PAGE, length: 2 * PAGE }).unwrap();
    assert_eq!(page(store, file, 0), [2; PAGE_BYTES]);
    assert_eq!(page(store, file, PAGE), [0; PAGE_BYTES]);
    assert_eq!(page(store, file, 2 * PAGE), [0; PAGE_BYTES]);
    assert_eq!(page(store, file, 3 * PAGE), [2; PAGE_BYTES]);
    done(Operation::Trim { offset: 16 * PAGE, length: 1000 * PAGE }).unwrap();
    assert_eq!(store.len(file).unwrap(), 17 * PAGE, "the length stays");
    assert_eq!(page(store, file, 16 * PAGE), [0; PAGE_BYTES]);
    done(Operation::Preallocate { offset: 0, length: PAGE }).unwrap();
    assert_eq!(store.len(file).unwrap(), 17 * PAGE);
    store.sync(file).unwrap();
}

pub(crate) fn a_second_lock_names_the_holder(store: &Store) {
    let lock = store.lock().unwrap();
    match store.lock() {
        Err(DiskError::Locked { holder, .. }) => assert_eq!(holder, Some(process::id())),
        other => panic!("{other:?}"),
    }
    drop(lock);
    drop(store.lock().unwrap());
}

pub(crate) fn waiting_ends_with_the_timeout(store: &Store) {
    let mut queue = store.queue().unwrap();
    let mut completions = Vec::new();
    assert_eq!(queue.wait(5, None, &mut completions).unwrap(), 0, "nothing is in flight");
    assert_eq!(queue.wait(0, Some(Duration::ZERO), &mut completions).unwrap(), 0);
    let file = create(store, "pages");
    let mut buffer = store.buffers().take(PAGE_BYTES);
    buffer.fill(1);
    submit(&mut *queue, 1, file, Operation::Write { offset: 0, buffer });
    let mut turns = 0;
    while completions.is_empty() {
        queue.wait(10, Some(Duration::from_micros(10)), &mut completions).unwrap();
        turns += 1;
        assert!(turns < 1_000_000);
    }
    completions.remove(0).result.unwrap();
    assert_eq!(queue.in_flight(), 0);
}

pub(crate) fn long_transfers_are_whole(store: &Store) {
    let file = create(store, "pages");
    let bytes = 9 << 20;
    let buffer = filled(&***store, 3, 0, bytes);
    let done = store.complete(file, Operation::Append { buffer }).unwrap().result.unwrap();
    assert_eq!(done, Done { offset: 0, bytes: bytes as u64 });
    let mut read = vec![0; bytes];
    store.read_exact_at(file, 0, &mut read).unwrap();
    assert_pattern(3, 0, &read);
}
