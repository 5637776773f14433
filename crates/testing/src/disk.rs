//! A small file system that can be filled, if this user may mount one.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A small file system in memory; unmounted on drop.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts an empty one of so many MiB; `None` if this user may not, which is printed as a skipped test.
    pub fn mount(mebibytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        if mount(&["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "small"], folder.path()) {
            return Some(Self(folder));
        }
        println!("skipped: a disk that is full: this user may not mount one");
        None
    }

    /// Returns the folder where it is mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Makes it so many MiB large.
    pub fn grow(&self, mebibytes: u32) {
        assert!(mount(&["-o", &format!("remount,size={mebibytes}m")], self.path()));
    }

    /// Writes a file until nothing more fits.
    pub fn fill(&self) {
        self.fill_but(0);
    }

    /// Fills the disk, except for this many bytes.
    pub fn fill_but(&self, left: u64) {
        let mut file = File::create(self.filler()).expect("a file");
        let full = loop {
            if let Err(error) = file.write_all(&[1; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
        let length = file.metadata().expect("the file").len();
        file.set_len(length - left).expect("a shorter file");
    }

    /// Removes that file.
    pub fn relieve(&self) {
        fs::remove_file(self.filler()).expect("the file");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What is still open there goes on; the mount is gone at once.
        drop(Command::new("umount").arg("-l").arg(self.path()).output());
    }
}

fn mount(options: &[&str], folder: &Path) -> bool {
    let output = Command::new("mount").args(options).arg(folder).output();
    output.is_ok_and(|output| output.status.success())
}
