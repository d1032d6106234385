use crate::{
    archive::{self, ArchiveError, Entry},
    exceptions::Exceptions,
    machines::Machines,
    selection::Selection,
    tally::Tally,
};
use std::path::Path;

/// What one thread of a suite works with.
pub(crate) struct Worker<'a> {
    pub(crate) selection: &'a Selection,
    pub(crate) machines: Machines,
    pub(crate) tally: Tally,
    exceptions: &'a Exceptions,
}

/// Runs all files of an archive.
pub(crate) fn run(
    path: &Path,
    selection: &Selection,
    run_file: impl Fn(&mut Worker<'_>, Entry) + Sync,
) -> Result<Tally, ArchiveError> {
    let exceptions = &Exceptions::of_archive(path);
    let start = || Worker { selection, machines: Machines::new(), tally: Tally::default(), exceptions };
    let mut tally = Tally::default();
    for worker in archive::fold_files(path, start, run_file)? {
        tally.merge(worker.tally);
    }
    if selection.is_complete() {
        tally.failures.extend(exceptions.unmatched());
    }
    Ok(tally)
}

impl<'a> Worker<'a> {
    /// Why a case takes long, if it does.
    pub(crate) fn slow(&self, name: &str) -> Option<&'a str> {
        self.exceptions.slow(name)
    }

    /// Counts how a case ended.
    pub(crate) fn record(&mut self, name: &str, result: Result<&'static str, String>) {
        self.tally.record(name, result, self.exceptions.find(name));
    }
}
