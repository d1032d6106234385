use crate::{
    archive::{self, ArchiveError, Entry},
    exceptions::{Exceptions, Tests},
    machines::Machines,
    selection::Selection,
    tally::Tally,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Instant,
};

/// What one thread of a suite works with.
pub(crate) struct Worker<'a> {
    pub(crate) selection: &'a Selection,
    pub(crate) machines: Machines,
    pub(crate) tally: Tally,
    exceptions: &'a Exceptions,
}

/// Runs all files of an archive that hold such tests.
pub(crate) fn run(
    path: &Path,
    tests: Tests,
    selection: &Selection,
    run_file: impl Fn(&mut Worker<'_>, Entry) + Sync,
) -> Result<Tally, ArchiveError> {
    let exceptions = &Exceptions::of_archive(path, tests);
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
    /// Why the engine cannot take a network's blocks, if it cannot.
    pub(crate) fn unsupported(&self, network: &str) -> Option<&'a str> {
        self.exceptions.unsupported(network)
    }

    /// Runs a case unless it takes too long for a sample, and counts how it ended; a panic is a failure.
    pub(crate) fn run(
        &mut self,
        name: &str,
        run: impl FnOnce(&mut Machines) -> Result<&'static str, String>,
    ) {
        if let Some(reason) = self.exceptions.slow(name)
            && self.selection.is_sample()
        {
            return self.tally.skip(&format!("takes long: {reason}"));
        }
        let start = Instant::now();
        let machines = &mut self.machines;
        let result = catch_unwind(AssertUnwindSafe(|| run(machines))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
            Err(format!("panicked: {}", text.unwrap_or_default()))
        });
        self.tally.time(name, start.elapsed());
        self.record(name, result);
    }

    /// Counts how a case ended.
    pub(crate) fn record(&mut self, name: &str, result: Result<&'static str, String>) {
        self.tally.record(name, result, self.exceptions.find(name));
    }
}
