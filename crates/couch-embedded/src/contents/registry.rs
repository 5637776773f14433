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
use tokio::sync::{Mutex, OnceCell, RwLock};

use crate::contents::completion::to_completion;
use crate::contents::database::Database;
use crate::exchange::answer::Failure;

const SUFFIX: &str = ".redb";

/// The suffix of a file until its database is complete. A file whose creation was cut off, by a crash or a full disk, cannot be opened by redb.
const DRAFT: &str = ".redb.new";

/// CouchDB's limit on the length of a name, in bytes.
const NAME_LIMIT: usize = 238;

/// Permitted names that begin with `_`.
const SYSTEM: [&str; 3] = ["_users", "_replicator", "_global_changes"];

/// A database that is opened on first use and stays open.
type Slot = Arc<OnceCell<Arc<Database>>>;

/// All databases by name. Clones share them.
#[derive(Clone)]
pub(crate) struct Registry {
    data: PathBuf,
    /// Never locked while a file is opened: after a crash, redb reads all of it.
    known: Arc<RwLock<BTreeMap<String, Slot>>>,
    /// Held while a database is created or deleted.
    changing: Arc<Mutex<()>>,
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
                known.insert(name, Slot::default());
            }
        }
        Ok(Self { data, known: Arc::new(RwLock::new(known)), changing: Arc::default(), tasks: Tasks::default() })
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
        let slot = self.known.read().await.get(name).cloned().ok_or_else(Failure::no_database)?;
        if let Some(database) = slot.get() {
            return Ok(Arc::clone(database));
        }
        let (path, name, tasks) = (self.path(name), name.to_owned(), self.tasks.clone());
        let load = async move {
            let database = Database::load(&name, engine(path, &name).await?, tasks).await?;
            Ok::<_, Failure>(Arc::new(database))
        };
        // To its end, as it cannot be cancelled: until then, redb refuses to open the file again.
        let open = async move { slot.get_or_try_init(|| load).await.cloned() };
        to_completion(&self.tasks, "opening of a database", open).await
    }

    /// Creates an empty database; 412 if it exists already.
    pub(crate) async fn create(&self, name: &[u8]) -> Result<(), Failure> {
        let name = String::from_utf8_lossy(name).into_owned();
        check_name(&name)?;
        let registry = self.clone();
        to_completion(&self.tasks, "creation of a database", async move { registry.add(name).await }).await
    }

    async fn add(&self, name: String) -> Result<(), Failure> {
        let _guard = self.changing.lock().await;
        // A file that has appeared since the start may hold documents.
        let taken = tokio::fs::try_exists(self.path(&name)).await.map_err(Failure::internal)?;
        if taken || self.known.read().await.contains_key(&name) {
            let reason = "The database could not be created, the file already exists.";
            return Err(Failure::new(StatusCode::PRECONDITION_FAILED, "file_exists", reason));
        }
        let made = self.make(&name).await;
        if made.is_err() {
            drop(tokio::fs::remove_file(self.draft(&name)).await);
        }
        let slot = OnceCell::new_with(Some(Arc::new(made?)));
        self.known.write().await.insert(name, Arc::new(slot));
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
        let (registry, database) = (self.clone(), self.get(name).await?);
        to_completion(&self.tasks, "deletion of a database", async move { registry.remove(&database).await }).await
    }

    async fn remove(&self, database: &Arc<Database>) -> Result<(), Failure> {
        let _guard = self.changing.lock().await;
        let slot = self.known.read().await.get(&database.name).cloned();
        // Another request may have deleted it, and created another one.
        if !slot.is_some_and(|slot| slot.get().is_some_and(|known| Arc::ptr_eq(known, database))) {
            return Err(Failure::no_database());
        }
        // The file first: after a failure, the database is still there. The open file can be used until it is closed.
        remove_file(&self.path(&database.name)).await?;
        self.known.write().await.remove(&database.name);
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
    use std::time::Duration;

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

    /// Returns a registry of two databases of which none is open yet.
    async fn two(data: &Path) -> Registry {
        for name in [b"a", b"b"] {
            Registry::open(data.to_owned()).unwrap().create(name).await.unwrap();
        }
        Registry::open(data.to_owned()).unwrap()
    }

    #[tokio::test]
    async fn a_database_that_is_being_opened_stops_no_other() {
        let data = tempfile::tempdir().unwrap();
        let registry = two(data.path()).await;
        let mut first = Box::pin(registry.get(b"a"));
        assert!(futures_util::poll!(first.as_mut()).is_pending());
        // Not polled any further until the others are done.
        let others = async {
            registry.get(b"b").await.unwrap();
            registry.create(b"c").await.unwrap();
            registry.delete(b"b").await.unwrap();
        };
        tokio::time::timeout(Duration::from_secs(20), others).await.expect("no request waits");
        assert!(first.await.is_ok());
    }

    #[tokio::test]
    async fn an_opening_goes_on_when_its_caller_is_gone() {
        let data = tempfile::tempdir().unwrap();
        let registry = two(data.path()).await;
        let mut first = Box::pin(registry.get(b"a"));
        assert!(futures_util::poll!(first.as_mut()).is_pending());
        drop(first);
        assert!(registry.get(b"a").await.is_ok());
    }
}
