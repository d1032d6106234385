use crate::exceptions::Exception;
use std::{collections::BTreeMap, fmt, time::Duration};

/// Failures that are printed; beyond them only their number is.
const FAILURES_SHOWN_MAX: usize = 100;
/// Longest reason of a failure.
const REASON_BYTES_MAX: usize = 1_000;

/// Counts of one suite.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    /// Not run, by reason.
    pub(crate) skipped: BTreeMap<String, u64>,
    /// Failed as the list of exceptions says, by its reason.
    pub(crate) excepted: BTreeMap<String, u64>,
    /// How the cases that passed did, and what there was in all cases.
    pub(crate) notes: BTreeMap<String, u64>,
    pub(crate) failures: Vec<String>,
    slowest: Option<(Duration, String)>,
}

impl Tally {
    pub(crate) fn skip(&mut self, reason: &str) {
        *self.skipped.entry(reason.into()).or_default() += 1;
    }

    /// Counts what is no case, but a part of one.
    pub(crate) fn note(&mut self, what: &str, count: u64) {
        *self.notes.entry(what.into()).or_default() += count;
    }

    /// Counts how a case ended: how it passed, or why it failed, and whether that was expected.
    pub(crate) fn record(
        &mut self,
        name: &str,
        result: Result<&'static str, String>,
        exception: Option<&Exception>,
    ) {
        match (result, exception) {
            (Ok(how), None) => {
                self.passed += 1;
                *self.notes.entry(how.into()).or_default() += 1;
            }
            (Ok(_), Some(exception)) => {
                self.failures
                    .push(format!("{name}: stale exception: passes, listed as: {}", exception.reason));
            }
            (Err(_), Some(exception)) => *self.excepted.entry(exception.reason.clone()).or_default() += 1,
            (Err(mut reason), None) => {
                reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
                self.failures.push(format!("{name}: {reason}\n    replay with CITIUS_CASE='{name}'"));
            }
        }
    }

    /// Notes how long a case took.
    pub(crate) fn time(&mut self, name: &str, time: Duration) {
        if self.slowest.as_ref().is_none_or(|(slowest, _)| *slowest < time) {
            self.slowest = Some((time, name.into()));
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.passed += other.passed;
        self.failures.extend(other.failures);
        if let Some((time, name)) = other.slowest {
            self.time(&name, time);
        }
        let pairs = [
            (&mut self.skipped, other.skipped),
            (&mut self.excepted, other.excepted),
            (&mut self.notes, other.notes),
        ];
        for (ours, theirs) in pairs {
            for (reason, count) in theirs {
                *ours.entry(reason).or_default() += count;
            }
        }
    }

    /// Cases that were run.
    pub(crate) fn run(&self) -> u64 {
        self.passed + self.excepted.values().sum::<u64>() + self.failures.len() as u64
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let excepted: u64 = self.excepted.values().sum();
        let skipped: u64 = self.skipped.values().sum();
        writeln!(
            f,
            "  {} run: {} passed, {excepted} excepted, {} failed; {skipped} skipped",
            self.run(),
            self.passed,
            self.failures.len()
        )?;
        for (label, counts) in
            [("skipped", &self.skipped), ("excepted", &self.excepted), ("note", &self.notes)]
        {
            for (reason, count) in counts {
                writeln!(f, "  {label} {count}: {reason}")?;
            }
        }
        if let Some((time, name)) = &self.slowest {
            writeln!(f, "  slowest: {:.1} s for {name}", time.as_secs_f64())?;
        }
        for failure in self.failures.iter().take(FAILURES_SHOWN_MAX) {
            writeln!(f, "  FAILED {failure}")?;
        }
        let hidden = self.failures.len().saturating_sub(FAILURES_SHOWN_MAX);
        if hidden > 0 {
            writeln!(f, "  FAILED ... and {hidden} more")?;
        }
        Ok(())
    }
}
