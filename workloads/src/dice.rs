use alloy_primitives::{B256, U256, keccak256};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// What the weights of ranks are a fraction of: large, so that rounding does not show.
const RANK_SCALE: u64 = 1 << 32;
/// How flat ranks are: the higher, the less the first ones stand out.
const RANK_SHIFT: u64 = 5;

/// Everything random in a workload: [ChaCha8](https://cr.yp.to/chacha.html) keyed by the hash of the seed.
///
/// The few distributions are written out here: those of the `rand` crate may change between its versions, and
/// some depend on the machine's word size.
#[derive(Debug)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let key = keccak256([b"citius workload".as_slice(), &seed.to_be_bytes()].concat());
        Self(ChaCha8Rng::from_seed(key.0))
    }

    /// A number below `bound`. Its bias, of at most `bound / 2^64`, is of no consequence here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        debug_assert!(bound > 0, "no number is below 0");
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// An amount from 1 to `max`.
    pub(crate) fn amount(&mut self, max: u64) -> U256 {
        U256::from(1 + self.below(max))
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    /// A number from `least` to `most`, both included.
    pub(crate) fn within(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// A rank below `count`, with a weight of `1 / (rank + 5)`
    /// ([Zipf–Mandelbrot law](https://en.wikipedia.org/wiki/Zipf–Mandelbrot_law)).
    pub(crate) fn rank(&mut self, count: u32) -> u32 {
        let weight = |rank: u32| RANK_SCALE / (u64::from(rank) + RANK_SHIFT);
        let mut left = self.below((0..count).map(weight).sum());
        for rank in 0..count {
            match left.checked_sub(weight(rank)) {
                Some(rest) => left = rest,
                None => return rank,
            }
        }
        unreachable!("{left} is left after all weights")
    }

    /// So many thousandths of `count`, rounded up or down by chance, so that they are right on average.
    pub(crate) fn portion(&mut self, count: usize, per_mille: u64) -> usize {
        let thousandths = count as u64 * per_mille;
        let rounds_up = self.below(1_000) < thousandths % 1_000;
        (thousandths / 1_000) as usize + usize::from(rounds_up)
    }

    pub(crate) fn word(&mut self) -> B256 {
        let mut word = B256::ZERO;
        self.0.fill_bytes(word.as_mut_slice());
        word
    }

    /// Puts a random choice of `count` items, in random order, in front (Fisher–Yates, stopped early).
    pub(crate) fn shuffle_front<T>(&mut self, items: &mut [T], count: usize) {
        for index in 0..count.min(items.len()) {
            let chosen = index + self.below((items.len() - index) as u64) as usize;
            items.swap(index, chosen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throws_are_the_same_on_every_machine() {
        let mut dice = Dice::new(7);
        let mut items = [0, 1, 2, 3, 4, 5];
        dice.shuffle_front(&mut items, 6);
        let throws = [dice.below(1_000), dice.below(u64::MAX), dice.below(2)];
        assert_eq!((items, throws), ([5, 3, 2, 4, 0, 1], [79, 3_675_353_242_285_630_040, 1]));
    }

    #[test]
    fn ranks_weigh_what_they_should() {
        let mut dice = Dice::new(3);
        let mut counts = [0_i32; 3];
        (0..10_700).for_each(|_| counts[dice.rank(3) as usize] += 1);
        // 1/5, 1/6 and 1/7 of 107/210.
        for (count, expected) in counts.into_iter().zip([4_200, 3_500, 3_000]) {
            assert!((count - expected).abs() < 150, "{counts:?}");
        }
    }

    #[test]
    fn portions_are_right_on_average_and_never_off_by_one() {
        let mut dice = Dice::new(4);
        let portions: Vec<usize> = (0..1_000).map(|_| dice.portion(150, 15)).collect();
        assert!(portions.iter().all(|portion| [2, 3].contains(portion)));
        let sum: usize = portions.iter().sum();
        assert!((2_200..2_300).contains(&sum), "{sum}");
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Dice::new(1).shuffle_front(&mut items, 30);
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
