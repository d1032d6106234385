//! Blocks whose state is cold. What is compared is interleaved, so this is no criterion bench.
//!
//! ```text
//! cargo bench -p citius-benches --bench cold -- [execution] [corpus] [--directory DIR] [--accounts N] [--slots N] [--customary N]
//!                                               [--runs N] [--latency-us N] [--blocks N] [--json FILE]
//! ```

use citius_benches::{
    Size, banner,
    cold::{Options, corpus, execution},
    stores::disk_of,
};
use serde_json::json;
use std::{env, error::Error, fs, path::PathBuf, process::ExitCode, time::Duration};

/// As in the `citius` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    let mut options = Options::of(size, env::temp_dir().join("citius-cold"));
    let (mut parts, mut json_file) = (Vec::new(), None);
    let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "execution" | "corpus" => parts.push(argument.clone()),
            "--directory" => options.directory = PathBuf::from(value()?).join("citius-cold"),
            "--accounts" => options.accounts = value()?.parse()?,
            "--slots" => options.slots = value()?.parse()?,
            "--customary" => options.customary = value()?.parse()?,
            "--runs" => options.runs = value()?.parse()?,
            "--blocks" => options.blocks = value()?.parse()?,
            "--latency-us" => options.latency = Duration::from_micros(value()?.parse()?),
            "--json" => json_file = Some(value()?),
            other => return Err(format!("{other}: no such part or option").into()),
        }
    }
    if parts.is_empty() {
        parts = vec!["execution".into(), "corpus".into()];
    }
    fs::create_dir_all(&options.directory)?;
    let disk = disk_of(&options.directory);
    println!("{}; disk {disk}; {} accounts, {} slots", banner(), options.accounts, options.slots);
    let mut report = json!({ "commit": banner(), "disk": disk });
    let mut progress = |made: usize| {
        if made.is_multiple_of(500_000) {
            eprintln!("  {made} accounts made");
        }
    };
    for part in parts {
        let figures = if part == "execution" {
            let figures = execution(&options, &mut progress)?;
            figures.iter().for_each(|figures| println!("{figures}"));
            serde_json::to_value(figures)?
        } else {
            let figures = corpus(&options, &mut progress)?;
            figures.iter().for_each(|figures| println!("{figures}"));
            serde_json::to_value(figures)?
        };
        report[part] = figures;
    }
    if let Some(file) = json_file {
        fs::write(file, serde_json::to_string_pretty(&report)?)?;
    }
    Ok(())
}
