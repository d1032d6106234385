//! The state root. Contestants must be interleaved and their answers compared, so this is no criterion bench.
//!
//! ```text
//! cargo bench -p citius-benches --bench root -- [block] [alone] [loop] [bulk] [growth] [--blocks N] [--repeats N] [--json FILE] [--svg FILE]
//! ```
//!
//! `block` has everyone write each block in turn, so that nobody finds anything in the caches; `alone` is the same without
//! the others, as close to a node that does nothing but seal as `block` is to one that does everything else in between.
//! `loop` does indeed nothing but seal, on one thread and then on two: the first place where an idea shows.

use citius_benches::{
    Size, WrongAnswer, banner,
    root::{
        Contest, Contestants, MachineFigures, Shape, Threads, World, Writes, bulk, growth, plot, sealing,
    },
};
use citius_hashing::Hasher;
use serde_json::{Value, json};
use std::{env, error::Error, fs, process::ExitCode};

/// As in the `citius` binary: what the peers allocate costs less than by the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is measured, and how much of it.
struct Options {
    parts: Vec<String>,
    blocks: usize,
    repeats: usize,
    json: Option<String>,
    svg: Option<String>,
}

const PARTS: [&str; 5] = ["block", "alone", "loop", "bulk", "growth"];

impl Options {
    fn parse(size: Size) -> Result<Self, Box<dyn Error>> {
        let (blocks, repeats) = if size == Size::Smoke { (4, 1) } else { (200, 5) };
        let mut options = Self { parts: Vec::new(), blocks, repeats, json: None, svg: None };
        let mut arguments = env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" | "--test" => {}
                "--blocks" => options.blocks = number(&argument, &value()?)?,
                "--repeats" => options.repeats = number(&argument, &value()?)?,
                "--json" => options.json = Some(value()?),
                "--svg" => options.svg = Some(value()?),
                part if PARTS.contains(&part) => options.parts.push(argument),
                other => return Err(format!("`{other}` is none of {PARTS:?} and no option").into()),
            }
        }
        if options.parts.is_empty() {
            options.parts = PARTS.map(String::from).to_vec();
        }
        Ok(options)
    }
}

fn number(option: &str, value: &str) -> Result<usize, String> {
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{option} is `{value}`, not a number from 1 on"))
}

fn main() -> ExitCode {
    eprintln!("{}", banner());
    match run(Size::of_this_run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(size: Size) -> Result<(), Box<dyn Error>> {
    let options = Options::parse(size)?;
    let is_smoke = size == Size::Smoke;
    let threads = if is_smoke { Threads::unpinned() } else { Threads::pinned() }?;
    let mut report = json!({ "commit": banner(), "threads_pinned": threads.is_pinned });
    let machine = || MachineFigures::now(&format!("{:?}", Hasher::cpu().cpu_kind()));
    for part in &options.parts {
        let before = machine();
        println!(
            "{part}: {}; hashing by {}; load average {}; workers {}",
            before.processor,
            before.hashing,
            before.load_average,
            if threads.is_pinned { "pinned" } else { "not pinned" }
        );
        let figures = match part.as_str() {
            "block" => block(Contestants::All, &threads, &options, is_smoke)?,
            "alone" => block(Contestants::Nobody, &threads, &options, is_smoke)?,
            "loop" => seals(&threads, &options, is_smoke)?,
            "bulk" => bulks(&threads, &options, is_smoke)?,
            _ => grow(&threads, &options, is_smoke, &before.processor)?,
        };
        report[part.as_str()] = json!({ "before": before, "figures": figures, "after": machine() });
        // After every part, so that what is measured is not lost with what fails later.
        if let Some(path) = &options.json {
            fs::write(path, serde_json::to_string_pretty(&report)? + "\n")?;
        }
    }
    Ok(())
}

fn block(
    contestants: Contestants,
    threads: &Threads,
    options: &Options,
    is_smoke: bool,
) -> Result<Value, Box<dyn Error>> {
    let shape = if is_smoke { Shape::of_leaves(20_000) } else { Shape::FIVE_MILLION };
    let world = World::new(shape);
    let mut contest = Contest::new(&world, contestants, threads, is_smoke)?;
    let figures = contest.run(Writes::MAINNET_BLOCK, options.blocks)?;
    println!("{figures}");
    Ok(serde_json::to_value(figures)?)
}

fn seals(threads: &Threads, options: &Options, is_smoke: bool) -> Result<Value, Box<dyn Error>> {
    /// As many as in the other parts are over in no time.
    const TIMES: usize = 7;
    let shape = if is_smoke { Shape::of_leaves(20_000) } else { Shape::FIVE_MILLION };
    let figures = sealing(&World::new(shape), Writes::MAINNET_BLOCK, TIMES * options.blocks, threads)?;
    println!("{figures}");
    Ok(serde_json::to_value(figures)?)
}

fn bulks(threads: &Threads, options: &Options, is_smoke: bool) -> Result<Value, Box<dyn Error>> {
    let leaves = if is_smoke { 20_000 } else { 10_000_000 };
    let shapes = [Shape::of_leaves(leaves), Shape { accounts: leaves / 10_000, slots: leaves }];
    let figures = shapes.map(|shape| {
        let figures = bulk(shape, threads, options.repeats)?;
        println!("{figures}");
        Ok::<_, WrongAnswer>(figures)
    });
    let figures: Result<Vec<_>, WrongAnswer> = figures.into_iter().collect();
    Ok(serde_json::to_value(figures?)?)
}

fn grow(
    threads: &Threads,
    options: &Options,
    is_smoke: bool,
    processor: &str,
) -> Result<Value, Box<dyn Error>> {
    let leaves: &[usize] =
        if is_smoke { &[1_000, 10_000] } else { &[10_000, 100_000, 1_000_000, 10_000_000] };
    let writes: &[usize] = if is_smoke { &[100, 1_000] } else { &[100, 1_000, 10_000, 100_000] };
    let points = growth(leaves, writes, threads, is_smoke)?;
    for point in &points {
        println!("{point}");
    }
    if let Some(path) = &options.svg {
        fs::write(path, plot(&points, &format!("State root on 2 threads, {processor}")))?;
    }
    Ok(serde_json::to_value(points)?)
}
