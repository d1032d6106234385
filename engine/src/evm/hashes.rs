use alloy_primitives::{B256, Bloom, Log, keccak256};

/// Longest input that is remembered: a mapping's key and slot.
const INPUT_MAX: usize = 64;
/// Inputs that are remembered, a power of two.
const PLACES: usize = 1 << 10;

/// Keccak-256 of short inputs, of which blocks repeat many: the slots of a token's holders, the addresses and topics
/// of logs. An input has one place; a newer one that belongs there takes it.
#[derive(Debug, Clone)]
pub(crate) struct Hashes {
    places: Vec<Place>,
    /// What was remembered in earlier epochs is forgotten.
    epoch: u32,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    epoch: u32,
    length: u32,
    input: [u8; INPUT_MAX],
    hash: B256,
}

impl Default for Hashes {
    fn default() -> Self {
        let nothing = Place { epoch: 0, length: 0, input: [0; INPUT_MAX], hash: B256::ZERO };
        Self { places: vec![nothing; PLACES], epoch: 1 }
    }
}

impl Hashes {
    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        match self.epoch.checked_add(1) {
            Some(next) => self.epoch = next,
            None => *self = Self::default(),
        }
    }

    /// The hash of some bytes.
    pub(crate) fn keccak256(&mut self, input: &[u8]) -> B256 {
        if input.len() > INPUT_MAX {
            return keccak256(input);
        }
        let mut padded = [0; INPUT_MAX];
        padded[..input.len()].copy_from_slice(input);
        let length = input.len() as u32;
        let place = &mut self.places[place_of(&padded)];
        if place.epoch == self.epoch && place.length == length && place.input == padded {
            return place.hash;
        }
        let hash = keccak256(input);
        *place = Place { epoch: self.epoch, length, input: padded, hash };
        hash
    }

    /// The bloom filter of some logs ([Yellow Paper, section 4.3.1][yp]).
    ///
    /// [yp]: https://ethereum.github.io/yellowpaper/paper.pdf
    pub(crate) fn bloom(&mut self, logs: &[Log]) -> Bloom {
        let mut bloom = Bloom::ZERO;
        for log in logs {
            bloom.m3_2048_hashed(&self.keccak256(log.address.as_slice()));
            for topic in log.topics() {
                bloom.m3_2048_hashed(&self.keccak256(topic.as_slice()));
            }
        }
        bloom
    }
}

/// Spreads inputs over the places. Whoever aims many at one place only makes them be hashed.
fn place_of(input: &[u8; INPUT_MAX]) -> usize {
    let mut mixed = 0u64;
    for word in input.chunks_exact(8) {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        mixed = (mixed.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    (mixed >> 32) as usize & (PLACES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, Bytes, logs_bloom};

    #[test]
    fn hashes_are_those_of_the_library_first_and_again() {
        let mut hashes = Hashes::default();
        let bytes: Vec<u8> = (0..=255).cycle().take(300).map(|byte: u8| byte.wrapping_mul(31)).collect();
        for round in 0..3 {
            for length in 0..200 {
                for start in [0, 1, 77] {
                    let input = &bytes[start..start + length];
                    assert_eq!(hashes.keccak256(input), keccak256(input), "{length} bytes, round {round}");
                }
            }
            if round == 1 {
                hashes.clear();
            }
        }
    }

    #[test]
    fn an_input_and_the_same_with_zeros_behind_are_two() {
        let mut hashes = Hashes::default();
        for length in [3, 4, 5, 4, 3] {
            let input = &[7, 0, 0, 0, 0][..length];
            assert_eq!(hashes.keccak256(input), keccak256(input));
        }
    }

    #[test]
    fn blooms_are_those_of_the_library() {
        let mut hashes = Hashes::default();
        let topics = |count: u8| (0..count).map(B256::repeat_byte).collect();
        let logs: Vec<Log> = (0..5)
            .map(|count| Log::new_unchecked(Address::repeat_byte(count % 2), topics(count), Bytes::new()))
            .collect();
        for _ in 0..2 {
            assert_eq!(hashes.bloom(&logs), logs_bloom(&logs));
        }
    }

    #[test]
    fn epochs_that_run_out_begin_anew() {
        let mut hashes = Hashes { epoch: u32::MAX, ..Hashes::default() };
        let hash = hashes.keccak256(b"a");
        hashes.clear();
        assert_eq!((hashes.epoch, hashes.keccak256(b"a")), (1, hash));
    }
}
