use alloy_primitives::{Address, B256, Bytes, U256, hex, keccak256};
use serde::Deserialize;
use std::{collections::BTreeMap, sync::LazyLock};

/// A compiled contract, as `contracts/compile.mjs` wrote it.
///
/// Artifacts are part of this library: one that lacks what is asked of it is a broken build, and panics.
#[derive(Debug, Deserialize)]
pub(crate) struct Artifact {
    contract: String,
    selectors: BTreeMap<String, String>,
    storage: BTreeMap<String, Place>,
    /// The code that stands at the contract's address.
    pub(crate) runtime: Bytes,
}

/// Where a state variable lies ([layout of state variables][layout]).
///
/// [layout]: https://docs.soliditylang.org/en/latest/internals/layout_in_storage.html
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Place {
    /// The slot.
    pub(crate) slot: u64,
    /// Bytes to its right in the slot.
    pub(crate) offset_bytes: usize,
}

impl Place {
    /// The slot of a plain variable.
    pub(crate) fn key(self) -> U256 {
        U256::from(self.slot)
    }

    /// The slot of a mapping's value: `keccak256(key . slot)`.
    pub(crate) fn of(self, key: Address) -> U256 {
        mapping_slot(key, self.key())
    }

    /// The slot of a value in a mapping of mappings.
    pub(crate) fn of_two(self, outer: Address, inner: Address) -> U256 {
        mapping_slot(inner, self.of(outer))
    }
}

fn mapping_slot(key: Address, slot: U256) -> U256 {
    let preimage = [key.into_word(), B256::from(slot)].concat();
    keccak256(preimage).into()
}

macro_rules! artifact {
    ($contract:literal) => {
        LazyLock::new(|| Artifact::read(include_str!(concat!("../contracts/artifacts/", $contract, ".json"))))
    };
}

/// The ERC-20 token.
pub(crate) static TOKEN: LazyLock<Artifact> = artifact!("Token");
/// The constant-product market.
pub(crate) static PAIR: LazyLock<Artifact> = artifact!("Pair");
/// The router that swaps along pairs.
pub(crate) static ROUTER: LazyLock<Artifact> = artifact!("Router");
/// The mint sale.
pub(crate) static MINT_SALE: LazyLock<Artifact> = artifact!("MintSale");
/// The contract that pays many holders at once.
pub(crate) static DISPERSER: LazyLock<Artifact> = artifact!("Disperser");
/// The contract that computes more than it stores.
pub(crate) static PROVER: LazyLock<Artifact> = artifact!("Prover");

impl Artifact {
    fn read(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_else(|error| panic!("embedded artifact: {error}"))
    }

    /// The selector of a function, by its full signature.
    pub(crate) fn selector(&self, signature: &str) -> [u8; 4] {
        let selector = self.selectors.get(signature).and_then(|digits| hex::decode_to_array(digits).ok());
        selector.unwrap_or_else(|| panic!("{} has no function `{signature}`", self.contract))
    }

    /// The place of a state variable.
    pub(crate) fn place(&self, variable: &str) -> Place {
        let place = self.storage.get(variable).copied();
        place.unwrap_or_else(|| panic!("{} has no variable `{variable}`", self.contract))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_artifact_has_code_and_the_selectors_of_its_signatures() {
        for artifact in [&TOKEN, &PAIR, &ROUTER, &MINT_SALE, &DISPERSER, &PROVER] {
            assert!(!artifact.runtime.is_empty(), "{}", artifact.contract);
            assert!(!artifact.selectors.is_empty(), "{}", artifact.contract);
            for signature in artifact.selectors.keys() {
                assert_eq!(artifact.selector(signature), keccak256(signature)[..4], "{signature}");
            }
        }
    }

    #[test]
    fn mapping_slots_hash_the_key_before_the_slot() {
        // keccak256(0 . 0) and keccak256(0 . 1), known from many a token on mainnet.
        let slot = |slot| B256::from(Place { slot, offset_bytes: 0 }.of(Address::ZERO));
        assert_eq!(hex::encode(&slot(0)[..4]), "ad3228b6");
        assert_eq!(hex::encode(&slot(1)[..4]), "a6eef7e3");
    }
}
