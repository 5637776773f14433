//! Folders by name: found, or made where there is none, once however many want the same one.
//!
//! Drive permits folders of the same name. Where there are several, which two gateways may make at the same moment, the
//! oldest one is shared by all.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::header::HeaderValue;
use http::{Method, StatusCode};
use moka::future::Cache;
use serde::Deserialize;
use serde_json::json;
use stowage_http::target::{Origin, encode};

use super::file::Drive;
use super::name::{FOLDER, is_id, query};
use crate::google::fault::is_gone;
use crate::{Error, Kind, Result};

/// The folders of all Drives that are in use. One for the program: several plans may name the same Drive, and a driver of
/// its own for each of them would make a folder of its own.
static KNOWN: LazyLock<Cache<Key, String>> =
    LazyLock::new(|| Cache::builder().max_capacity(MOST_KNOWN).time_to_live(KNOWN_FOR).build());

/// A folder by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    origin: Origin,
    /// Whose Drive.
    grant: String,
    /// The id of the folder that it is in.
    parent: String,
    name: String,
}

/// Without `files` it is no list: what it says is not that there is no folder.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    files: Vec<Folder>,
    next_page_token: Option<String>,
    #[serde(default)]
    incomplete_search: bool,
}

#[derive(Deserialize)]
struct Folder {
    id: String,
    name: Option<String>,
}

/// The id of the innermost of these folders.
///
/// Not to be dropped half way: a folder that has been asked for would be made twice.
pub(super) async fn find(drive: &Drive, folders: &[String]) -> Result<String> {
    let mut parent = ROOT.to_owned();
    for name in folders {
        let key = key(drive, &parent, name);
        // Boxed, because it is large and in every upload.
        let found = Box::pin(KNOWN.try_get_with_by_ref(&key, find_or_make(drive, &parent, name))).await;
        parent = found.map_err(|error: Arc<Error>| error.again())?;
    }
    Ok(parent)
}

/// Forgets where these folders are: one of them is gone.
pub(super) async fn forget(drive: &Drive, folders: &[String]) {
    let mut parent = ROOT.to_owned();
    for name in folders {
        let Some(id) = KNOWN.remove(&key(drive, &parent, name)).await else { return };
        parent = id;
    }
}

fn key(drive: &Drive, parent: &str, name: &str) -> Key {
    let (origin, grant) = (drive.service.origin.clone(), drive.service.grant.clone());
    Key { origin, grant, parent: parent.to_owned(), name: name.to_owned() }
}

async fn find_or_make(drive: &Drive, parent: &str, name: &str) -> Result<String> {
    match search(drive, parent, name).await? {
        Some(id) => Ok(id),
        None => make(drive, parent, name).await,
    }
}

/// A page may be empty and not be the last one ("files.list": `nextPageToken`), and a search may have left files out
/// (`incompleteSearch`): neither says that there is no such folder, which would make a second one.
async fn search(drive: &Drive, parent: &str, name: &str) -> Result<Option<String>> {
    let query = encode(&query(parent, name));
    let (mut page, mut complete) = (String::new(), true);
    for _ in 0..MOST_PAGES {
        let target = format!(
            "/drive/v3/files?q={query}&fields=nextPageToken,incompleteSearch,files(id,name)&orderBy=createdTime\
             &pageSize=100&spaces=drive&supportsAllDrives=true{page}"
        );
        let reply = drive.service.ask(&drive.service.call(Method::GET, &target)).await?;
        if is_gone(&reply) {
            return Err(gone());
        }
        if !reply.status.is_success() {
            return Err(reply.refusal("look for a folder"));
        }
        let listed: Listed = reply.json()?;
        complete &= !listed.incomplete_search;
        // Whether `=` heeds upper and lower case is not said.
        let same = |folder: &Folder| folder.name.as_deref() == Some(name) && is_id(&folder.id);
        if let Some(folder) = listed.files.into_iter().find(same) {
            return Ok(Some(folder.id));
        }
        match listed.next_page_token.filter(|token| !token.is_empty()) {
            Some(token) => page = format!("&pageToken={}", encode(&token)),
            None if complete => return Ok(None),
            None => break,
        }
    }
    Err(Error::new(Kind::Passing, "Google did not look for a folder everywhere"))
}

async fn make(drive: &Drive, parent: &str, name: &str) -> Result<String> {
    let id = drive.ids.take(&drive.service).await?;
    let metadata = json!({ "id": id, "name": name, "mimeType": FOLDER, "parents": [parent] });
    let call = drive.service.call(Method::POST, "/drive/v3/files?fields=id&supportsAllDrives=true");
    let call = call.body(HeaderValue::from_static("application/json; charset=UTF-8"), metadata.to_string());
    let reply = drive.service.ask(&call).await?;
    match reply.status {
        status if status.is_success() => Ok(reply.json::<Folder>()?.id),
        // An earlier try has made it.
        StatusCode::CONFLICT if reply.doubtful => Ok(id),
        _ if is_gone(&reply) => Err(gone()),
        _ => Err(reply.refusal("make a folder")),
    }
}

/// The error for a folder that is not where it was.
pub(super) fn gone() -> Error {
    Error::new(Kind::Passing, "a folder went away").with_status(StatusCode::NOT_FOUND)
}

/// The alias of the uppermost folder.
const ROOT: &str = "root";
/// Of 100 folders of one name each.
const MOST_PAGES: u32 = 20;
const MOST_KNOWN: u64 = 10_000;
/// A user may move a folder to the trash, where files would follow it.
const KNOWN_FOR: Duration = Duration::from_secs(300);
