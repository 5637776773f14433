//! Where the driver may write: a directory below the configured root, and names below that directory.
//!
//! Names are checked as text, and the paths they resolve to are checked again on disk, so that neither a `..` nor a symbolic
//! link leads out of the root.

use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

use stowage_base::settings::Settings;

use crate::{Error, Kind, Result};

/// The directory of one storage.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The configured root, canonicalized as far as it existed.
    pub(super) root: PathBuf,
    /// The directory, canonicalized as far as it existed.
    pub(super) directory: PathBuf,
}

/// Directory for unfinished files, below the root: on the same file system, so that they can be renamed into place.
pub(super) const DRAFTS: &str = ".stowage-tmp";
/// Maximum length of a path segment in bytes (`NAME_MAX` on Linux).
const LONGEST_SEGMENT: usize = 255;

impl Place {
    /// Reads `directory`, which is relative to the root, or absolute and below it. The root may be missing, and is not created: its file system may
    /// not be mounted, and what is stored in its place would be hidden once it is.
    ///
    /// # Errors
    /// `Settings`; `Passing` if the path of the root cannot be resolved.
    pub(super) fn open(settings: &Settings, root: Option<&Path>) -> Result<Self> {
        let off = || Error::new(Kind::Settings, format!("storage {}: the file driver is turned off", settings.id()));
        let root = root.filter(|root| !root.as_os_str().is_empty()).ok_or_else(off)?;
        let unusable = |error: io::Error| {
            let text = format!("storage {}: storage.file_root cannot be used", settings.id());
            Error::new(Kind::Passing, text).because(error)
        };
        let root = std::path::absolute(root).and_then(|root| resolve(&root)).map_err(unusable)?;
        let directory = PathBuf::from(settings.required("directory")?);
        let leaves = || Error::from(settings.wrong("directory", "must be below storage.file_root"));
        let plain = |part: Component<'_>| match part {
            Component::Normal(name) => name != OsStr::new(DRAFTS),
            Component::RootDir | Component::CurDir => true,
            Component::ParentDir | Component::Prefix(_) => false,
        };
        if !directory.components().all(plain) || directory.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(leaves());
        }
        let directory = resolve(&root.join(directory)).map_err(|error| leaves().because(error))?;
        if !directory.starts_with(&root) {
            return Err(leaves());
        }
        Ok(Self { root, directory })
    }

    /// Returns the path of an object.
    ///
    /// # Errors
    /// Why there can be no such file.
    pub(super) fn path(&self, name: &str) -> std::result::Result<PathBuf, &'static str> {
        for segment in name.split('/') {
            match segment {
                "" | "." | ".." => return Err("the object's name leaves its folder or has an empty part"),
                DRAFTS => return Err("the object's name is the driver's own"),
                _ if segment.contains('\0') => return Err("the object's name holds a NUL"),
                _ if segment.len() > LONGEST_SEGMENT => {
                    return Err("a part of the object's name is longer than 255 bytes");
                }
                _ => {}
            }
        }
        Ok(self.directory.join(name))
    }

    /// Returns the path of an unfinished file.
    pub(super) fn draft(&self, name: &str) -> PathBuf {
        self.root.join(DRAFTS).join(name)
    }

    /// Returns whether the root exists.
    pub(super) fn has_root(&self) -> bool {
        self.root.is_dir()
    }

    /// Returns whether a path is below the root after following all symbolic links; segments that do not exist yet are taken literally.
    pub(super) fn holds(&self, path: &Path) -> io::Result<bool> {
        resolve(path).map(|path| path.starts_with(&self.root))
    }
}

/// Follows symbolic links as far as the path exists.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut rest = Vec::new();
    let mut existing = path;
    loop {
        match existing.canonicalize() {
            Ok(resolved) => return Ok(rest.iter().rev().fold(resolved, |path, name| path.join(name))),
            // A dangling link would be followed when a file is created through it.
            Err(error) if error.kind() != io::ErrorKind::NotFound || existing.is_symlink() => return Err(error),
            Err(error) => {
                let (Some(parent), Some(name)) = (existing.parent(), existing.file_name()) else { return Err(error) };
                rest.push(name);
                existing = parent;
            }
        }
    }
}

/// Returns the error for a name that cannot be a file.
pub(super) fn refused(what: &str) -> Error {
    Error::new(Kind::Refused, what)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use serde_json::json;

    use super::Place;
    use stowage_base::settings::Settings;

    fn open(root: &std::path::Path, directory: &str) -> Result<Place, String> {
        let members = json!({ "directory": directory }).as_object().unwrap().clone();
        Place::open(&Settings::new("f1", "file", members), Some(root)).map_err(|error| error.to_string())
    }

    #[test]
    fn directories_are_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), root.path().join("out")).unwrap();
        symlink("nowhere", root.path().join("dangling")).unwrap();
        std::fs::create_dir(root.path().join("real")).unwrap();
        symlink("real", root.path().join("link")).unwrap();
        let canonical = root.path().canonicalize().unwrap();
        for fine in ["a", "a/b", "./a", "link", "link/a", root.path().join("x").to_str().unwrap()] {
            assert!(open(root.path(), fine).unwrap().directory.starts_with(&canonical), "{fine}");
        }
        for wrong in ["..", "a/../b", "/", "/etc", "out", "out/a", "dangling", ".stowage-tmp", "a/.stowage-tmp/b"] {
            let text = open(root.path(), wrong).unwrap_err();
            assert!(text.contains("f1") && text.contains("directory"), "{wrong}: {text}");
        }
        let members = json!({ "directory": "a" }).as_object().unwrap().clone();
        let error = Place::open(&Settings::new("f1", "file", members), None).unwrap_err();
        assert!(error.to_string().contains("is turned off"));
    }

    #[test]
    fn names_stay_below_the_directory() {
        let root = tempfile::tempdir().unwrap();
        let place = open(root.path(), "d").unwrap();
        let long = "x".repeat(256);
        for wrong in ["", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\0b", &long, ".stowage-tmp/a"] {
            assert!(place.path(wrong).is_err(), "{wrong}");
        }
        for fine in ["a", "a/b", "..a", "a..", " ", "a%2Fb", "ü\"'?#\\", &"x".repeat(255)] {
            assert!(place.path(fine).unwrap().starts_with(&place.directory), "{fine}");
        }
    }
}
