use alloy_primitives::{Address, keccak256};

/// What an address stands for. The number goes into the address, so it may not change.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    /// An account that sends.
    Sender = 0,
    /// An account of its own that a transaction pays.
    Recipient = 1,
    /// The account that conflicting transactions share.
    Hub = 2,
    /// An account of the chain in which each recipient sends on.
    Link = 3,
    /// An ERC-20 contract.
    Token = 4,
    /// A market of two tokens.
    Pair = 5,
    /// The router of the markets.
    Router = 6,
    /// A mint sale.
    Sale = 7,
    /// An account that nobody has paid before.
    Newcomer = 8,
    /// A trader that sends several swaps in a row.
    Bot = 9,
    /// An account that sends heavy transactions: airdrops, proofs.
    Operator = 10,
    /// The contract that pays many holders at once.
    Disperser = 11,
    /// A contract that computes more than it stores.
    Prover = 12,
}

/// Gives every participant an address: the hash of seed, role and number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    seed: u64,
}

impl Addresses {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    pub(crate) fn of(self, role: Role, number: u32) -> Address {
        let mut preimage = [0; 13];
        preimage[..8].copy_from_slice(&self.seed.to_be_bytes());
        preimage[8] = role as u8;
        preimage[9..].copy_from_slice(&number.to_be_bytes());
        Address::from_word(keccak256(preimage))
    }
}
