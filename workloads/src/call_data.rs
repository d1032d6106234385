use alloy_primitives::{Address, Bytes, U256};

/// Builds the input of a contract call ([contract ABI](https://docs.soliditylang.org/en/latest/abi-spec.html)).
#[derive(Debug)]
pub(crate) struct CallData(Vec<u8>);

impl CallData {
    pub(crate) fn new(selector: [u8; 4]) -> Self {
        Self(selector.to_vec())
    }

    pub(crate) fn number(mut self, value: U256) -> Self {
        self.0.extend(value.to_be_bytes::<32>());
        self
    }

    pub(crate) fn address(mut self, address: Address) -> Self {
        self.0.extend(address.into_word());
        self
    }

    /// The body of an `address[]`; the caller has put its offset where the argument stands.
    pub(crate) fn address_list(self, addresses: &[Address]) -> Self {
        addresses
            .iter()
            .fold(self.number(U256::from(addresses.len())), |data, address| data.address(*address))
    }

    pub(crate) fn finish(self) -> Bytes {
        self.0.into()
    }
}
