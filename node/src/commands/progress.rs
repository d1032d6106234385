use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};

/// A bar on stderr, if that is a terminal. Drawn only between measurements, and by no thread of its own, so that it
/// takes no time from them.
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn new(steps: usize) -> Self {
        let bar = if stderr().is_terminal() { ProgressBar::new(steps as u64) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}  {elapsed} (about {eta} to go)");
        Self { bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())) }
    }

    /// Says what is being done.
    pub(super) fn say(&self, message: &str) {
        self.bar.set_message(message.to_owned());
    }

    /// So many steps are done.
    pub(super) fn at(&self, steps: u64) {
        self.bar.set_position(steps);
    }

    /// One step is done.
    pub(super) fn step(&self) {
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
