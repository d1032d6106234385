use std::collections::HashMap;

/// No entry.
const NONE: usize = usize::MAX;

/// A cache that gives up what was not read for longest.
#[derive(Debug)]
pub struct Lru {
    capacity: usize,
    places: HashMap<u32, usize>,
    /// A ring in the order of the last reads, each with the ones before and after.
    entries: Vec<Entry>,
    /// The entry that was read last.
    newest: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: u32,
    newer: usize,
    older: usize,
}

impl Lru {
    /// An empty one for so many keys, one at least.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), places: HashMap::new(), entries: Vec::new(), newest: NONE }
    }

    /// Reads a key, and says whether it was there; it is afterwards.
    pub fn read(&mut self, key: u32) -> bool {
        if let Some(&place) = self.places.get(&key) {
            if place != self.newest {
                self.take_out(place);
                self.put_in(place);
            }
            return true;
        }
        let place = if self.entries.len() < self.capacity {
            self.entries.push(Entry { key, newer: NONE, older: NONE });
            self.entries.len() - 1
        } else {
            // In a ring the oldest is behind the newest.
            let oldest = self.entries[self.newest].newer;
            self.places.remove(&self.entries[oldest].key);
            self.take_out(oldest);
            self.entries[oldest].key = key;
            oldest
        };
        self.put_in(place);
        self.places.insert(key, place);
        false
    }

    fn take_out(&mut self, place: usize) {
        let Entry { newer, older, .. } = self.entries[place];
        self.entries[newer].older = older;
        self.entries[older].newer = newer;
        if place == self.newest {
            self.newest = if older == place { NONE } else { older };
        }
    }

    fn put_in(&mut self, place: usize) {
        let (newer, older) = match self.newest {
            NONE => (place, place),
            newest => (self.entries[newest].newer, newest),
        };
        self.entries[place] = Entry { newer, older, ..self.entries[place] };
        self.entries[newer].older = place;
        self.entries[older].newer = place;
        self.newest = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn what_was_not_read_for_longest_goes() {
        for seed in 0..50 {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let capacity = random.random_range(1..20);
            let keys = random.random_range(1..40);
            let mut cache = Lru::new(capacity);
            let mut slow: Vec<u32> = Vec::new();
            for read in 0..500 {
                let key = random.random_range(0..keys);
                let place = slow.iter().position(|known| *known == key);
                if let Some(place) = place {
                    slow.remove(place);
                } else if slow.len() == capacity {
                    slow.remove(0);
                }
                slow.push(key);
                assert_eq!(cache.read(key), place.is_some(), "seed {seed}, read {read}");
            }
        }
    }
}
