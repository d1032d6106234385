//! Manifests of precompiled programs.
//!
//! A manifest is TOML, all fields required and none else known:
//!
//! ```toml
//! program = "keccak.aocx"          # the file's name, without folders
//! program_sha256 = "9f86d0…"       # of that file, in hexadecimal
//! kernel = "fpga"                  # the kernel it was made from…
//! kernel_source_sha256 = "60303a…" # …and the source's hash: another version may take other arguments
//! device = "pac_a10 : Intel PAC"   # the name that OpenCL gives the device it is for
//! vendor = "intel"
//! compiler = "aoc 20.1.0"
//! ```
//!
//! Drivers were seen to crash on a truncated program and to accept a corrupted one, so the file is read once, hashed,
//! and those very bytes are given to the driver, or nothing.

use citius_kernels::{device::Kernel, protocol::Program};
use sha2::{Digest, Sha256};
use std::{
    fmt::Write,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};
use thiserror::Error;
use toml::{Table, Value};

/// The longest manifest read, in bytes.
const MANIFEST_BYTES_MAX: u64 = 64 << 10;
/// The longest program read, in bytes. Those of large cards have some 100 MB.
const PROGRAM_BYTES_MAX: u64 = 1 << 30;

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The program's file name.
    pub program: String,
    /// SHA-256 of the program, in lower-case hexadecimal.
    pub program_sha256: String,
    /// The kernel it was made from.
    pub kernel: Kernel,
    /// SHA-256 of that kernel's source, in lower-case hexadecimal.
    pub kernel_source_sha256: String,
    /// The device's name in OpenCL.
    pub device: String,
    /// Whose compiler made it.
    pub vendor: String,
    /// That compiler and its version.
    pub compiler: String,
}

/// Why a program is not given to a driver.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is longer than any should be.
    #[error("{}: expected at most {bytes_max} bytes", path.display())]
    Long {
        /// The file.
        path: PathBuf,
        /// The most it may have.
        bytes_max: u64,
    },
    /// The manifest is not TOML.
    #[error("manifest {}: {reason}", path.display())]
    Syntax {
        /// The manifest.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// A field is missing, unknown, or does not fit.
    #[error("manifest {}: {field} = {value}: expected {expected}", path.display())]
    Field {
        /// The manifest.
        path: PathBuf,
        /// The field.
        field: String,
        /// As found.
        value: String,
        /// What would fit.
        expected: String,
    },
    /// The program is not the one that the manifest describes: cut, altered, or another.
    #[error("program {}: sha256 = {found}: expected {expected}, which its manifest says", path.display())]
    Changed {
        /// The program.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The manifest's.
        expected: String,
    },
}

impl Manifest {
    /// Reads a manifest; `path` is what errors call it.
    ///
    /// # Errors
    ///
    /// [`ManifestError::Syntax`] and [`ManifestError::Field`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ManifestError> {
        let mut table: Table = text.parse().map_err(|error: toml::de::Error| {
            let reason = error.message().to_owned();
            ManifestError::Syntax { path: path.to_owned(), reason }
        })?;
        let mut text = |field: &str| match table.remove(field) {
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(text),
            other => {
                let value = other.map_or_else(|| "nothing".to_owned(), |value| value.to_string());
                Err(wrong(path, field, value, "a text that is not blank"))
            }
        };
        let (program, kernel_name) = (text("program")?, text("kernel")?);
        let manifest = Self {
            program_sha256: text("program_sha256")?.to_ascii_lowercase(),
            kernel_source_sha256: text("kernel_source_sha256")?.to_ascii_lowercase(),
            device: text("device")?,
            vendor: text("vendor")?,
            compiler: text("compiler")?,
            kernel: Kernel::from_name(&kernel_name)
                .ok_or_else(|| wrong(path, "kernel", kernel_name, "the name of a kernel"))?,
            program,
        };
        if let Some((field, value)) = table.into_iter().next() {
            return Err(wrong(path, &field, value.to_string(), "no such field"));
        }
        Ok(manifest)
    }

    /// The manifest as TOML, which [`Manifest::parse`] reads back.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let fields = [
            ("program", self.program.as_str()),
            ("program_sha256", &self.program_sha256),
            ("kernel", self.kernel.name()),
            ("kernel_source_sha256", &self.kernel_source_sha256),
            ("device", &self.device),
            ("vendor", &self.vendor),
            ("compiler", &self.compiler),
        ];
        fields.into_iter().fold(String::new(), |mut text, (field, value)| {
            let _ = writeln!(text, "{field} = {}", Value::from(value));
            text
        })
    }
}

/// The bytes of a program, if they and its manifest are right for running `kernel` on the device named `device`.
///
/// # Errors
///
/// [`ManifestError`].
pub fn load(program: &Program, kernel: Kernel, device: &str) -> Result<Vec<u8>, ManifestError> {
    let path = &program.manifest_path;
    let text = read(path, MANIFEST_BYTES_MAX)?;
    let text = str::from_utf8(&text)
        .map_err(|error| ManifestError::Syntax { path: path.clone(), reason: error.to_string() })?;
    let manifest = Manifest::parse(path, text)?;
    let name = program.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for (field, value, expected) in [
        ("program", manifest.program, name),
        ("kernel", manifest.kernel.to_string(), kernel.to_string()),
        ("kernel_source_sha256", manifest.kernel_source_sha256, kernel.source_sha256()),
        ("device", manifest.device, device.to_owned()),
    ] {
        if value != expected {
            return Err(wrong(path, field, value, &expected));
        }
    }
    let bytes = read(&program.path, PROGRAM_BYTES_MAX)?;
    let found = sha256(&bytes);
    if found != manifest.program_sha256 {
        let expected = manifest.program_sha256;
        return Err(ManifestError::Changed { path: program.path.clone(), found, expected });
    }
    Ok(bytes)
}

/// SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, ManifestError> {
    let failed = |source| ManifestError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(ManifestError::Long { path: path.to_owned(), bytes_max });
    }
    Ok(bytes)
}

fn wrong(path: &Path, field: &str, value: String, expected: &str) -> ManifestError {
    let (path, field, expected) = (path.to_owned(), field.to_owned(), expected.to_owned());
    ManifestError::Field { path, field, value, expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const BYTES: &[u8] = b"a program";

    fn manifest() -> Manifest {
        Manifest {
            program: "keccak.aocx".into(),
            program_sha256: sha256(BYTES),
            kernel: Kernel::Fpga,
            kernel_source_sha256: Kernel::Fpga.source_sha256(),
            device: "card \"A\"".into(),
            vendor: "intel".into(),
            compiler: "aoc 20.1".into(),
        }
    }

    /// What [`load`] says to this manifest and these bytes of a program.
    fn loaded(manifest: &str, bytes: &[u8]) -> Result<Vec<u8>, ManifestError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keccak.aocx");
        let manifest_path = folder.path().join("keccak.toml");
        fs::write(&path, bytes).unwrap();
        fs::write(&manifest_path, manifest).unwrap();
        load(&Program { path, manifest_path }, Kernel::Fpga, "card \"A\"")
    }

    fn refused_field(manifest: &str) -> String {
        match loaded(manifest, BYTES) {
            Err(ManifestError::Field { field, .. }) => field,
            other => panic!("{manifest}\ngave {other:?}"),
        }
    }

    #[test]
    fn a_program_that_fits_its_manifest_is_read() {
        assert_eq!(loaded(&manifest().to_toml(), BYTES).unwrap(), BYTES);
    }

    #[test]
    fn a_cut_or_altered_program_is_refused() {
        for bytes in [&BYTES[..8], b"b program", b"", b"a program\n"] {
            let result = loaded(&manifest().to_toml(), bytes);
            assert!(matches!(result, Err(ManifestError::Changed { .. })), "{bytes:?}");
        }
    }

    #[test]
    fn a_program_of_another_kernel_source_device_or_name_is_refused() {
        let with = |change: &dyn Fn(&mut Manifest)| {
            let mut changed = manifest();
            change(&mut changed);
            changed.to_toml()
        };
        assert_eq!(refused_field(&with(&|m| m.kernel_source_sha256 = sha256(b""))), "kernel_source_sha256");
        assert_eq!(refused_field(&with(&|m| m.kernel = Kernel::Vec8)), "kernel");
        assert_eq!(refused_field(&with(&|m| m.device = "card \"B\"".into())), "device");
        assert_eq!(refused_field(&with(&|m| m.program = "other.aocx".into())), "program");
    }

    #[test]
    fn manifests_with_missing_unknown_or_strange_fields_are_refused() {
        let text = manifest().to_toml();
        for line in text.lines() {
            let without = text.replace(line, "");
            let field = line.split(' ').next().unwrap();
            assert_eq!(refused_field(&without), field);
            assert_eq!(refused_field(&text.replace(line, &format!("{field} = 1"))), field);
        }
        assert_eq!(refused_field(&format!("{text}notes = \"\"\n")), "notes");
        assert!(matches!(loaded("program = ", BYTES), Err(ManifestError::Syntax { .. })));
        assert!(matches!(loaded(&"#".repeat(70_000), BYTES), Err(ManifestError::Long { .. })));
    }

    #[test]
    fn a_missing_file_is_named() {
        let program = Program { path: "gone.aocx".into(), manifest_path: "gone.toml".into() };
        let error = load(&program, Kernel::Fpga, "").unwrap_err();
        assert!(matches!(&error, ManifestError::Read { path, .. } if path.ends_with("gone.toml")), "{error}");
    }
}
