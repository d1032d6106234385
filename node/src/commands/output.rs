use anyhow::{Context, Result};
use serde::Serialize;
use std::{
    fs::File,
    io::{self, BufWriter, ErrorKind, Write},
    path::Path,
};

/// Writes to stdout. Who closed it (as `head` does) wants no more.
pub(super) fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        _ => Ok(()),
    }
}

/// Makes sure that a file can be written, before there is anything to write: measuring takes long.
pub(super) fn check_writable(path: &Path) -> Result<()> {
    let opened = File::options().append(true).create(true).open(path);
    opened.map(drop).with_context(|| format!("{}: cannot be written", path.display()))
}

/// Writes a value as JSON into a file.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let write = || -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        serde_json::to_writer_pretty(&mut file, value)?;
        file.write_all(b"\n")?;
        file.flush()
    };
    write().with_context(|| format!("{}: cannot be written", path.display()))
}
