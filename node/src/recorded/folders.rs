use super::{RecordedError, file};
use std::path::{Path, PathBuf};

/// The blocks' folders that the given folders are or hold, in the order given; within a folder by name, numbers as
/// numbers.
///
/// # Errors
///
/// [`RecordedError::Io`] if a folder cannot be read, [`RecordedError::NoBlocks`] if one is neither a block's folder
/// nor a folder of such folders.
pub fn block_folders<P: AsRef<Path>>(folders: &[P]) -> Result<Vec<PathBuf>, RecordedError> {
    let mut found = Vec::new();
    for folder in folders {
        let folder = folder.as_ref();
        let io_error = |source| RecordedError::Io { path: folder.to_path_buf(), source };
        // Names stay right for `.` and for links.
        let folder = folder.canonicalize().map_err(io_error)?;
        if is_block(&folder) {
            found.push(folder);
            continue;
        }
        let entries = folder.read_dir().and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(io_error)?;
        let mut inner: Vec<PathBuf> =
            entries.iter().map(|entry| entry.path()).filter(|path| is_block(path)).collect();
        if inner.is_empty() {
            return Err(RecordedError::NoBlocks { folder });
        }
        inner.sort_by_cached_key(|path| {
            let name = name_of(path);
            (name.parse::<u64>().unwrap_or(u64::MAX), name)
        });
        found.append(&mut inner);
    }
    Ok(found)
}

/// The name that a block goes by: that of its folder.
pub(super) fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned()
}

fn is_block(folder: &Path) -> bool {
    file::find(folder, "block").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_folder_of_folders_is_read_in_numeric_order() {
        let root = tempfile::tempdir().unwrap();
        for name in ["100", "9", "notes"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        fs::write(root.path().join("100/block.json"), "{}").unwrap();
        fs::write(root.path().join("9/block.json.zst"), "").unwrap();
        let names = |folders: &[&Path]| -> Vec<String> {
            block_folders(folders).unwrap().iter().map(|path| name_of(path)).collect()
        };
        assert_eq!(names(&[root.path()]), ["9", "100"]);
        assert_eq!(names(&[&root.path().join("100")]), ["100"]);
        assert!(matches!(block_folders(&[root.path().join("notes")]), Err(RecordedError::NoBlocks { .. })));
        assert!(matches!(block_folders(&[root.path().join("gone")]), Err(RecordedError::Io { .. })));
    }
}
