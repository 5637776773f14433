//! Writes a file: under a temporary name, made durable, then renamed without replacing anything.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::TryFutureExt;
use http::StatusCode;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use stowage_base::tasks::Tasks;
use uuid::Uuid;

use super::place::{DRAFTS, Place, refused};
use crate::engine::finish::{clean_up, to_completion};
use crate::engine::location::location;
use crate::{Chunk, Error, Kind, Object, Result, Stored, Upload};

/// Stores a body.
pub(super) async fn store(place: &Arc<Place>, tasks: &Tasks, object: &Object, mut upload: Upload) -> Result<Stored> {
    let mut names = Vec::new();
    for name in (!object.taken).then_some(&object.name).into_iter().chain([&object.spare]) {
        names.push((name.clone(), place.path(name).map_err(refused)?));
    }
    let mut next = Some(upload.chunk().await?);
    let draft = to_completion(tasks, "file creation", Draft::create(Arc::clone(place), tasks.clone())).await?;
    while let Some(chunk) = next {
        next = if chunk.last {
            draft.write(chunk).await?;
            None
        } else {
            let another = async { upload.another_chunk().await.transpose() };
            let (filled, ()) = tokio::try_join!(another, draft.write(chunk))?;
            // Without a second share, the first must be released before waiting for another.
            Some(match filled {
                Some(chunk) => chunk,
                None => upload.chunk().await?,
            })
        };
    }
    let place = Arc::clone(place);
    to_completion(tasks, "file commit", draft.commit(place, names)).await.map(Placed::keep)
}

/// An unfinished file under a temporary name; removed on drop.
#[derive(Debug)]
struct Draft {
    file: Arc<File>,
    path: PathBuf,
    tasks: Tasks,
}

impl Draft {
    async fn create(place: Arc<Place>, tasks: Tasks) -> Result<Self> {
        let path = place.draft(&Uuid::new_v4().simple().to_string());
        let created = path.clone();
        let file = blocking(move || {
            // Never the root itself: its file system may not be mounted.
            if let Some(folder) = path.parent()
                && let Err(error) = fs::create_dir(folder)
                && error.kind() != io::ErrorKind::AlreadyExists
            {
                return Err(error);
            }
            let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            // Signals to `sweep` that the file is in use; without file locks there is no such protection.
            let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
            Ok(file)
        });
        Ok(Self { file: Arc::new(file.await?), path: created, tasks })
    }

    async fn write(&self, chunk: Chunk) -> Result<()> {
        let file = Arc::clone(&self.file);
        blocking(move || (&*file).write_all(&chunk.data)).await
    }

    /// Renames the file to the first free name.
    async fn commit(mut self, place: Arc<Place>, names: Vec<(String, PathBuf)>) -> Result<Placed> {
        let tasks = self.tasks.clone();
        let (file, draft) = (Arc::clone(&self.file), self.path.clone());
        let placed = blocking(move || {
            file.sync_all()?;
            let etag = etag(&file.metadata()?);
            for (name, path) in names {
                if !place.holds(&path)? {
                    return Err(outside());
                }
                if settle(&place, &draft, &path)? {
                    let synced = sync_folder(path.parent());
                    return Ok((Placed { name, path, etag, place, tasks, kept: false }, synced));
                }
            }
            Err(io::Error::from(io::ErrorKind::AlreadyExists))
        });
        let (placed, synced) = placed.await?;
        self.path.clear();
        // After an error, dropping the file removes it from its final name.
        synced.map_err(failed)?;
        Ok(placed)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.path.as_os_str().is_empty() {
            return;
        }
        let path = std::mem::take(&mut self.path);
        clean_up(&self.tasks, "file clean-up", async move {
            let shown = path.clone();
            if let Err(error) = blocking(move || fs::remove_file(path)).await {
                tracing::warn!(path = %shown.display(), %error, "an unfinished file is left until the next start");
            }
        });
    }
}

/// A file under its final name; removed on drop unless it is kept.
#[derive(Debug)]
struct Placed {
    name: String,
    path: PathBuf,
    etag: String,
    place: Arc<Place>,
    tasks: Tasks,
    kept: bool,
}

impl Placed {
    fn keep(mut self) -> Stored {
        self.kept = true;
        let location = location([("path", &self.name)]);
        Stored { location, etag: Some(std::mem::take(&mut self.etag)), ..Stored::default() }
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let (place, path) = (Arc::clone(&self.place), std::mem::take(&mut self.path));
        clean_up(&self.tasks, "file clean-up", async move {
            let shown = path.clone();
            if let Err(error) = blocking(move || remove(&place, &path)).await {
                tracing::warn!(path = %shown.display(), %error, "a file that no document names may be left");
            }
        });
    }
}

/// Moves a file to a name; returns `false` if it is taken. Retries if a concurrent `delete` removes a folder just created.
fn settle(place: &Place, draft: &Path, path: &Path) -> io::Result<bool> {
    let mut tries = 0;
    loop {
        tries += 1;
        let renamed = match make_parents(place, path) {
            Ok(()) => rename_new(draft, path),
            // A file in place of a folder has the same error code as a taken name, but is a different problem.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(io::ErrorKind::NotADirectory.into()),
            Err(error) => Err(error),
        };
        match renamed {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < MOST_TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

/// Creates the parent folders of a path below the root, syncing each into its own parent.
fn make_parents(place: &Place, path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    if folder.is_dir() {
        return Ok(());
    }
    if folder == place.root {
        return Err(io::ErrorKind::NotFound.into());
    }
    make_parents(place, folder)?;
    match fs::create_dir(folder) {
        Ok(()) => sync_folder(folder.parent()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_folder(folder: Option<&Path>) -> io::Result<()> {
    folder.map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Renames without replacing; falls back to a hard link, which does not replace either, if the file system lacks support.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::PERM) => {
            match fs::hard_link(from, to) {
                // Over NFS a link may be created although its response was lost; the link count shows it (open(2), "O_EXCL").
                Err(error) if from.metadata().map_or(1, |metadata| metadata.nlink()) < 2 => return Err(error),
                Ok(()) | Err(_) => {}
            }
            // The file has its final name now, whatever becomes of the other one.
            if let Err(error) = fs::remove_file(from) {
                tracing::warn!(path = %from.display(), %error, "the temporary name of a file is left until the next start");
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes a file and the folders that became empty, up to the storage's own directory.
pub(super) fn remove(place: &Place, path: &Path) -> io::Result<()> {
    let within = path.parent().map_or(Ok(true), |folder| place.holds(folder));
    match within.and_then(|within| if within { fs::remove_file(path) } else { Err(outside()) }) {
        Err(error) if !is_gone(place, &error) => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let folders = path.ancestors().skip(1).take_while(|folder| *folder != place.directory);
    for folder in folders.filter(|folder| folder.starts_with(&place.directory)) {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(())
}

/// Returns whether there is no such file, including when a folder on the path is not one. Without the root nothing is known: its
/// file system is not mounted.
pub(super) fn is_gone(place: &Place, error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) && place.has_root()
}

/// Removes unfinished files of uploads that ended with the process; called at program start.
///
/// Files being written by another process are locked, and stay.
///
/// # Errors
/// If the folder cannot be read. A missing folder is not an error.
pub fn sweep(root: &Path) -> io::Result<usize> {
    let entries = match fs::read_dir(root.join(DRAFTS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        if !entry.file_type()?.is_file() {
            continue;
        }
        let Ok(file) = OpenOptions::new().write(true).open(entry.path()) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK) {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Returns an ETag that changes with the file: inode, ctime in nanoseconds, and length.
pub(super) fn etag(metadata: &fs::Metadata) -> String {
    let changed = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    format!("{:x}-{changed:x}-{:x}", metadata.ino(), metadata.len())
}

/// Runs blocking file system calls on a blocking thread.
pub(super) async fn blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    let broke_off = |_| Error::new(Kind::Passing, "work on a file broke off");
    tokio::task::spawn_blocking(work).map_err(broke_off).await?.map_err(failed)
}

fn failed(error: io::Error) -> Error {
    let text = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            return Error::answered(StatusCode::INSUFFICIENT_STORAGE, "the file system is full").because(error);
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "the gateway may not write there",
        io::ErrorKind::InvalidFilename => "the name is too long for the file system",
        io::ErrorKind::CrossesDevices => "the directory is on another file system than storage.file_root",
        io::ErrorKind::NotADirectory => "a folder of the object's name is a file",
        io::ErrorKind::AlreadyExists => "the name is taken",
        io::ErrorKind::FileTooLarge => "the file is too large for the file system",
        _ if error.get_ref().is_some_and(|cause| cause.is::<Outside>()) => {
            "a symbolic link leads out of storage.file_root"
        }
        _ => return Error::new(Kind::Passing, "the file system failed").because(error),
    };
    Error::new(Kind::Refused, text).because(error)
}

pub(super) fn outside() -> io::Error {
    io::Error::other(Outside)
}

/// A symbolic link leads out of the root.
#[derive(Debug)]
struct Outside;

impl std::fmt::Display for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("outside of storage.file_root")
    }
}

impl std::error::Error for Outside {}

/// How many times folders removed by a concurrent `delete` are created again.
const MOST_TRIES: u32 = 100;
