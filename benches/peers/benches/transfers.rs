//! Random transfers by Citius' store, NOMT, MDBX and redb: see the library for the arguments.

use citius_benches::{
    Size, banner,
    root::MachineFigures,
    stores::{Options, contest, disk_of, take_part},
};
use citius_peers::{NAMES, roster};
use serde_json::json;
use std::{error::Error, fs, process::ExitCode};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(Size::of_this_run(), &["transfers"])?;
    if let Some(name) = &options.contender {
        return Ok(take_part(&options, roster, name)?);
    }
    eprintln!("{}", banner());
    fs::create_dir_all(&options.directory)?;
    let before = MachineFigures::now("each one's own");
    let disk = disk_of(&options.directory);
    println!("transfers: {}; disk {disk}; load average {}", before.processor, before.load_average);
    let names = if options.contenders.is_empty() {
        NAMES.map(String::from).to_vec()
    } else {
        options.contenders.clone()
    };
    let figures = contest(&options, &names)?;
    println!("{figures}");
    if let Some(path) = &options.json {
        let report = json!({ "built": banner(), "disk": disk, "before": before, "figures": figures });
        fs::write(path, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    Ok(())
}
