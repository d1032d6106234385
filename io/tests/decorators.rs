//! What decorators add: counts, and latency that is not work.

use citius_io::{
    Delayed, Delays, Disk, Metered, OpenMode, Operation, OperationKind, PAGE_BYTES, Request, SimConfig,
    SimDisk,
};
use rustix::time::{ClockId, clock_gettime};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

fn sim() -> Arc<dyn Disk> {
    Arc::new(SimDisk::new(SimConfig::default()))
}

#[test]
fn what_queues_did_is_counted_also_when_they_are_gone() {
    let disk = Metered::new(sim());
    let file = disk.open("pages", OpenMode::CreateNew).unwrap();
    disk.append(file, &[1; 3 * PAGE_BYTES]).unwrap();
    disk.write_all_at(file, 0, &[1; PAGE_BYTES]).unwrap();
    disk.sync(file).unwrap();
    disk.read_exact_at(file, 0, &mut [0; 2 * PAGE_BYTES]).unwrap();
    disk.read_exact_at(file, 0, &mut [0; 4 * PAGE_BYTES]).unwrap_err();
    let mut queue = disk.queue().unwrap();
    let buffer = disk.buffers().take(PAGE_BYTES);
    queue.submit(Request { tag: 77, file, operation: Operation::Read { offset: 0, buffer } }).unwrap();
    let mut completions = Vec::new();
    queue.wait(1, None, &mut completions).unwrap();
    assert_eq!(completions[0].tag, 77);
    let alive = disk.metrics();
    drop(queue);
    assert_eq!(disk.metrics(), alive);
    assert_eq!(
        (alive.reads.operations, alive.reads.errors, alive.reads.bytes),
        (3, 1, 3 * PAGE_BYTES as u64)
    );
    assert_eq!((alive.appends.operations, alive.appends.bytes), (1, 3 * PAGE_BYTES as u64));
    assert_eq!((alive.writes.operations, alive.syncs.operations, alive.trims.operations), (1, 1, 0));
    assert!(alive.reads.time_ns >= alive.reads.time_ns_max && alive.reads.time_ns_max > 0);
    assert_eq!(alive.of(OperationKind::Read), alive.reads);
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn delays_run_at_the_same_time_and_use_no_processor() {
    let delay = Duration::from_millis(20);
    let disk = Delayed::new(sim(), Delays { read: delay, ..Delays::default() });
    let file = disk.open("pages", OpenMode::CreateNew).unwrap();
    let start = Instant::now();
    disk.write_all_at(file, 0, &[1; PAGE_BYTES]).unwrap();
    assert!(start.elapsed() < delay, "writes are not delayed");
    let mut queue = disk.queue().unwrap();
    let (start, cpu) = (Instant::now(), cpu_time());
    for tag in 0..64 {
        let buffer = disk.buffers().take(PAGE_BYTES);
        queue.submit(Request { tag, file, operation: Operation::Read { offset: 0, buffer } }).unwrap();
    }
    let mut completions = Vec::new();
    assert_eq!(queue.poll(&mut completions).unwrap(), 0, "none is due");
    assert_eq!(
        queue.wait(64, Some(Duration::from_millis(2)), &mut completions).unwrap(),
        0,
        "nor after 2 ms"
    );
    assert_eq!(queue.in_flight(), 64);
    assert_eq!(queue.wait(64, None, &mut completions).unwrap(), 64);
    let (time, cpu) = (start.elapsed(), cpu_time() - cpu);
    assert!((delay..32 * delay).contains(&time), "{time:?} for 64 delays of {delay:?} at the same time");
    assert!(cpu < time / 2, "{cpu:?} of the processor in {time:?}");
    assert_eq!(queue.in_flight(), 0);
}

#[test]
fn who_looks_late_waits_no_longer() {
    let delay = Duration::from_millis(5);
    let quick = SimConfig { slow_per_million: 0, ..SimConfig::default() };
    let disk = Delayed::new(Arc::new(SimDisk::new(quick)), Delays { read: delay, ..Delays::default() });
    let file = disk.open("pages", OpenMode::CreateNew).unwrap();
    disk.write_all_at(file, 0, &[1; PAGE_BYTES]).unwrap();
    let mut queue = disk.queue().unwrap();
    for tag in 0..32 {
        let buffer = disk.buffers().take(PAGE_BYTES);
        queue.submit(Request { tag, file, operation: Operation::Read { offset: 0, buffer } }).unwrap();
    }
    std::thread::sleep(2 * delay);
    let mut completions = Vec::new();
    assert_eq!(queue.poll(&mut completions).unwrap(), 32);
}
