//! Kernels in OpenCL C 1.2.

/// `keccak_ndrange.cl`: one message a work-item; any number of work-items of at least the count.
pub(super) const NDRANGE: &str = include_str!("../../device/keccak_ndrange.cl");

/// `keccak_vec8.cl`: eight messages a work-item, transposed into vectors.
pub(super) const VEC8: &str = include_str!("../../device/keccak_vec8.cl");

/// `keccak_fpga.cl`: one work-item, a pipeline for FPGAs.
pub(super) const FPGA: &str = include_str!("../../device/keccak_fpga.cl");
