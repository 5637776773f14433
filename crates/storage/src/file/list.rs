//! Listing the files below a directory.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::SystemTime;

use super::place::{DRAFTS, Place};
use crate::engine::location::location;
use crate::{Error, Kind, Listed, Result};

/// Lists all files below a storage's directory, except those still being written.
pub(super) fn all(place: &Place) -> Vec<Result<Listed>> {
    let (mut found, mut folders) = (Vec::new(), vec![place.directory.clone()]);
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // The directory is created with the first object, and a folder may be removed meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound && place.has_root() => continue,
            Err(error) => {
                found.push(Err(unread(&folder, error)));
                continue;
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            // A file may be removed after it was listed; links are not followed.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() && entry.file_name() != DRAFTS {
                folders.push(path);
            } else if metadata.is_file()
                && let Some(name) = path.strip_prefix(&place.directory).ok().and_then(Path::to_str)
            {
                found.push(Ok(Listed {
                    name: name.to_owned(),
                    location: location([("path", name)]),
                    length: Some(metadata.len()),
                    modified: metadata.modified().unwrap_or_else(|_| SystemTime::now()),
                }));
            }
        }
    }
    found
}

fn unread(folder: &Path, error: std::io::Error) -> Error {
    Error::new(Kind::Passing, format!("the directory {} cannot be read", folder.display())).because(error)
}
