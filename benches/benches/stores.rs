//! Durable stores. Contestants are interleaved, each in a process of its own, so this is no criterion bench.
//!
//! ```text
//! cargo bench -p citius-benches --bench stores -- [transfers] [curves] [commit] [nodes] [--directory DIR] [--json FILE] [--svg FILE]
//!     transfers  [--accounts N] [--transfers N] [--turn COMMITS] [--turns N] [--readers N] [--cache-mib N]
//!                [--checkpoint-every COMMITS] [--contenders NAME,NAME]
//!     curves     [--leaves N,N,N] [--journalled WRITES]
//!     commit     [--state LEAVES] [--blocks N]
//!     nodes      [--accounts N] [--blocks N] [--cache-mib N] [--checkpoint-every BLOCKS]
//! ```
//!
//! `transfers` against NOMT and MDBX too: `benches/peers`.

use citius_benches::{
    Size, banner,
    root::MachineFigures,
    stores::{NAMES, Options, commits, contest, curves, disk_of, nodes, plot_curves, roster, take_part},
};
use citius_hashing::Hasher;
use serde_json::{Value, json};
use std::{error::Error, fs, process::ExitCode};

/// As in the `citius` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTS: [&str; 4] = ["transfers", "curves", "commit", "nodes"];

fn main() -> ExitCode {
    match run(Size::of_this_run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(size: Size) -> Result<(), Box<dyn Error>> {
    let options = Options::parse(size, &PARTS)?;
    if let Some(name) = &options.contender {
        return Ok(take_part(&options, roster, name)?);
    }
    eprintln!("{}", banner());
    fs::create_dir_all(&options.directory)?;
    let disk = disk_of(&options.directory);
    let mut report = json!({ "built": banner(), "disk": disk });
    let machine = || MachineFigures::now(&format!("{:?}", Hasher::cpu().cpu_kind()));
    for part in &options.parts {
        let before = machine();
        println!("{part}: {}; disk {disk}; load average {}", before.processor, before.load_average);
        let figures = match part.as_str() {
            "transfers" => transfers(&options)?,
            "curves" => grow(&options, &before.processor, &disk)?,
            "commit" => {
                let figures = commits(options.state, options.blocks, &options.directory)?;
                println!("{figures}");
                serde_json::to_value(figures)?
            }
            _ => {
                let figures = nodes(&options)?;
                println!("{figures}");
                serde_json::to_value(figures)?
            }
        };
        report[part.as_str()] = json!({ "before": before, "figures": figures, "after": machine() });
        if let Some(path) = &options.json {
            fs::write(path, serde_json::to_string_pretty(&report)? + "\n")?;
        }
    }
    Ok(())
}

fn transfers(options: &Options) -> Result<Value, Box<dyn Error>> {
    let names = if options.contenders.is_empty() {
        NAMES.map(String::from).to_vec()
    } else {
        options.contenders.clone()
    };
    let figures = contest(options, &names)?;
    println!("{figures}");
    Ok(serde_json::to_value(figures)?)
}

fn grow(options: &Options, processor: &str, disk: &str) -> Result<Value, Box<dyn Error>> {
    let points =
        curves(&options.leaves, options.journalled, &options.directory, &mut |point| println!("{point}"))?;
    if let Some(path) = &options.svg {
        fs::write(path, plot_curves(&points, &format!("The store on {disk}, {processor}")))?;
    }
    Ok::<_, Box<dyn Error>>(serde_json::to_value(points)?)
}
