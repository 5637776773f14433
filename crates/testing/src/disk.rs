//! A small file system that can be filled, if this user may mount one.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A file system of 32 MiB in memory; unmounted on drop.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts an empty one; `None` if this user may not.
    pub fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut mount = Command::new("mount");
        let output = mount.args(["-t", "tmpfs", "-o", "size=32m", "small"]).arg(folder.path()).output();
        output.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }

    /// Returns the folder where it is mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file until nothing more fits.
    pub fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
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
        drop(Command::new("umount").arg(self.path()).output());
    }
}
