//! Kernels in WGSL, for Vulkan devices.

/// `keccak.wgsl`: one message an invocation, a lane in two 32-bit halves. 64 invocations a workgroup.
pub(super) const PLAIN: &str = include_str!("../../device/keccak.wgsl");

/// `keccak_int64.wgsl`: the same with 64-bit lanes, for devices with `SHADER_INT64`.
pub(super) const INT64: &str = include_str!("../../device/keccak_int64.wgsl");

/// The constants of the 24 rounds (FIPS 202, section 3.2.5), which the WGSL kernels take in a uniform buffer: 16 bytes
/// with the count of messages (`u32`) first, then these, little-endian.
pub const ROUND_CONSTANTS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];
