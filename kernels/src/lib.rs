//! Keccak-256 with Ethereum's padding (`0x01`, not SHA-3's `0x06`), one algorithm a file, and no policy: which one runs
//! where is `citius-hashing`'s to say.

pub mod device;
pub mod protocol;
