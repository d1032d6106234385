//! A lock that another process holds. The test starts itself as that process.

use crate::stores::{config, directory};
use citius_io::{Backend, DiskError, open_disk};
use std::{
    env,
    io::{BufRead, BufReader, Read, stdin},
    path::Path,
    process::{Command, Stdio},
};

const DIRECTORY: &str = "CITIUS_IO_TEST_DIRECTORY";

/// Run by the test below alone: holds the lock until its input ends.
#[test]
#[ignore = "a part of `another_process_is_kept_out_and_named`"]
fn holder() {
    let Ok(directory) = env::var(DIRECTORY) else { return };
    let (disk, _) = open_disk(Path::new(&directory), &config(Backend::Blocking)).unwrap();
    let _lock = disk.lock().unwrap();
    println!("locked");
    stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn another_process_is_kept_out_and_named() {
    let directory = directory();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["lock::holder", "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    assert!(output.lines().any(|line| line.unwrap().contains("locked")), "the other process did not lock");
    let (disk, _) = open_disk(directory.path(), &config(Backend::Auto)).unwrap();
    match disk.lock() {
        Err(DiskError::Locked { holder, directory: named }) => {
            assert_eq!((holder, named.as_path()), (Some(child.id()), directory.path()));
        }
        other => panic!("{other:?}"),
    }
    // Killed, not asked to go: the lock ends with the process.
    child.kill().unwrap();
    child.wait().unwrap();
    drop(disk.lock().unwrap());
}
