use crate::calibration::Calibration;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process,
};

/// The format that is written, and the only one that is read.
const VERSION: u32 = 1;

/// What was measured of each backend, by [`Backend::identity`](crate::Backend::identity): a new driver or kernel is a
/// new identity, and measured anew.
///
/// Stored as JSON: `{"version": 1, "calibrations": [{"identity": "...", "costs": [{"fixed_ns": ..., "per_message_ns":
/// ..., "per_byte_ns": ...} x 4]}]}`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Calibrations {
    by_identity: BTreeMap<String, Calibration>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    calibrations: Vec<Calibration>,
}

/// Why calibrations cannot be read or written. They can always be measured again.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationsError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not JSON of the right form.
    #[error("{}: {source}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong where.
        source: serde_json::Error,
    },
    /// It was written by another version.
    #[error("{}: version is {found}, expected {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The file's version.
        found: u32,
    },
    /// A cost is no cost.
    #[error("{}: {field} of {identity} is {found}, expected a finite number of at least 0", path.display())]
    Cost {
        /// The file.
        path: PathBuf,
        /// The backend.
        identity: String,
        /// Which cost.
        field: &'static str,
        /// What it is.
        found: f64,
    },
}

impl Calibrations {
    /// What was measured of a backend.
    #[must_use]
    pub fn get(&self, identity: &str) -> Option<&Calibration> {
        self.by_identity.get(identity)
    }

    /// Keeps what was measured of a backend instead of what was before.
    pub fn insert(&mut self, calibration: Calibration) {
        self.by_identity.insert(calibration.identity.clone(), calibration);
    }

    /// All of them, by identity.
    pub fn iter(&self) -> impl Iterator<Item = &Calibration> {
        self.by_identity.values()
    }

    /// Reads what [`save`](Self::save) wrote. A file that is not there holds none.
    ///
    /// # Errors
    ///
    /// [`CalibrationsError`]. Then measure again.
    pub fn load(path: &Path) -> Result<Self, CalibrationsError> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            read => read.map_err(|source| CalibrationsError::File { path: path.into(), source })?,
        };
        let stored: Stored = serde_json::from_slice(&text)
            .map_err(|source| CalibrationsError::Form { path: path.into(), source })?;
        if stored.version != VERSION {
            return Err(CalibrationsError::Version { path: path.into(), found: stored.version });
        }
        let mut calibrations = Self::default();
        for calibration in stored.calibrations {
            check(path, &calibration)?;
            calibrations.insert(calibration);
        }
        Ok(calibrations)
    }

    /// Writes them, wholly or not at all.
    ///
    /// # Errors
    ///
    /// [`CalibrationsError::File`] if the file cannot be written, `Form` never.
    pub fn save(&self, path: &Path) -> Result<(), CalibrationsError> {
        let stored = Stored { version: VERSION, calibrations: self.iter().cloned().collect() };
        let mut text = serde_json::to_vec_pretty(&stored)
            .map_err(|source| CalibrationsError::Form { path: path.into(), source })?;
        text.push(b'\n');
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}", process::id()));
        let beside = path.with_file_name(name);
        let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
        written.map_err(|source| {
            // There only if it could not be renamed.
            let _ = fs::remove_file(&beside);
            CalibrationsError::File { path: path.into(), source }
        })
    }
}

fn check(path: &Path, calibration: &Calibration) -> Result<(), CalibrationsError> {
    for cost in &calibration.costs {
        let fields = [
            ("fixed_ns", cost.fixed_ns),
            ("per_message_ns", cost.per_message_ns),
            ("per_byte_ns", cost.per_byte_ns),
        ];
        if let Some((field, found)) = fields.into_iter().find(|(_, value)| !value.is_finite() || *value < 0.0)
        {
            let identity = calibration.identity.clone();
            return Err(CalibrationsError::Cost { path: path.into(), identity, field, found });
        }
    }
    Ok(())
}
