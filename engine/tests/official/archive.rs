use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Mutex, mpsc},
    thread,
};

/// An archive could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub(crate) struct ArchiveError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// One file of an archive.
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
}

/// Threads that work on one archive; the engine's own workers come on top.
const THREADS: usize = 2;
/// Files that are unpacked and not yet worked on.
const QUEUE_FILES_MAX: usize = 8;

/// Unpacks a `.tar.zst` in memory and hands its JSON files to workers, each of which folds them into one value.
pub(crate) fn fold_files<T: Send>(
    path: &Path,
    start: impl Fn() -> T + Sync,
    work: impl Fn(&mut T, Entry) + Sync,
) -> Result<Vec<T>, ArchiveError> {
    let (sender, receiver) = mpsc::sync_channel(QUEUE_FILES_MAX);
    let receiver = Mutex::new(receiver);
    let folded = thread::scope(|scope| {
        let worker = || {
            let mut value = start();
            loop {
                let entry = receiver.lock().map(|receiver| receiver.recv());
                let Ok(Ok(entry)) = entry else { return value };
                work(&mut value, entry);
            }
        };
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(worker)).collect();
        let read = send_files(path, &sender);
        drop(sender);
        let folded = workers.into_iter().map(|worker| worker.join().expect("workers catch panics")).collect();
        read.map(|()| folded)
    });
    folded.map_err(|source| ArchiveError { path: path.into(), source })
}

fn send_files(path: &Path, sender: &mpsc::SyncSender<Entry>) -> io::Result<()> {
    let mut decoder = zstd::Decoder::new(File::open(path)?)?;
    decoder.window_log_max(27)?;
    let mut archive = tar::Archive::new(decoder);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        if !path.ends_with(".json") {
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        if sender.send(Entry { path, bytes }).is_err() {
            break;
        }
    }
    Ok(())
}
