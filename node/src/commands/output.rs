use anyhow::{Context, Error, Result};
use serde::Serialize;
use std::{
    fs::{self, File},
    io::{self, BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
    process,
};

/// Writes to stdout. Who closed it (as `head` does) wants no more.
pub(super) fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        _ => Ok(()),
    }
}

/// Runs a command that may write a report: the file is made ready before, and who expects it learns if the command
/// ends without writing it.
pub(super) fn with_report<T>(
    path: Option<&Path>,
    run: impl FnOnce(Option<&JsonFile>) -> Result<T>,
) -> Result<T> {
    let file = path.map(JsonFile::create).transpose()?;
    run(file.as_ref()).map_err(|error| match &file {
        Some(file) => file.explain(error),
        None => error,
    })
}

/// A JSON file that is wholly there or not at all: written beside its place, then renamed. What is no regular file, as
/// a pipe, is written to directly.
#[derive(Debug)]
pub(super) struct JsonFile {
    shown: PathBuf,
    target: PathBuf,
    /// Removed when this is dropped; after the renaming it is not there any more.
    beside: Option<PathBuf>,
}

impl JsonFile {
    /// Makes sure that the file can be written, before there is anything to write: measuring takes long.
    pub(super) fn create(path: &Path) -> Result<Self> {
        Self::open(path).with_context(|| format!("{}: cannot be written", path.display()))
    }

    fn open(path: &Path) -> io::Result<Self> {
        // A link stays, and what it leads to is replaced.
        let target = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let shown = path.to_path_buf();
        if fs::metadata(&target).is_ok_and(|found| !found.is_file()) {
            File::options().append(true).open(&target)?;
            return Ok(Self { shown, target, beside: None });
        }
        let Some(name) = target.file_name() else { return Err(ErrorKind::InvalidFilename.into()) };
        let beside = target.with_file_name(format!(".{}.{}", name.to_string_lossy(), process::id()));
        File::create(&beside)?;
        Ok(Self { shown, target, beside: Some(beside) })
    }

    /// Writes a value.
    pub(super) fn write(&self, value: &impl Serialize) -> Result<()> {
        self.replace(value).with_context(|| format!("{}: cannot be written", self.shown.display()))
    }

    fn replace(&self, value: &impl Serialize) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(self.beside.as_ref().unwrap_or(&self.target))?);
        serde_json::to_writer_pretty(&mut file, value)?;
        file.write_all(b"\n")?;
        file.flush()?;
        self.beside.as_ref().map_or(Ok(()), |beside| fs::rename(beside, &self.target))
    }

    /// The error of a run that failed; if that was before it wrote, with what this means for the file.
    fn explain(&self, error: Error) -> Error {
        if !self.beside.as_ref().is_some_and(|beside| beside.exists()) {
            return error;
        }
        let left = if self.target.exists() { "; what it holds is of an earlier run" } else { "" };
        error.context(format!("{}: not written{left}", self.shown.display()))
    }
}

impl Drop for JsonFile {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            // There only if nothing was written.
            let _ = fs::remove_file(beside);
        }
    }
}

/// Removes a file that an earlier run may have left.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{}: cannot be removed", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serializer;

    /// A value that cannot be written as a whole.
    struct Half;

    impl Serialize for Half {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::{Error, SerializeSeq};
            serializer.serialize_seq(None)?.serialize_element(&1)?;
            Err(S::Error::custom("half"))
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        assert!(JsonFile::create(&path).unwrap().write(&Half).is_err());
        assert_eq!(names(folder.path()), [""; 0], "nothing is left of a file that was not written");
        JsonFile::create(&path).unwrap().write(&[1]).unwrap();
        let pending = JsonFile::create(&path).unwrap();
        let error = pending.explain(Error::msg("no")).to_string();
        assert!(error.contains("report.json: not written") && error.contains("earlier run"), "{error}");
        drop(pending);
        assert!(JsonFile::create(&path).unwrap().write(&Half).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "[\n  1\n]\n");
        assert_eq!(names(folder.path()), ["report.json"]);
    }

    #[test]
    fn links_and_devices_stay_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file.json"), folder.path().join("link.json"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        JsonFile::create(&link).unwrap().write(&2).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "2\n");
        JsonFile::create(Path::new("/dev/null")).unwrap().write(&3).unwrap();
        assert!(!Path::new("/dev/null").is_file());
        assert!(JsonFile::create(folder.path()).is_err(), "a folder");
    }
}
