use super::{opencl, wgsl};
use sha2::{Digest, Sha256};
use std::fmt;

/// A device kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kernel {
    /// WGSL with lanes in two 32-bit halves: runs on every Vulkan device.
    Wgsl,
    /// WGSL with 64-bit lanes.
    WgslInt64,
    /// OpenCL, one message a work-item: for GPUs.
    NdRange,
    /// OpenCL, eight messages a work-item in `ulong8`: for vector processors.
    Vec8,
    /// OpenCL, one work-item that is a pipeline: for FPGAs. The one kernel that may come precompiled.
    Fpga,
}

impl Kernel {
    /// Every kernel.
    pub const ALL: [Self; 5] = [Self::Wgsl, Self::WgslInt64, Self::NdRange, Self::Vec8, Self::Fpga];

    /// Its name: `wgsl`, `wgsl-int64`, `ndrange`, `vec8` or `fpga`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wgsl => "wgsl",
            Self::WgslInt64 => "wgsl-int64",
            Self::NdRange => "ndrange",
            Self::Vec8 => "vec8",
            Self::Fpga => "fpga",
        }
    }

    /// The kernel of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kernel| kernel.name() == name)
    }

    /// Its source text, WGSL or OpenCL C.
    #[must_use]
    pub const fn source(self) -> &'static str {
        match self {
            Self::Wgsl => wgsl::PLAIN,
            Self::WgslInt64 => wgsl::INT64,
            Self::NdRange => opencl::NDRANGE,
            Self::Vec8 => opencl::VEC8,
            Self::Fpga => opencl::FPGA,
        }
    }

    /// SHA-256 of the source in hexadecimal: what calibration is kept under, and what the manifest of a precompiled
    /// program names.
    #[must_use]
    pub fn source_sha256(self) -> String {
        Sha256::digest(self.source()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{ENTRY_POINT, ROUND_CONSTANTS};

    #[test]
    fn every_kernel_is_found_by_its_name() {
        for kernel in Kernel::ALL {
            assert_eq!(Kernel::from_name(kernel.name()), Some(kernel));
            assert!(kernel.source().contains(ENTRY_POINT));
        }
        assert_eq!(Kernel::from_name("cuda"), None);
    }

    #[test]
    fn sources_differ_and_so_do_their_hashes() {
        let mut hashes: Vec<String> = Kernel::ALL.map(Kernel::source_sha256).into();
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), Kernel::ALL.len());
        assert!(hashes.iter().all(|hash| hash.len() == 64));
    }

    #[test]
    fn round_constants_are_those_that_the_register_of_the_specification_gives() {
        // FIPS 202, algorithm 5: bit t is the output of a linear feedback shift register after t steps.
        let bit = |t: usize| {
            let mut register = 1_u16;
            for _ in 0..t % 255 {
                register <<= 1;
                if register & 0x100 != 0 {
                    register ^= 0x171;
                }
            }
            u64::from(register & 1)
        };
        for (round, constant) in ROUND_CONSTANTS.into_iter().enumerate() {
            let expected = (0..=6).fold(0, |sum, j| sum | bit(j + 7 * round) << ((1 << j) - 1));
            assert_eq!(constant, expected, "round {round}");
        }
    }
}
