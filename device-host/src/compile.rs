//! Precompiled programs from drivers that compile at run time: emulators, and processors offered as devices. Vendors'
//! compilers for real FPGAs are called by `device-host/fpga/build.sh`.

use crate::{
    api::{OpenError, apis, no_such_device},
    manifest::{Manifest, sha256},
};
use citius_kernels::{device::Kernel, protocol::Program};
use std::{fs, io, path::Path};
use thiserror::Error;

/// Why there is no program.
#[derive(Debug, Error)]
pub enum CompileError {
    /// The device or its driver refused.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file cannot be written.
    #[error("cannot write to {folder}")]
    Write {
        /// The folder.
        folder: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Lets the driver of OpenCL device `id` compile the FPGA kernel, and writes `keccak_fpga.bin` and its manifest
/// `keccak_fpga.toml` into `folder`.
///
/// # Errors
///
/// [`CompileError`].
pub fn compile(id: &str, folder: &Path) -> Result<Program, CompileError> {
    let kernel = Kernel::Fpga;
    #[cfg(feature = "opencl")]
    let compiled = crate::opencl::compile(id, kernel);
    #[cfg(not(feature = "opencl"))]
    let compiled: Option<Result<(Vec<u8>, String), OpenError>> = None;
    let no_device = || Err(no_such_device(&apis(), id));
    let (bytes, device) = compiled.unwrap_or_else(no_device)?;
    let program =
        Program { path: folder.join("keccak_fpga.bin"), manifest_path: folder.join("keccak_fpga.toml") };
    let manifest = Manifest {
        program: "keccak_fpga.bin".into(),
        program_sha256: sha256(&bytes),
        kernel,
        kernel_source_sha256: kernel.source_sha256(),
        device,
        vendor: "driver".into(),
        compiler: "the device's own driver".into(),
    };
    let written = fs::create_dir_all(folder)
        .and_then(|()| fs::write(&program.path, bytes))
        .and_then(|()| fs::write(&program.manifest_path, manifest.to_toml()));
    written.map_err(|source| CompileError::Write { folder: folder.display().to_string(), source })?;
    Ok(program)
}
