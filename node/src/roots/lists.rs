use alloy_eips::{Encodable2718, eip4895::Withdrawal};
use alloy_primitives::B256;
use citius_hashing::Hasher;
use citius_state::trie::index_root;

/// The root over a block's transactions, each as [EIP-2718](https://eips.ethereum.org/EIPS/eip-2718) encodes it.
#[must_use]
pub fn transactions_root<'a, T: Encodable2718 + 'a>(
    transactions: impl IntoIterator<Item = &'a T>,
    hasher: &Hasher,
) -> B256 {
    let encoded: Vec<Vec<u8>> = transactions.into_iter().map(Encodable2718::encoded_2718).collect();
    index_root(&encoded, hasher)
}

/// The root over a block's withdrawals ([EIP-4895](https://eips.ethereum.org/EIPS/eip-4895)).
#[must_use]
pub fn withdrawals_root(withdrawals: &[Withdrawal], hasher: &Hasher) -> B256 {
    let encoded: Vec<Vec<u8>> = withdrawals.iter().map(alloy_rlp::encode).collect();
    index_root(&encoded, hasher)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::{
        EthereumTxEnvelope, SignableTransaction, TxEip1559, TxEip4844, TxLegacy,
        proofs::{calculate_transaction_root, calculate_withdrawals_root},
    };
    use alloy_primitives::{Address, Signature, TxKind, U256};

    fn transaction(index: usize) -> EthereumTxEnvelope<TxEip4844> {
        let signature = Signature::new(U256::from(index + 1), U256::MAX, index.is_multiple_of(2));
        let input = vec![index as u8; index * index % 977].into();
        let (nonce, to) = (index as u64, TxKind::Call(Address::repeat_byte(index as u8)));
        if index.is_multiple_of(3) {
            return TxLegacy { nonce, to, input, ..TxLegacy::default() }.into_signed(signature).into();
        }
        TxEip1559 { nonce, to, input, ..TxEip1559::default() }.into_signed(signature).into()
    }

    fn withdrawal(index: u64) -> Withdrawal {
        let address = Address::repeat_byte(index as u8);
        Withdrawal { index, validator_index: index * 1_000_003, address, amount: index << (index % 40) }
    }

    #[test]
    fn roots_of_lists_are_those_of_alloy() {
        let hasher = Hasher::cpu();
        let transactions: Vec<_> = (0..300).map(transaction).collect();
        let withdrawals: Vec<_> = (0..300).map(withdrawal).collect();
        for count in (0..=300).step_by(15).chain([1, 2, 16, 127, 128, 129, 255, 256, 257]) {
            let some = &transactions[..count];
            assert_eq!(transactions_root(some, &hasher), calculate_transaction_root(some), "{count}");
            let some = &withdrawals[..count];
            assert_eq!(withdrawals_root(some, &hasher), calculate_withdrawals_root(some), "{count}");
        }
    }
}
