//! The databases of a store: their names, files, and open handles.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::StatusCode;
use rouchdb_adapter_redb::RedbAdapter;
use rouchdb_core::adapter::Adapter as _;
use stowage_base::tasks::Tasks;
use tokio::sync::RwLock;

use crate::exchange::answer::Failure;
use crate::routes::database::Database;

const SUFFIX: &str = ".redb";

/// The suffix of a file until its database is complete. A file whose creation was cut off, by a crash or a full disk, cannot be opened by redb.
const DRAFT: &str = ".redb.new";

/// CouchDB's limit on the length of a name, in bytes.
const NAME_LIMIT: usize = 238;

/// Permitted names that begin with `_`.
const SYSTEM: [&str; 3] = ["_users", "_replicator", "_global_changes"];

/// All databases by name; a database is opened on first use and stays open.
pub(crate) struct Registry {
    data: PathBuf,
    known: RwLock<BTreeMap<String, Option<Arc<Database>>>>,
    /// What goes on when its client has gone.
    pub(crate) tasks: Tasks,
}

impl Registry {
    /// Lists the database files in `data`, which is created if missing, and removes incomplete ones.
    pub(crate) fn open(data: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&data)?;
        let mut known = BTreeMap::new();
        for entry in fs::read_dir(&data)? {
            let entry = entry?;
            let file = entry.file_name();
            if file.to_str().is_some_and(|file| file.ends_with(DRAFT)) {
                fs::remove_file(entry.path())?;
                continue;
            }
            let name = file.to_str().and_then(|file| file.strip_suffix(SUFFIX));
            if let Some(name) = name.map(|name| name.replace('.', "/"))
                && check_name(&name).is_ok()
            {
                known.insert(name, None);
            }
        }
        Ok(Self { data, known: RwLock::new(known), tasks: Tasks::default() })
    }

    /// Returns the file of a database. A `.` stands for the `/` of a name: names contain no `.`, so two names never share a file.
    fn path(&self, name: &str) -> PathBuf {
        self.data.join(name.replace('/', ".") + SUFFIX)
    }

    fn draft(&self, name: &str) -> PathBuf {
        self.data.join(name.replace('/', ".") + DRAFT)
    }

    /// Returns the database called `name`; 404 if it does not exist.
    pub(crate) async fn get(&self, name: &[u8]) -> Result<Arc<Database>, Failure> {
        let name = std::str::from_utf8(name).map_err(|_| Failure::no_database())?;
        match self.known.read().await.get(name) {
            None => return Err(Failure::no_database()),
            Some(Some(database)) => return Ok(Arc::clone(database)),
            Some(None) => {}
        }
        let mut known = self.known.write().await;
        let slot = known.get_mut(name).ok_or_else(Failure::no_database)?;
        if let Some(database) = slot {
            return Ok(Arc::clone(database));
        }
        let database = Arc::new(Database::load(name, engine(self.path(name), name).await?, self.tasks.clone()).await?);
        *slot = Some(Arc::clone(&database));
        Ok(database)
    }

    /// Creates an empty database; 412 if it exists already.
    pub(crate) async fn create(&self, name: &[u8]) -> Result<(), Failure> {
        let name = String::from_utf8_lossy(name);
        check_name(&name)?;
        let mut known = self.known.write().await;
        // A file that has appeared since the start may hold documents.
        let taken = tokio::fs::try_exists(self.path(&name)).await.map_err(Failure::internal)?;
        if taken || known.contains_key(name.as_ref()) {
            let reason = "The database could not be created, the file already exists.";
            return Err(Failure::new(StatusCode::PRECONDITION_FAILED, "file_exists", reason));
        }
        let made = self.make(&name).await;
        if made.is_err() {
            drop(tokio::fs::remove_file(self.draft(&name)).await);
        }
        known.insert(name.into_owned(), Some(Arc::new(made?)));
        Ok(())
    }

    /// Creates the file of a database under a temporary name, and renames it when it is complete.
    async fn make(&self, name: &str) -> Result<Database, Failure> {
        let (draft, path) = (self.draft(name), self.path(name));
        remove_file(&draft).await?;
        let database = Database::create(name, engine(draft.clone(), name).await?, self.tasks.clone()).await?;
        let renamed = tokio::task::spawn_blocking(move || rename(&draft, &path)).await;
        renamed.map_err(Failure::internal)?.map_err(Failure::internal)?;
        Ok(database)
    }

    /// Deletes a database and its file. Its feeds end.
    pub(crate) async fn delete(&self, name: &[u8]) -> Result<(), Failure> {
        let database = self.get(name).await?;
        let mut known = self.known.write().await;
        if !known.contains_key(&database.name) {
            return Err(Failure::no_database());
        }
        // The file first: after a failure, the database is still there. The open file can be used until it is closed.
        remove_file(&self.path(&database.name)).await?;
        known.remove(&database.name);
        Ok(database.engine.destroy().await?)
    }

    /// Returns all names, in byte order.
    pub(crate) async fn names(&self) -> Vec<String> {
        self.known.read().await.keys().cloned().collect()
    }
}

async fn engine(path: PathBuf, name: &str) -> Result<RedbAdapter, Failure> {
    let name = name.to_owned();
    let open = move || RedbAdapter::open(path, &name).map_err(Failure::from);
    tokio::task::spawn_blocking(open).await.map_err(Failure::internal)?
}

/// Removes a file if it is there.
async fn remove_file(path: &Path) -> Result<(), Failure> {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::internal(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Renames a complete file. Without the sync of the folder, a power failure could undo that, and the next start would remove the file.
fn rename(draft: &Path, path: &Path) -> io::Result<()> {
    fs::rename(draft, path)?;
    let synced = path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all());
    if synced.is_err() {
        // Answered as not created; the name has to stay free.
        drop(fs::remove_file(path));
    }
    synced
}

/// CouchDB's rule for names: <https://docs.couchdb.org/en/stable/api/database/common.html#put--db>.
fn check_name(name: &str) -> Result<(), Failure> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_$()+-/".contains(&byte);
    let lawful = name.bytes().next().is_some_and(|first| first.is_ascii_lowercase()) && name.bytes().all(allowed);
    if !lawful && !SYSTEM.contains(&name) {
        let reason = format!(
            "Name: '{name}'. Only lowercase characters (a-z), digits (0-9), and any of the characters _, $, (, ), \
             +, -, and / are allowed. Must begin with a letter."
        );
        return Err(Failure::new(StatusCode::BAD_REQUEST, "illegal_database_name", reason));
    }
    if name.len() > NAME_LIMIT {
        let reason = format!("At least one path segment of `{name}` is too long.");
        return Err(Failure::new(StatusCode::BAD_REQUEST, "database_name_too_long", reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_couchdbs_rule() {
        for good in ["a", "account/12/34/ab-202011", "a_$()+-/0", "_users"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "1a", "_x", "a.b", "a b", "é", &"a".repeat(239)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
