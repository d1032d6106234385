//! Random reads of 4 KiB past the page cache: io_uring by one thread against pread by one and by 32, and against
//! `fio` where that is installed. Rounds take turns; medians are quoted.
//!
//! `cargo bench -p citius-io --bench reads -- [--gib 4] [--seconds 5] [--rounds 3] [--directory DIR] [--json FILE]`
//!
//! Each read is checked: a page begins with its number. Without `--bench` (as tests run it) all is small.

use citius_io::{
    Backend, Buffer, Completion, Disk, DiskConfig, FileId, OpenMode, Operation, PAGE_BYTES, Request,
    open_disk,
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::{
    env, fs,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// The file's name in the directory.
const NAME: &str = "citius-reads";

/// Reads in flight, for io_uring and fio.
const DEPTH: u32 = 64;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Size of the file.
    pub(crate) pages: u64,
    /// Time of each contestant in each round.
    pub(crate) time: Duration,
    /// How often each has its turn.
    pub(crate) rounds: usize,
    /// Where the file is; it is left there, to be used again.
    pub(crate) directory: PathBuf,
    /// Where the results go besides.
    pub(crate) json: Option<PathBuf>,
}

/// One contestant's turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Reads a second.
    pub(crate) iops: f64,
    /// Time of processors for each read, in microseconds.
    pub(crate) cpu_us: f64,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return Ok(());
    }
    let is_bench = arguments.iter().any(|argument| argument == "--bench");
    let value = |name: &str| {
        arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1))
    };
    let number = |name: &str, default: f64| value(name).map_or(Ok(default), |text| text.parse::<f64>());
    if !is_bench {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reads-smoke");
        fs::create_dir_all(&directory)?;
        return run(&smoke(directory)).map(drop);
    }
    let options = Options {
        pages: (number("--gib", 4.0)? * (1 << 30) as f64) as u64 / PAGE_BYTES as u64,
        time: Duration::from_secs_f64(number("--seconds", 5.0)?),
        rounds: number("--rounds", 3.0)? as usize,
        directory: value("--directory").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from),
        json: value("--json").map(PathBuf::from),
    };
    run(&options).map(drop)
}

/// The size that tests run.
#[must_use]
pub(crate) fn smoke(directory: PathBuf) -> Options {
    Options { pages: 256, time: Duration::from_millis(20), rounds: 1, directory, json: None }
}

/// Runs all contestants in turn, prints and returns the results.
pub(crate) fn run(options: &Options) -> Result<Value, Failure> {
    if options.pages == 0 || options.rounds == 0 {
        return Err("--gib and --rounds: expected more than 0".into());
    }
    let config = DiskConfig { backend: Backend::Auto, queue_depth: DEPTH, ..DiskConfig::default() };
    let (disk, choice) = open_disk(&options.directory, &config)?;
    println!("{choice}");
    let file = prepare(&*disk, options.pages)?;
    let path = options.directory.join(NAME);
    let names = ["queue, depth 64", "pread, 1 thread", "pread, 32 threads", "fio, depth 64"];
    let mut samples: [Vec<Sample>; 4] = Default::default();
    let mut fio_is_skipped = None;
    for round in 0..options.rounds {
        for (contestant, samples) in samples.iter_mut().enumerate() {
            let seed = round as u64 + 1;
            let sample = match contestant {
                0 => Some(queue(&*disk, file, options, seed)?),
                1 => Some(pread(&path, options, 1, choice.capabilities.direct, seed)?),
                2 => Some(pread(&path, options, 32, choice.capabilities.direct, seed)?),
                _ => match fio(&path, options, choice.capabilities.direct) {
                    Ok(sample) => Some(sample),
                    Err(why) => {
                        fio_is_skipped = Some(why.to_string());
                        None
                    }
                },
            };
            samples.extend(sample);
        }
    }
    let medians = samples.map(|mut samples| {
        samples.sort_by(|a, b| a.iops.total_cmp(&b.iops));
        samples.get(samples.len() / 2).copied()
    });
    for (name, median) in names.iter().zip(&medians) {
        match (median, &fio_is_skipped) {
            (Some(Sample { iops, cpu_us }), _) => {
                println!("{name:<18} {iops:>10.0} IOPS {cpu_us:>8.2} µs CPU a read")
            }
            (None, why) => println!("{name:<18} SKIPPED: {}", why.as_deref().unwrap_or("no sample")),
        }
    }
    let [Some(queue), Some(one), Some(many), fio] = medians else {
        return Err("a contestant has no sample".into());
    };
    let best =
        [Some(one), Some(many), fio].into_iter().flatten().map(|sample| sample.iops).fold(0.0, f64::max);
    let ratios = [
        ("iops_of_best_other", queue.iops / best),
        ("iops_of_fio", fio.map_or(f64::NAN, |fio| queue.iops / fio.iops)),
        ("cpu_of_pread_1", queue.cpu_us / one.cpu_us),
        ("cpu_of_pread_32", queue.cpu_us / many.cpu_us),
    ];
    for (name, ratio) in ratios.iter().filter(|(_, ratio)| ratio.is_finite()) {
        println!("{name:<18} {ratio:>10.2}");
    }
    let as_json = |sample: Option<Sample>| {
        sample.map(|Sample { iops, cpu_us }| json!({"iops": iops, "cpu_us_per_read": cpu_us}))
    };
    let result = json!({
        "disk": choice.to_string(),
        "file_bytes": options.pages * PAGE_BYTES as u64,
        "seconds": options.time.as_secs_f64(),
        "rounds": options.rounds,
        "queue_depth_64": as_json(Some(queue)),
        "pread_1": as_json(Some(one)),
        "pread_32": as_json(Some(many)),
        "fio_depth_64": as_json(fio),
        "fio_skipped": fio_is_skipped,
        "ratios": ratios.iter().filter(|(_, ratio)| ratio.is_finite()).map(|(name, ratio)| ((*name).to_owned(), json!(ratio))).collect::<serde_json::Map<_, _>>(),
    });
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&result)? + "\n")?;
    }
    Ok(result)
}

/// Makes the file, or takes one of the right size that is there.
fn prepare(disk: &dyn Disk, pages: u64) -> Result<FileId, Failure> {
    let file = disk.open(NAME, OpenMode::Create)?;
    let bytes = pages * PAGE_BYTES as u64;
    if disk.len(file)? == bytes {
        return Ok(file);
    }
    disk.close(file)?;
    disk.remove(NAME)?;
    let file = disk.open(NAME, OpenMode::CreateNew)?;
    let mut queue = disk.queue()?;
    let mut completions = Vec::new();
    let mut spare: Vec<Buffer> = (0..4).map(|_| Buffer::heap(1 << 20)).collect();
    let chunk_pages = (1 << 20) / PAGE_BYTES as u64;
    for first in (0..pages).step_by(chunk_pages as usize) {
        while spare.is_empty() {
            queue.wait(1, None, &mut completions)?;
            for completion in completions.drain(..) {
                completion.result?;
                spare.extend(completion.buffer);
            }
        }
        let Some(mut buffer) = spare.pop() else { continue };
        buffer.resize((pages - first).min(chunk_pages) as usize * PAGE_BYTES);
        for (page, bytes) in (first..).zip(buffer.chunks_exact_mut(PAGE_BYTES)) {
            bytes.fill(0xa5);
            bytes[..8].copy_from_slice(&page.to_le_bytes());
        }
        let offset = first * PAGE_BYTES as u64;
        queue.submit(Request { tag: 0, file, operation: Operation::Write { offset, buffer } })?;
    }
    while queue.in_flight() > 0 {
        queue.wait(1, None, &mut completions)?;
    }
    for completion in completions.drain(..) {
        completion.result?;
    }
    drop(queue);
    disk.sync(file)?;
    Ok(file)
}

/// One thread, [`DEPTH`] reads in flight.
fn queue(disk: &dyn Disk, file: FileId, options: &Options, seed: u64) -> Result<Sample, Failure> {
    let mut queue = disk.queue()?;
    let mut random = Random(seed);
    let mut completions: Vec<Completion> = Vec::with_capacity(DEPTH as usize);
    let mut spare: Vec<Buffer> = (0..DEPTH).map(|_| disk.buffers().take(PAGE_BYTES)).collect();
    let (start, cpu) = (Instant::now(), cpu_time());
    let mut reads = 0_u64;
    while start.elapsed() < options.time {
        for buffer in spare.drain(..) {
            let tag = random.below(options.pages);
            let operation = Operation::Read { offset: tag * PAGE_BYTES as u64, buffer };
            queue.submit(Request { tag, file, operation })?;
        }
        reads += queue.wait(1, None, &mut completions)? as u64;
        for completion in completions.drain(..) {
            completion.result?;
            let buffer = completion.buffer.ok_or("a read without its buffer")?;
            check(completion.tag, &buffer)?;
            spare.push(buffer);
        }
    }
    Ok(sample(reads, start, cpu))
}

/// `threads` threads, one read each.
fn pread(path: &Path, options: &Options, threads: u64, direct: bool, seed: u64) -> Result<Sample, Failure> {
    let flags = if direct { libc::O_DIRECT } else { 0 };
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let reads = AtomicU64::new(0);
    let (start, cpu) = (Instant::now(), cpu_time());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let (file, reads) = (&file, &reads);
                scope.spawn(move || -> Result<(), Failure> {
                    let mut random = Random(seed << 32 | worker);
                    let mut buffer = Buffer::heap(PAGE_BYTES);
                    let mut count = 0;
                    while start.elapsed() < options.time {
                        let page = random.below(options.pages);
                        file.read_exact_at(&mut buffer, page * PAGE_BYTES as u64)?;
                        check(page, &buffer)?;
                        count += 1;
                    }
                    reads.fetch_add(count, Ordering::Relaxed);
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a thread panicked")?)
    })?;
    Ok(sample(reads.into_inner(), start, cpu))
}

/// The standard tool, told to do the same.
fn fio(path: &Path, options: &Options, direct: bool) -> Result<Sample, Failure> {
    let seconds = options.time.as_secs().max(1);
    let output = Command::new("fio")
        .args(["--name=reads", "--rw=randread", "--bs=4k", "--ioengine=io_uring", "--time_based"])
        .args(["--readonly", "--fixedbufs=1", "--registerfiles=1", "--norandommap", "--output-format=json"])
        .args(["--iodepth_batch_complete_min=1", "--gtod_reduce=1"])
        .arg(format!("--iodepth={DEPTH}"))
        .arg(format!("--direct={}", u8::from(direct)))
        .arg(format!("--runtime={seconds}"))
        .arg(format!("--filename={}", path.display()))
        .output()
        .map_err(|error| format!("fio: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let start = text.find('{').ok_or("fio gave no JSON")?;
    let json: Value = serde_json::from_str(&text[start..])?;
    let job = &json["jobs"][0];
    let number = |value: &Value| value.as_f64().ok_or("fio's JSON lacks a number");
    let iops = number(&job["read"]["iops"])?;
    let cpu_percent = number(&job["usr_cpu"])? + number(&job["sys_cpu"])?;
    Ok(Sample { iops, cpu_us: cpu_percent / 100.0 * 1e6 / iops })
}

fn check(page: u64, bytes: &[u8]) -> Result<(), Failure> {
    if bytes[..8] == page.to_le_bytes() { Ok(()) } else { Err(format!("page {page} has other bytes").into()) }
}

fn sample(reads: u64, start: Instant, cpu: Duration) -> Sample {
    let reads = reads.max(1) as f64;
    let cpu_us = (cpu_time() - cpu).as_secs_f64() * 1e6 / reads;
    Sample { iops: reads / start.elapsed().as_secs_f64(), cpu_us }
}

/// Of all threads of this process, the kernel's work for them included.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(word ^ (word >> 31)) * u128::from(end)) >> 64) as u64
    }
}
