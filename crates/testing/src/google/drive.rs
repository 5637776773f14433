//! Files and folders ("Files" in the Drive API reference).

use std::collections::{BTreeMap, BTreeSet};

use md5::{Digest, Md5};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use super::super::trouble::{Answer, Trouble, document, text};
use super::State;
use super::query::Query;
use super::wire::{Asked, Data, failure, media, partial};

/// A user's Drive.
#[derive(Debug, Default)]
pub struct Drive {
    files: BTreeMap<String, File>,
    /// The generated ids, and the used ones.
    generated: BTreeSet<String>,
    used: BTreeSet<String>,
}

#[derive(Debug, Clone)]
struct File {
    name: String,
    media_type: String,
    parent: String,
    trashed: bool,
    created: u64,
    revision: u64,
    data: Data,
}

const FOLDER: &str = "application/vnd.google-apps.folder";
/// The root folder of a shared drive.
const SHARED: &str = "shared";
/// The maximum size of a multipart upload ("Upload file data").
pub const MOST_IN_ONE: usize = 5_000_000;

impl Drive {
    pub fn paths(&self, folders: bool) -> Vec<String> {
        let wanted = |(id, file): &(&String, &File)| (file.media_type == FOLDER) == folders && !self.is_trashed(id);
        let mut paths: Vec<String> = self.files.iter().filter(wanted).map(|(id, _)| self.path(id)).collect();
        paths.sort();
        paths
    }

    fn path(&self, id: &str) -> String {
        let Some(file) = self.files.get(id) else { return String::new() };
        match self.path(&file.parent) {
            parent if parent.is_empty() => file.name.clone(),
            parent => format!("{parent}/{}", file.name),
        }
    }

    fn is_trashed(&self, id: &str) -> bool {
        self.files.get(id).is_some_and(|file| file.trashed || self.is_trashed(&file.parent))
    }

    fn is_folder(&self, id: &str) -> bool {
        id == "root" || self.files.get(id).is_some_and(|file| file.media_type == FOLDER)
    }

    pub fn make_folder(&mut self, name: &str, number: u64) -> String {
        self.place(name, FOLDER, b"", number)
    }

    /// Moves a folder to a shared drive.
    pub fn share(&mut self, id: &str) {
        self.files.get_mut(id).expect("a folder").parent = SHARED.to_owned();
    }

    fn is_shared(&self, id: &str) -> bool {
        id == SHARED || self.files.get(id).is_some_and(|file| self.is_shared(&file.parent))
    }

    /// Creates a file in the root folder.
    pub fn place(&mut self, name: &str, media_type: &str, data: &[u8], number: u64) -> String {
        let id = format!("others-{number}");
        let file = File {
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            parent: "root".to_owned(),
            trashed: false,
            created: number,
            revision: number,
            data: data.into(),
        };
        self.files.insert(id.clone(), file);
        id
    }

    pub fn discard(&mut self, folder: &str, for_good: bool) {
        let ids: Vec<String> = self.files.keys().filter(|id| self.path(id) == folder).cloned().collect();
        for id in ids {
            if for_good {
                self.remove(&id);
            } else if let Some(file) = self.files.get_mut(&id) {
                file.trashed = true;
            }
        }
    }

    /// Removes a file, or a folder with its contents.
    fn remove(&mut self, id: &str) {
        self.files.remove(id);
        let inside: Vec<String> =
            self.files.iter().filter(|(_, file)| file.parent == id).map(|(id, _)| id.clone()).collect();
        inside.iter().for_each(|id| self.remove(id));
    }

    pub fn change(&mut self, path: &str, data: &[u8], revision: u64) {
        let id = self.files.keys().find(|id| self.path(id) == path).cloned();
        let file = id.and_then(|id| self.files.get_mut(&id)).expect("a file");
        (file.data, file.revision) = (data.into(), revision);
    }

    fn resource(&self, id: &str, trouble: Option<&Trouble>) -> Value {
        let Some(file) = self.files.get(id) else { return Value::Null };
        let folder = file.media_type == FOLDER;
        let (md5, sha256) = match trouble {
            Some(Trouble::Mistakes) => (Md5::digest(b"wrong"), Sha256::digest(b"wrong")),
            _ => (file.data.sum().md5(), file.data.sum().sha256()),
        };
        let of_file = |value: String| if folder { Value::Null } else { Value::String(value) };
        json!({
            "kind": "drive#file", "id": id, "name": file.name, "mimeType": file.media_type, "parents": [file.parent],
            "trashed": self.is_trashed(id), "size": of_file(file.data.len().to_string()),
            "md5Checksum": of_file(hex::encode(md5)),
            "sha256Checksum": of_file(hex::encode(sha256)),
            "headRevisionId": of_file(format!("0B{}", file.revision)), "createdTime": "2026-01-02T03:04:05.678Z",
        })
    }
}

/// Returns the error for an invalid new file, if any.
pub fn refuses(state: &State, asked: &Asked, metadata: &Map<String, Value>) -> Option<Answer> {
    if asked.path != ["upload", "drive", "v3", "files"] && asked.path != ["drive", "v3", "files"] {
        return Some(failure(404, "notFound"));
    }
    let in_upload = asked.path[0] == "upload";
    if !asked.only(&["uploadType", "supportsAllDrives", "fields"]) || asked.query("supportsAllDrives") != Some("true") {
        return Some(failure(400, "invalidParameter"));
    }
    refuses_metadata(state, metadata, in_upload)
}

fn refuses_metadata(state: &State, metadata: &Map<String, Value>, in_upload: bool) -> Option<Answer> {
    let known = ["id", "name", "mimeType", "parents"];
    let text = |member: &str| metadata.get(member).and_then(Value::as_str);
    let parents = metadata.get("parents").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let ([parent], Some(id), Some(name)) = (parents, text("id"), text("name")) else {
        return Some(failure(400, "invalid"));
    };
    let converts = text("mimeType").is_some_and(|kind| kind.starts_with("application/vnd.google-apps.") && in_upload);
    if metadata.keys().any(|member| !known.contains(&member.as_str())) || name.is_empty() || converts {
        return Some(failure(400, "invalid"));
    }
    if state.drive.used.contains(id) {
        return Some(failure(409, "fileIdInUse"));
    }
    if !state.drive.generated.contains(id) {
        return Some(failure(400, "invalid"));
    }
    let parent = parent.as_str().unwrap_or_default();
    (!state.drive.is_folder(parent)).then(|| failure(404, "notFound"))
}

/// Creates a file and returns its resource.
pub fn make(
    state: &mut State,
    metadata: &Map<String, Value>,
    data: Data,
    trouble: Option<&Trouble>,
) -> Result<Value, Answer> {
    if let Some(refused) = refuses_metadata(state, metadata, false) {
        return Err(refused);
    }
    let number = state.next();
    let text = |member: &str| metadata.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
    let file = File {
        name: text("name"),
        media_type: text("mimeType"),
        parent: metadata["parents"][0].as_str().unwrap_or_default().to_owned(),
        trashed: false,
        created: number,
        revision: number,
        data,
    };
    let id = text("id");
    state.drive.used.insert(id.clone());
    state.drive.files.insert(id.clone(), file);
    Ok(state.drive.resource(&id, trouble))
}

pub fn act(state: &mut State, route: &str, asked: &Asked, trouble: Option<&Trouble>) -> Answer {
    match route {
        "ids" => return ids(state, asked),
        "list" => return list(state, asked, trouble),
        "folder" => return folder(state, asked, trouble),
        _ => {}
    }
    if !asked.only(&["alt", "fields", "supportsAllDrives"]) {
        return failure(400, "invalidParameter");
    }
    let id = asked.path[3].clone();
    let Some(file) = state.drive.files.get(&id) else { return failure(404, "notFound") };
    match route {
        "look" => partial(asked, state.drive.resource(&id, trouble)),
        "download" if file.media_type == FOLDER => failure(403, "fileNotDownloadable"),
        "download" => media(asked, &file.media_type, &file.data),
        _ => {
            state.drive.remove(&id);
            text(204, "")
        }
    }
}

fn folder(state: &mut State, asked: &Asked, trouble: Option<&Trouble>) -> Answer {
    let is_json = asked.header("content-type").starts_with("application/json");
    let Some(metadata) = serde_json::from_slice::<Map<String, Value>>(&asked.data).ok().filter(|_| is_json) else {
        return failure(400, "parseError");
    };
    if metadata.get("mimeType").and_then(Value::as_str) != Some(FOLDER) {
        return failure(400, "invalid");
    }
    if let Some(refused) = refuses(state, asked, &metadata) {
        return refused;
    }
    match make(state, &metadata, Data::default(), trouble) {
        Ok(resource) => partial(asked, resource),
        Err(refused) => refused,
    }
}

/// "files.generateIds": 1 to 1000 ids.
fn ids(state: &mut State, asked: &Asked) -> Answer {
    let count: u64 = asked.query("count").unwrap_or("10").parse().unwrap_or_default();
    if !asked.only(&["count", "space", "type"]) || asked.query("space") != Some("drive") || !(1..=1000).contains(&count)
    {
        return failure(400, "invalidParameter");
    }
    let ids: Vec<String> = (0..count).map(|_| format!("1generated_{:020}-id", state.next())).collect();
    state.drive.generated.extend(ids.iter().cloned());
    document(200, &json!({ "kind": "drive#generatedIds", "space": "drive", "ids": ids }))
}

/// Lists files. Whether names are case-sensitive is undocumented; here they are not.
fn list(state: &State, asked: &Asked, trouble: Option<&Trouble>) -> Answer {
    if trouble == Some(&Trouble::EmptyPage) {
        return document(200, &json!({ "files": [], "incompleteSearch": false, "nextPageToken": "another/page" }));
    }
    let known =
        ["q", "fields", "orderBy", "pageSize", "pageToken", "spaces", "supportsAllDrives", "includeItemsFromAllDrives"];
    let of_all_drives = asked.query("includeItemsFromAllDrives") == Some("true");
    if asked.query("pageToken").is_some_and(|page| page != "another/page") {
        return failure(400, "invalid");
    }
    let query = asked.query("q").and_then(Query::parse);
    let (Some(query), true) = (query, asked.only(&known)) else { return failure(400, "invalid") };
    if query.parent.as_deref().is_some_and(|parent| !state.drive.is_folder(parent)) {
        return failure(404, "notFound");
    }
    let fits = |(id, file): &(&String, &File)| {
        query.name.as_ref().is_none_or(|name| file.name.to_lowercase() == name.to_lowercase())
            && query.parent.as_ref().is_none_or(|parent| file.parent == *parent)
            && query.media_type.as_ref().is_none_or(|kind| file.media_type == *kind)
            && query.other_type.as_ref().is_none_or(|kind| file.media_type != *kind)
            && (of_all_drives || !state.drive.is_shared(id))
            && query.trashed.is_none_or(|trashed| state.drive.is_trashed(id) == trashed)
    };
    let mut found: Vec<_> = state.drive.files.iter().filter(fits).collect();
    match asked.query("orderBy") {
        None => found.sort_by_key(|(_, file)| std::cmp::Reverse(file.created)),
        Some("createdTime") => found.sort_by_key(|(_, file)| file.created),
        Some(_) => return failure(400, "invalidParameter"),
    }
    let wanted = ["id", "name", "mimeType", "parents", "size", "createdTime"];
    let fields = asked.query("fields").unwrap_or("id,name,mimeType");
    let listed = |id: &str| {
        let resource = state.drive.resource(id, None);
        let kept = wanted.iter().filter(|member| fields.contains(*member) && !resource[**member].is_null());
        kept.map(|member| ((*member).to_owned(), resource[*member].clone())).collect::<Map<String, Value>>()
    };
    let files: Vec<Value> = found.iter().map(|(id, _)| Value::Object(listed(id))).collect();
    document(200, &json!({ "kind": "drive#fileList", "incompleteSearch": false, "files": files }))
}
