//! What lies below a directory.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::SystemTime;

use super::place::{DRAFTS, Place};
use crate::engine::location::location;
use crate::{Error, Kind, Listed, Result};

/// Every file below the directory of a storage, without those that are being written.
pub(super) fn all(place: &Place) -> Vec<Result<Listed>> {
    let (mut found, mut folders) = (Vec::new(), vec![place.directory.clone()]);
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // It is made by the first object, and a folder may go meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                found.push(Err(unread(&folder, error)));
                continue;
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            // A file may go between its listing and this; a link is followed nowhere.
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
