use alloy_primitives::{B256, map::B256Map};
use revm::bytecode::Bytecode;

/// One worker's copies of the stream's code, by hash.
///
/// Code is shared by counting references, and the EVM takes and drops several with every account and call. Were the
/// counts those of all workers, each of these would carry a cache line from core to core: the bytes are shared, the
/// counts are the worker's own.
#[derive(Debug)]
pub(crate) struct Codes {
    /// The code of accounts without code.
    empty: Bytecode,
    codes: B256Map<Bytecode>,
}

impl Codes {
    pub(crate) fn new() -> Self {
        Self { empty: own(&Bytecode::default()), codes: B256Map::default() }
    }

    /// The code of accounts without code.
    pub(crate) fn empty(&self) -> Bytecode {
        self.empty.clone()
    }

    /// The worker's copy, if it has one.
    pub(crate) fn get(&self, hash: &B256) -> Option<Bytecode> {
        self.codes.get(hash).cloned()
    }

    /// Makes a copy of the worker's own.
    pub(crate) fn add(&mut self, hash: B256, code: &Bytecode) -> Bytecode {
        let own = own(code);
        self.codes.insert(hash, own.clone());
        own
    }

    /// Forgets the stream's code.
    pub(crate) fn clear(&mut self) {
        self.codes.clear();
    }
}

/// The same code under a count of its own; not analysed anew.
#[expect(unsafe_code, reason = "see SAFETY")]
fn own(code: &Bytecode) -> Bytecode {
    match (code.legacy_jump_table(), code.eip7702_address()) {
        // SAFETY: bytes, length and jump table are those of code that was analysed, with its padding.
        (Some(jumps), _) => unsafe { Bytecode::new_analyzed(code.bytes(), code.len(), jumps.clone()) },
        (None, Some(address)) => Bytecode::new_eip7702(address),
        (None, None) => code.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::Address;

    #[test]
    fn a_worker_s_copy_is_the_same_code_elsewhere() {
        let mut codes = Codes::new();
        let jumps = Bytecode::new_legacy([0x5b, 0x60, 0x5b, 0x5b, 0x7f].into());
        for code in [jumps, Bytecode::new_eip7702(Address::repeat_byte(7)), Bytecode::default()] {
            let hash = code.hash_slow();
            let copy = codes.add(hash, &code);
            assert_eq!((copy.original_bytes(), copy.kind()), (code.original_bytes(), code.kind()));
            assert_eq!((copy.bytes(), copy.len()), (code.bytes(), code.len()));
            assert_eq!(copy.legacy_jump_table(), code.legacy_jump_table());
            assert_eq!(copy.hash_slow(), hash);
            let again = codes.get(&hash).unwrap();
            assert!(std::ptr::eq(copy.bytes_ref(), again.bytes_ref()), "one copy");
            assert!(!std::ptr::eq(copy.bytes_ref(), code.bytes_ref()), "of its own");
        }
        assert!(codes.empty().is_empty() && codes.empty().bytes() == Bytecode::default().bytes());
        codes.clear();
        assert!(codes.get(&B256::ZERO).is_none());
    }
}
