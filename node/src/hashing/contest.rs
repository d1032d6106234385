use super::HashLoad;
use alloy_primitives::B256;
use citius_hashing::{Backend, BackendError, keccak256};
use serde::Serialize;
use std::{
    num::NonZeroUsize,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

/// Least time of a sample: runs are repeated inside it.
const SAMPLE_MIN: Duration = Duration::from_millis(5);

/// How fast a backend hashed a load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HashResult {
    /// The backend's name.
    pub backend: String,
    /// The load's.
    pub load: String,
    /// Million messages a second, of all threads together: the median of the samples.
    pub mhash_per_s: f64,
    /// What a permutation took a thread, in nanoseconds, everything included.
    pub ns_per_permutation: f64,
    /// Times as fast as the first backend: the median of the ratios, each of samples that followed one another.
    pub ratio_to_first: f64,
}

/// A backend hashed something wrongly: its speed is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{backend} gave a wrong digest of message {index} of `{load}`")]
pub struct WrongDigest {
    /// The backend's name.
    pub backend: String,
    /// The load's.
    pub load: String,
    /// The message's place.
    pub index: usize,
}

/// A backend gave no digests: it takes no part any more.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub struct BackendFailed {
    /// Its place among the backends.
    pub place: usize,
    /// Why.
    pub error: BackendError,
}

/// Has every backend hash a load, in turns: `repeat` samples of each, of which none stands before another more often.
/// Each of `threads` threads hashes the whole load by itself. `after_sample` is called after each.
///
/// Digests are checked beforehand against [`keccak256`]; the inner error says whose are wrong.
///
/// # Errors
///
/// [`BackendFailed`], if one does.
pub fn contest(
    backends: &[Arc<dyn Backend>],
    load: &HashLoad,
    threads: NonZeroUsize,
    repeat: usize,
    mut after_sample: impl FnMut(),
) -> Result<Result<Vec<HashResult>, WrongDigest>, BackendFailed> {
    let failed = |place| move |error| BackendFailed { place, error };
    for (place, backend) in backends.iter().enumerate() {
        if let Some(wrong) = first_wrong(&**backend, load).map_err(failed(place))? {
            return Ok(Err(wrong));
        }
    }
    let mut rates = vec![Vec::with_capacity(repeat); backends.len()];
    for round in 0..repeat {
        for turn in 0..backends.len() {
            let index = (round + turn) % backends.len();
            rates[index].push(rate(&*backends[index], load, threads).map_err(failed(index))?);
            after_sample();
        }
    }
    let permutations = load.permutations() as f64 / load.ranges.len().max(1) as f64;
    let result = |(backend, own): (&Arc<dyn Backend>, &Vec<f64>)| {
        let per_s = median(own.clone());
        HashResult {
            backend: backend.name().to_owned(),
            load: load.name.clone(),
            mhash_per_s: per_s / 1e6,
            ns_per_permutation: 1e9 * threads.get() as f64 / per_s / permutations,
            ratio_to_first: median(own.iter().zip(&rates[0]).map(|(own, first)| own / first).collect()),
        }
    };
    Ok(Ok(backends.iter().zip(&rates).map(result).collect()))
}

fn first_wrong(backend: &dyn Backend, load: &HashLoad) -> Result<Option<WrongDigest>, BackendError> {
    let mut digests = vec![B256::ZERO; load.ranges.len()];
    hash(backend, load, &mut digests)?;
    let is_wrong =
        |(digest, range): (&B256, &std::ops::Range<usize>)| *digest != keccak256(&load.arena[range.clone()]);
    let index = digests.iter().zip(&load.ranges).position(is_wrong);
    let wrong = |index| WrongDigest { backend: backend.name().to_owned(), load: load.name.clone(), index };
    Ok(index.map(wrong))
}

fn hash(backend: &dyn Backend, load: &HashLoad, digests: &mut [B256]) -> Result<(), BackendError> {
    for (ranges, digests) in load.ranges.chunks(load.batch).zip(digests.chunks_mut(load.batch)) {
        backend.hash_batch(&load.arena, ranges, digests)?;
    }
    Ok(())
}

/// Messages a second that all threads together hash, by each thread's median run within a sample's time: where others
/// use the cores too, most runs are not interrupted, though every sample is.
fn rate(backend: &dyn Backend, load: &HashLoad, threads: NonZeroUsize) -> Result<f64, BackendError> {
    let start = Barrier::new(threads.get());
    let of_a_thread = || -> Result<f64, BackendError> {
        let mut digests = vec![B256::ZERO; load.ranges.len()];
        start.wait();
        let begin = Instant::now();
        let mut runs = Vec::new();
        while runs.is_empty() || begin.elapsed() < SAMPLE_MIN {
            let start = Instant::now();
            hash(backend, load, &mut digests)?;
            runs.push(start.elapsed().as_secs_f64());
        }
        Ok(load.ranges.len() as f64 / median(runs).max(1e-9))
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads.get()).map(|_| scope.spawn(of_a_thread)).collect();
        let mut sum = of_a_thread()?;
        for other in others {
            sum += other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(sum)
    })
}

/// The median; of an even number the upper of the two in the middle, of none 0.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use citius_hashing::{CpuBackend, CpuKind};
    use std::ops::Range;

    #[derive(Debug)]
    struct Wrong;

    impl Backend for Wrong {
        fn name(&self) -> &str {
            "wrong"
        }

        fn identity(&self) -> String {
            self.name().into()
        }

        fn is_available(&self) -> bool {
            true
        }

        fn hash_batch(
            &self,
            arena: &[u8],
            ranges: &[Range<usize>],
            digests: &mut [B256],
        ) -> Result<(), BackendError> {
            for (digest, range) in digests.iter_mut().zip(ranges) {
                *digest = if range.start == 64 { B256::ZERO } else { keccak256(&arena[range.clone()]) };
            }
            Ok(())
        }
    }

    #[test]
    fn speeds_are_positive_and_wrong_digests_are_found() {
        let scalar: Arc<dyn Backend> = Arc::new(CpuBackend::new(CpuKind::Scalar).unwrap());
        let threads = NonZeroUsize::new(2).unwrap();
        for load in [HashLoad::uniform(32, 10), HashLoad::uniform(32, 10).one_by_one()] {
            let mut samples = 0;
            let both = [scalar.clone(), scalar.clone()];
            let results = contest(&both, &load, threads, 3, || samples += 1).unwrap().unwrap();
            assert_eq!((samples, results.len(), results[0].ratio_to_first), (6, 2, 1.0));
            for result in results {
                assert!(result.mhash_per_s > 0.0 && result.ns_per_permutation > 0.0, "{result:?}");
                let per_thread = 2e3 / result.mhash_per_s;
                assert!((result.ns_per_permutation / per_thread - 1.0).abs() < 1e-6, "{result:?}");
            }
            let wrong = contest(&[scalar.clone(), Arc::new(Wrong)], &load, threads, 1, || ()).unwrap();
            assert_eq!((wrong.clone().unwrap_err().index, wrong.unwrap_err().backend.as_str()), (2, "wrong"));
        }
    }
}
