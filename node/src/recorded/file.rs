use super::RecordedError;
use serde_json::Value;
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Most bytes that a file may hold, unpacked: some hundred times the largest block's pre-state known.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// A JSON file and where it came from.
pub(crate) struct JsonFile {
    pub(crate) path: PathBuf,
    pub(crate) value: Value,
}

/// Finds `<name>.json` or `<name>.json.zst` in a folder. The plain one wins: who unpacked a file may have edited it.
pub(super) fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    [format!("{name}.json"), format!("{name}.json.zst")]
        .into_iter()
        .map(|file| folder.join(file))
        .find(|path| path.is_file())
}

/// Reads a JSON file of a block's folder; `None` if there is none.
pub(super) fn read_optional(folder: &Path, name: &str) -> Result<Option<JsonFile>, RecordedError> {
    find(folder, name).map(read).transpose()
}

/// Reads a JSON file of a block's folder.
pub(super) fn read_required(folder: &Path, name: &'static str) -> Result<JsonFile, RecordedError> {
    read_optional(folder, name)?
        .ok_or_else(|| RecordedError::MissingFile { folder: folder.to_path_buf(), name })
}

fn read(path: PathBuf) -> Result<JsonFile, RecordedError> {
    let bytes = match unpack(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(RecordedError::Io { path, source }),
    };
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(RecordedError::TooLarge { path, limit_bytes: FILE_BYTES_MAX });
    }
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok(JsonFile { path, value }),
        Err(source) => Err(RecordedError::Json { path, source }),
    }
}

fn unpack(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    if path.extension().is_some_and(|extension| extension == "zst") {
        zstd::stream::read::Decoder::new(file)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    } else {
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
