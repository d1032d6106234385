use alloy_primitives::{Address, map::AddressMap};

/// What a plain transfer of ether costs.
const PLAIN_TRANSFER_GAS: u64 = 21_000;

/// How a block's gas is spread over its transactions, and these over their senders.
///
/// [`BlockShape::MAINNET`] is what `mainnet-like` aims at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockShape {
    /// Number of transactions.
    pub transactions: f64,
    /// Gas used by the block, divided by the number of transactions.
    pub gas_per_transaction: f64,
    /// Gas used by the heaviest transaction, as a share of the block's, 0 to 1.
    pub heaviest_share: f64,
    /// Gas used by the five heaviest transactions together, as a share of the block's, 0 to 1.
    pub five_heaviest_share: f64,
    /// Number of transactions of the account that sends most.
    pub longest_chain: f64,
    /// Number of senders, divided by the number of transactions.
    pub senders_share: f64,
    /// Transactions that use 21,000 gas exactly, as a share of all, 0 to 1.
    pub plain_share: f64,
}

impl BlockShape {
    /// Median of each field by itself over [`MAINNET_BLOCKS`](Self::MAINNET_BLOCKS) recorded blocks of the main
    /// network, 2179522 to 25229957: those that [count](Self::counts_for_mainnet).
    ///
    /// As each is a median by itself, they need not fit together: the median block uses 11.6 Mgas.
    pub const MAINNET: Self = Self {
        transactions: 152.0,
        gas_per_transaction: 67_196.6,
        heaviest_share: 0.0652,
        five_heaviest_share: 0.1880,
        longest_chain: 8.5,
        senders_share: 0.8807,
        plain_share: 0.4080,
    };

    /// How many blocks [`MAINNET`](Self::MAINNET) is the median of.
    pub const MAINNET_BLOCKS: usize = 54;

    /// Whether a recorded block counts for [`MAINNET`](Self::MAINNET): one of at least 30 transactions and 4,000,000
    /// gas, but not 23879620, which precompiles dominate.
    #[must_use]
    pub const fn counts_for_mainnet(number: u64, transactions: usize, gas: u64) -> bool {
        transactions >= 30 && gas >= 4_000_000 && number != 23_879_620
    }

    /// The shape of a block, given each transaction's sender and gas used; `None` if nothing uses gas.
    #[must_use]
    pub fn of(transactions: &[(Address, u64)]) -> Option<Self> {
        let mut gas: Vec<u64> = transactions.iter().map(|(_, gas)| *gas).collect();
        gas.sort_unstable_by(|one, other| other.cmp(one));
        let gas_sum = gas.iter().sum::<u64>();
        if gas_sum == 0 {
            return None;
        }
        let mut by_sender = AddressMap::<u32>::default();
        for (sender, _) in transactions {
            *by_sender.entry(*sender).or_default() += 1;
        }
        let count = gas.len() as f64;
        let share = |heaviest: usize| gas.iter().take(heaviest).sum::<u64>() as f64 / gas_sum as f64;
        let plain = gas.iter().filter(|gas| **gas == PLAIN_TRANSFER_GAS).count();
        Some(Self {
            transactions: count,
            gas_per_transaction: gas_sum as f64 / count,
            heaviest_share: share(1),
            five_heaviest_share: share(5),
            longest_chain: by_sender.values().copied().max().unwrap_or_default().into(),
            senders_share: by_sender.len() as f64 / count,
            plain_share: plain as f64 / count,
        })
    }

    /// The median of each field by itself, of an even number the mean of the two in the middle; `None` of no blocks.
    #[must_use]
    pub fn median(shapes: &[Self]) -> Option<Self> {
        let of = |field: fn(&Self) -> f64| median(shapes.iter().map(field).collect());
        Some(Self {
            transactions: of(|shape| shape.transactions)?,
            gas_per_transaction: of(|shape| shape.gas_per_transaction)?,
            heaviest_share: of(|shape| shape.heaviest_share)?,
            five_heaviest_share: of(|shape| shape.five_heaviest_share)?,
            longest_chain: of(|shape| shape.longest_chain)?,
            senders_share: of(|shape| shape.senders_share)?,
            plain_share: of(|shape| shape.plain_share)?,
        })
    }

    /// Every field with its name, to print or compare them.
    #[must_use]
    pub const fn fields(&self) -> [(&'static str, f64); 7] {
        [
            ("transactions", self.transactions),
            ("gas per transaction", self.gas_per_transaction),
            ("share of the heaviest", self.heaviest_share),
            ("share of the five heaviest", self.five_heaviest_share),
            ("longest chain of a sender", self.longest_chain),
            ("senders per transaction", self.senders_share),
            ("share of plain transfers", self.plain_share),
        ]
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[values.len() / 2 - 1], upper) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(gas: &[(u8, u64)]) -> BlockShape {
        let transactions: Vec<_> =
            gas.iter().map(|(sender, gas)| (Address::repeat_byte(*sender), *gas)).collect();
        BlockShape::of(&transactions).unwrap()
    }

    #[test]
    fn a_shape_counts_gas_by_transaction_and_transactions_by_sender() {
        let shape = block(&[(1, 21_000), (2, 60_000), (1, 21_001), (1, 50_000), (3, 21_000), (4, 26_999)]);
        let expected = BlockShape {
            transactions: 6.0,
            gas_per_transaction: 200_000.0 / 6.0,
            heaviest_share: 0.3,
            five_heaviest_share: 179_000.0 / 200_000.0,
            longest_chain: 3.0,
            senders_share: 4.0 / 6.0,
            plain_share: 2.0 / 6.0,
        };
        assert_eq!(shape, expected);
    }

    #[test]
    fn nothing_has_no_shape() {
        assert_eq!(BlockShape::of(&[]), None);
        assert_eq!(BlockShape::of(&[(Address::ZERO, 0)]), None);
        assert_eq!(BlockShape::median(&[]), None);
    }

    #[test]
    fn medians_are_of_each_field_by_itself() {
        let [one, two, three] =
            [block(&[(1, 100)]), block(&[(1, 10), (1, 10)]), block(&[(1, 21_000), (2, 21_000), (3, 21_000)])];
        let odd = BlockShape::median(&[one, two, three]).unwrap();
        assert_eq!((odd.transactions, odd.gas_per_transaction, odd.heaviest_share), (2.0, 100.0, 0.5));
        let even = BlockShape::median(&[one, three]).unwrap();
        assert_eq!((even.transactions, even.plain_share), (2.0, 0.5));
    }
}
