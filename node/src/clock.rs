//! Wall and CPU time, and how a measurement is taken: samples of at least 5 ms, medians of interleaved samples.

use std::time::{Duration, Instant};

/// Least wall time of a sample: shorter runs are repeated inside it.
const SAMPLE_MIN: Duration = Duration::from_millis(5);

/// Wall and CPU time, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// Wall time.
    pub wall_ns: u64,
    /// CPU time of all threads of this process.
    pub cpu_ns: u64,
}

/// One sample of a run over several blocks: each block's share, in order.
pub type Sample = Vec<Times>;

/// Takes the time of each block of a run: from the lap before to its own.
#[derive(Debug)]
pub struct Laps {
    start: Instant,
    previous: Times,
    laps: Sample,
}

impl Laps {
    fn start() -> Self {
        let cpu_ns = process_cpu_ns();
        Self { start: Instant::now(), previous: Times { wall_ns: 0, cpu_ns }, laps: Vec::new() }
    }

    /// A block is done, its outcome freed.
    pub fn lap(&mut self) {
        self.lap_at(Instant::now());
    }

    /// A block was done at `end`: a stream's blocks are committed while their taker works at later ones.
    pub fn lap_at(&mut self, end: Instant) {
        let wall_ns = nanoseconds(end.saturating_duration_since(self.start)).max(self.previous.wall_ns);
        let now = Times { wall_ns, cpu_ns: process_cpu_ns() };
        self.laps.push(Times {
            wall_ns: now.wall_ns - self.previous.wall_ns,
            cpu_ns: now.cpu_ns.saturating_sub(self.previous.cpu_ns),
        });
        self.previous = now;
    }
}

/// Runs `run` until 5 ms are over, and averages. Each run must make the same number of laps.
pub fn sample(mut run: impl FnMut(&mut Laps)) -> Sample {
    let mut sums = Sample::new();
    let mut runs = 0;
    let mut elapsed_ns = 0;
    while runs == 0 || u128::from(elapsed_ns) < SAMPLE_MIN.as_nanos() {
        let mut laps = Laps::start();
        run(&mut laps);
        sums.resize(laps.laps.len(), Times::default());
        for (sum, lap) in sums.iter_mut().zip(laps.laps) {
            sum.wall_ns += lap.wall_ns;
            sum.cpu_ns += lap.cpu_ns;
            elapsed_ns += lap.wall_ns;
        }
        runs += 1;
        if sums.is_empty() {
            break;
        }
    }
    for sum in &mut sums {
        sum.wall_ns /= runs;
        sum.cpu_ns /= runs;
    }
    sums
}

/// Each block's median over samples of one run, wall and CPU apart.
#[must_use]
pub fn medians(samples: &[Sample]) -> Sample {
    let blocks = samples.iter().map(Vec::len).min().unwrap_or(0);
    let column = |block: usize, field: fn(&Times) -> u64| {
        median(samples.iter().map(|sample| field(&sample[block])).collect())
    };
    (0..blocks)
        .map(|block| Times {
            wall_ns: column(block, |times| times.wall_ns),
            cpu_ns: column(block, |times| times.cpu_ns),
        })
        .collect()
}

/// The median; of an even number the mean of the two in the middle, of none 0.
#[must_use]
pub fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    let middle = values.len() / 2;
    match values.len() {
        0 => 0,
        n if n % 2 == 1 => values[middle],
        _ => values[middle - 1].midpoint(values[middle]),
    }
}

/// CPU time that all threads of this process have used, in nanoseconds.
#[must_use]
pub fn process_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that the call may write; the clock exists on every Linux (clock_gettime(2)).
    #[allow(unsafe_code)]
    let status = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0, "clock_gettime(CLOCK_PROCESS_CPUTIME_ID) failed");
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    nanoseconds(seconds) + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// A duration in nanoseconds (584 years fit).
#[must_use]
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_runs_are_repeated_until_a_sample_is_long_enough() {
        let mut runs = 0;
        let sample = sample(|laps| {
            runs += 1;
            // Not by the clock: a machine that is busy would make the first run long enough.
            for block in 1..=2 {
                laps.lap_at(laps.start + block * Duration::from_millis(1));
            }
        });
        assert_eq!(runs, 3);
        assert_eq!(sample.iter().map(|times| times.wall_ns).collect::<Vec<_>>(), [1_000_000; 2]);
    }

    #[test]
    fn a_run_without_blocks_ends() {
        assert_eq!(sample(|_| {}), Sample::new());
    }

    #[test]
    fn medians_ignore_the_outlier() {
        let times = |wall_ns, cpu_ns| vec![Times { wall_ns, cpu_ns }];
        let samples = [times(10, 3), times(1000, 1), times(12, 2)];
        assert_eq!(medians(&samples), times(12, 2));
        assert_eq!(median(vec![4, 1, 3, 2]), 2);
        assert_eq!(median(vec![]), 0);
    }

    #[test]
    fn cpu_time_counts_work() {
        let before = process_cpu_ns();
        let mut sum = 0u64;
        for i in 0..5_000_000u64 {
            sum = std::hint::black_box(sum.wrapping_add(i));
        }
        assert!(process_cpu_ns() > before);
    }
}
