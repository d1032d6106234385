//! Hit ratios of caches. They are counted, not timed, so this is no criterion bench.
//!
//! ```text
//! cargo bench -p citius-benches --bench caches -- [NAME] [--json FILE]
//! ```
//!
//! Of the traces those with NAME in theirs.

use citius_benches::{
    Size, banner,
    caches::{CacheFigures, SEED, compare, generated, recorded},
};
use serde_json::json;
use std::{env, error::Error, fs, process::ExitCode};

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
    let (mut name, mut json_file) = (String::new(), None);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" | "--test" => {}
            "--json" => json_file = Some(arguments.next().ok_or("--json needs a value")?),
            option if option.starts_with('-') => return Err(format!("`{option}` is no option").into()),
            _ => name = argument,
        }
    }
    let mut traces = generated(size);
    match recorded(size)? {
        Some(trace) => traces.push(trace),
        None => eprintln!("SKIPPED: recorded blocks, since CITIUS_CORPUS is not set"),
    }
    traces.retain(|trace| trace.name.contains(&name));
    println!("{}", CacheFigures::HEAD);
    let mut figures = Vec::new();
    for trace in traces {
        let found = compare(&trace)?;
        print!("{found}");
        figures.push(found);
    }
    if let Some(path) = json_file {
        let report = json!({ "commit": banner(), "seed": SEED, "traces": figures });
        fs::write(path, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    Ok(())
}
