use crate::block::Function;
use alloy_primitives::map::HashMap;

/// What the blocks of a stream tell about those that follow: of each function of a contract, how much gas its calls took
/// and how often their executions were thrown away. Hints order the work, and never decide a result.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    functions: HashMap<Function, Past>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Past {
    /// A moving average.
    gas: u64,
    runs: u32,
    thrown_away: u32,
}

/// Functions that are remembered; beyond that all are forgotten.
const FUNCTIONS_MAX: usize = 1 << 14;
/// Runs after which older ones count half.
const RUNS_MAX: u32 = 64;
/// Runs below which nothing is said of conflicts.
const RUNS_MIN: u32 = 4;

impl Hints {
    /// Gas that calls like this one took lately, the 21,000 of every transaction included.
    pub(crate) fn gas(&self, function: Function) -> Option<u64> {
        self.functions.get(&function).filter(|past| past.runs > 0).map(|past| past.gas)
    }

    /// Whether calls like this one mostly disturb each other.
    pub(crate) fn is_contended(&self, function: Function) -> bool {
        self.functions
            .get(&function)
            .is_some_and(|past| past.runs >= RUNS_MIN && past.thrown_away * 2 >= past.runs)
    }

    /// A call was committed.
    pub(crate) fn note_run(&mut self, function: Function, gas_used: u64) {
        let past = self.past(function);
        past.gas = if past.runs == 0 { gas_used } else { past.gas - past.gas / 4 + gas_used / 4 };
        past.runs += 1;
        if past.runs > RUNS_MAX {
            past.runs /= 2;
            past.thrown_away /= 2;
        }
    }

    /// An execution of a call was thrown away, before its commit.
    pub(crate) fn note_thrown_away(&mut self, function: Function) {
        self.past(function).thrown_away += 1;
    }

    fn past(&mut self, function: Function) -> &mut Past {
        if self.functions.len() >= FUNCTIONS_MAX && !self.functions.contains_key(&function) {
            self.functions.clear();
        }
        self.functions.entry(function).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::Address;

    fn call(contract: u8, selector: u8) -> Function {
        (Address::repeat_byte(contract), [selector; 4])
    }

    #[test]
    fn gas_is_that_of_the_function_lately() {
        let mut hints = Hints::default();
        assert_eq!(hints.gas(call(1, 1)), None);
        hints.note_run(call(1, 1), 100_000);
        hints.note_run(call(1, 2), 500_000);
        assert_eq!(hints.gas(call(1, 1)), Some(100_000));
        assert_eq!(hints.gas(call(2, 1)), None);
        (0..40).for_each(|_| hints.note_run(call(1, 1), 50_000));
        assert!((50_000..51_000).contains(&hints.gas(call(1, 1)).unwrap()));
    }

    #[test]
    fn what_is_mostly_thrown_away_is_contended_until_it_is_not() {
        let mut hints = Hints::default();
        for _ in 0..RUNS_MIN - 1 {
            hints.note_thrown_away(call(1, 1));
            hints.note_run(call(1, 1), 1);
            assert!(!hints.is_contended(call(1, 1)), "too few");
        }
        hints.note_run(call(1, 1), 1);
        assert!(hints.is_contended(call(1, 1)));
        assert!(!hints.is_contended(call(1, 2)));
        (0..200).for_each(|_| hints.note_run(call(1, 1), 1));
        assert!(!hints.is_contended(call(1, 1)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut hints = Hints::default();
        for index in 0..FUNCTIONS_MAX as u32 * 2 + 5 {
            hints.note_run((Address::ZERO, index.to_be_bytes()), 1);
            assert!(hints.functions.len() <= FUNCTIONS_MAX);
        }
    }
}
