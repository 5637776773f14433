//! Folders by name: found, or created if missing, once however many requests need the same one.
//!
//! Drive allows several folders of the same name. If there are several, which two gateways may create at the same moment, all
//! use the oldest one.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::header::HeaderValue;
use http::{Method, StatusCode};
use moka::future::Cache;
use serde::Deserialize;
use serde_json::json;
use stowage_http::target::{Origin, encode};

use super::file::Drive;
use super::name::{FILES, FOLDER, FOLDERS, Path, is_id, query};
use crate::google::fault::is_gone;
use crate::{Error, Kind, Result};

/// The folders of all Drives in use. Global, because several plans may name the same Drive, and a cache per driver would create a
/// folder for each.
static KNOWN: LazyLock<Cache<Key, String>> =
    LazyLock::new(|| Cache::builder().max_capacity(MOST_KNOWN).time_to_live(KNOWN_FOR).build());

/// Key of a folder by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    origin: Origin,
    /// The Drive's grant.
    grant: String,
    /// The parent folder's id.
    parent: String,
    name: String,
}

/// Without `files` it is not a list, and does not mean that there is no folder.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    files: Vec<Item>,
    next_page_token: Option<String>,
    #[serde(default)]
    incomplete_search: bool,
}

/// A folder or file.
#[derive(Deserialize)]
struct Item {
    id: String,
    name: Option<String>,
}

/// Returns the id of the innermost of these folders.
///
/// Must not be dropped halfway: a folder already being created would be created twice.
pub(super) async fn find(drive: &Drive, folders: &[String]) -> Result<String> {
    let mut parent = ROOT.to_owned();
    for name in folders {
        let key = key(drive, &parent, name);
        // Boxed, because it is large and part of every upload.
        let found = Box::pin(KNOWN.try_get_with_by_ref(&key, find_or_make(drive, &parent, name))).await;
        parent = found.map_err(|error: Arc<Error>| error.again())?;
    }
    Ok(parent)
}

/// Returns the id of a file at a path; `None` if there is none. Makes no folders, and looks in all of a name: a gateway uses for a while the one that
/// it has made, although another has made an older one.
pub(super) async fn file(drive: &Drive, path: &Path) -> Result<Option<String>> {
    if let Some(folder) = &drive.folder {
        return Ok(search(drive, folder, &path.name, FILES).await?.into_iter().next());
    }
    let mut parents = vec![ROOT.to_owned()];
    for name in &path.folders {
        let mut folders = Vec::new();
        for parent in &parents {
            folders.extend(search(drive, parent, name, FOLDERS).await?);
        }
        parents = folders;
    }
    for parent in &parents {
        if let Some(file) = search(drive, parent, &path.name, FILES).await?.into_iter().next() {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Forgets the ids of these folders, because one of them is gone.
pub(super) async fn forget(drive: &Drive, folders: &[String]) {
    let mut parent = ROOT.to_owned();
    for name in folders {
        let Some(id) = KNOWN.remove(&key(drive, &parent, name)).await else { return };
        parent = id;
    }
}

fn key(drive: &Drive, parent: &str, name: &str) -> Key {
    let (origin, grant) = (drive.service.endpoint.origin.clone(), drive.service.grant.clone());
    Key { origin, grant, parent: parent.to_owned(), name: name.to_owned() }
}

async fn find_or_make(drive: &Drive, parent: &str, name: &str) -> Result<String> {
    match search(drive, parent, name, FOLDERS).await?.into_iter().next() {
        Some(id) => Ok(id),
        None => make(drive, parent, name).await,
    }
}

/// Looks for the folders or files of a name in a folder, oldest first.
///
/// A page may be empty without being the last one ("files.list": `nextPageToken`), and a search may be incomplete
/// (`incompleteSearch`): neither means that there is none, and a second folder would be created.
async fn search(drive: &Drive, parent: &str, name: &str, is: &str) -> Result<Vec<String>> {
    let query = encode(&query(parent, name, is));
    let (mut page, mut complete, mut found) = (String::new(), true, Vec::new());
    for _ in 0..MOST_PAGES {
        let target = format!(
            "/drive/v3/files?q={query}&fields=nextPageToken,incompleteSearch,files(id,name)&orderBy=createdTime\
             &pageSize=100&spaces=drive&supportsAllDrives=true&includeItemsFromAllDrives=true{page}"
        );
        let reply = drive.service.ask(&drive.service.call(Method::GET, &target)).await?;
        if is_gone(&reply) {
            return Err(gone());
        }
        if !reply.status.is_success() {
            return Err(reply.refusal("look for a folder or file"));
        }
        let listed: Listed = reply.json()?;
        complete &= !listed.incomplete_search;
        // Whether `=` is case sensitive is not documented.
        let same = |item: &Item| item.name.as_deref() == Some(name) && is_id(&item.id);
        found.extend(listed.files.into_iter().filter(same).map(|item| item.id));
        match listed.next_page_token.filter(|token| !token.is_empty()) {
            Some(token) => page = format!("&pageToken={}", encode(&token)),
            None if complete || !found.is_empty() => return Ok(found),
            None => break,
        }
    }
    if found.is_empty() {
        Err(Error::new(Kind::Passing, "Google did not look everywhere for a folder or file"))
    } else {
        Ok(found)
    }
}

async fn make(drive: &Drive, parent: &str, name: &str) -> Result<String> {
    let id = drive.ids.take(&drive.service).await?;
    let metadata = json!({ "id": id, "name": name, "mimeType": FOLDER, "parents": [parent] });
    let call = drive.service.call(Method::POST, "/drive/v3/files?fields=id&supportsAllDrives=true");
    let call = call.body(HeaderValue::from_static("application/json; charset=UTF-8"), metadata.to_string());
    let reply = drive.service.ask(&call).await?;
    match reply.status {
        status if status.is_success() => Ok(reply.json::<Item>()?.id),
        // An earlier attempt created it.
        StatusCode::CONFLICT if reply.doubtful => Ok(id),
        _ if is_gone(&reply) => Err(gone()),
        _ => Err(reply.refusal("make a folder")),
    }
}

/// Returns the error for a folder that is no longer where it was.
pub(super) fn gone() -> Error {
    Error::new(Kind::Passing, "a folder went away").with_status(StatusCode::NOT_FOUND)
}

/// Alias of the root folder.
const ROOT: &str = "root";
/// Each with 100 folders or files of one name.
const MOST_PAGES: u32 = 20;
const MOST_KNOWN: u64 = 10_000;
/// A user may move a folder to the trash, and files stored in it would follow.
const KNOWN_FOR: Duration = Duration::from_secs(300);
