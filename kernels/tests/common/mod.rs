//! The kernels that this processor can run.

use citius_kernels::generic;
use sha3::{Digest, Keccak256};

type HashLanes = Box<dyn Fn(&[&[u8]]) -> Vec<[u8; 32]>>;

/// A kernel under test.
pub(crate) struct Kernel {
    pub(crate) name: &'static str,
    /// Messages it takes at once.
    pub(crate) lanes: usize,
    /// Hashes as many messages as it has lanes.
    pub(crate) hash: HashLanes,
}

/// Those that can run here; the others are reported as skipped.
pub(crate) fn kernels() -> Vec<Kernel> {
    let mut kernels = vec![Kernel {
        name: "generic",
        lanes: 1,
        hash: Box::new(|messages| messages.iter().map(|message| generic::keccak256(message)).collect()),
    }];
    #[cfg(target_arch = "x86_64")]
    {
        use citius_kernels::{avx2, avx512};
        match avx2::Avx2::detect() {
            Some(kernel) => kernels.push(Kernel {
                name: "avx2",
                lanes: avx2::LANES,
                hash: Box::new(move |messages| {
                    let mut digests = [[0xee; 32]; avx2::LANES];
                    kernel.keccak256_x4(messages.try_into().unwrap(), &mut digests);
                    digests.to_vec()
                }),
            }),
            None => eprintln!("skipped: this processor has no AVX2"),
        }
        match avx512::Avx512::detect() {
            Some(kernel) => kernels.push(Kernel {
                name: "avx512",
                lanes: avx512::LANES,
                hash: Box::new(move |messages| {
                    let mut digests = [[0xee; 32]; avx512::LANES];
                    kernel.keccak256_x8(messages.try_into().unwrap(), &mut digests);
                    digests.to_vec()
                }),
            }),
            None => eprintln!("skipped: this processor has no AVX-512 F and BW"),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    eprintln!("skipped: AVX2 and AVX-512 are of x86-64 processors");
    kernels
}

/// What each is held against.
pub(crate) fn oracle(message: &[u8]) -> [u8; 32] {
    Keccak256::digest(message).into()
}
