//! The files and upload sessions of the double.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::spool::{Spool, Sum};

/// The bytes of a file.
pub type Data = Spool<ContentHash>;

/// An error in Dropbox's form: a union with its tag.
#[derive(Debug)]
pub struct Refusal(pub Value);

/// Builds a union member without a value.
pub fn tagged(tag: &str) -> Refusal {
    Refusal(json!({ ".tag": tag }))
}

/// Builds a `WriteError.conflict`.
pub fn conflict(what: &str) -> Refusal {
    Refusal(json!({ ".tag": "conflict", "conflict": {".tag": what} }))
}

/// The stored files. Paths are case-insensitive: the keys are in lower case, next to the path for display.
#[derive(Debug, Default)]
pub struct Files {
    files: BTreeMap<String, File>,
    pub sessions: HashMap<String, Session>,
    numbers: u64,
}

#[derive(Clone, Debug)]
struct File {
    id: String,
    rev: String,
    path: String,
    client_modified: String,
    data: Data,
}

#[derive(Debug)]
pub struct Session {
    data: Data,
    committed: bool,
}

impl Files {
    pub fn paths(&self) -> Vec<String> {
        self.files.values().map(|file| file.path.trim_start_matches('/').to_owned()).collect()
    }

    pub fn place(&mut self, path: &str, data: &[u8]) -> String {
        self.insert(path.to_owned(), "2020-01-01T00:00:00Z".to_owned(), data.into()).id
    }

    pub fn revise(&mut self, path: &str, data: &[u8]) {
        self.numbers += 1;
        let rev = format!("a1c10ce{:05x}", self.numbers);
        let file = self.files.get_mut(&path.to_lowercase()).expect("a file");
        (file.rev, file.data) = (rev, data.into());
    }

    /// Saves a file with a `CommitInfo`, of which only `mode` `add` is supported.
    pub fn save(&mut self, commit: &Value, data: Data) -> Result<Value, Refusal> {
        let path = commit["path"].as_str().expect("a path").to_owned();
        assert_eq!(commit["mode"], "add", "the only mode that never writes over a file");
        assert_eq!(commit["autorename"], false, "a name of Dropbox's choice");
        let modified = commit["client_modified"].as_str().unwrap_or("2020-01-01T00:00:00Z").to_owned();
        assert!(modified.len() == 20 && humantime::parse_rfc3339(&modified).is_ok(), "DropboxTimestamp: {modified}");
        name_fault(&path)?;
        let lower = path.to_lowercase();
        if let Some(file) = self.files.get(&lower) {
            // "If the target path refers to a file with identical contents, nothing gets written; no conflict."
            if commit["strict_conflict"] != true && file.data.sum().hex() == data.sum().hex() {
                return Ok(file.metadata());
            }
            return Err(conflict("file"));
        }
        let below = format!("{lower}/");
        if self.files.keys().any(|other| other.starts_with(&below)) {
            return Err(conflict("folder"));
        }
        if self.files.keys().any(|other| lower.starts_with(&format!("{other}/"))) {
            return Err(conflict("file_ancestor"));
        }
        Ok(self.insert(path, modified, data).metadata())
    }

    pub fn begin(&mut self, data: &[u8]) -> String {
        self.numbers += 1;
        let id = format!("pid_upload_session:{}", self.numbers);
        self.sessions.insert(id.clone(), Session { data: data.into(), committed: false });
        id
    }

    /// `upload_session/append_v2`.
    pub fn append(&mut self, cursor: &Value, data: &[u8]) -> Result<(), Refusal> {
        let session = self.session(cursor)?;
        assert!(!data.is_empty(), "an append of nothing");
        session.data.append(data);
        Ok(())
    }

    /// `upload_session/finish`: a session that could not be saved remains.
    pub fn finish(&mut self, argument: &Value, data: &[u8]) -> Result<Value, Refusal> {
        let lookup = |Refusal(error)| Refusal(json!({ ".tag": "lookup_failed", "lookup_failed": error }));
        let session = self.session(&argument["cursor"]).map_err(lookup)?;
        let mut all = session.data.clone();
        all.append(data);
        let saved = self.save(&argument["commit"], all);
        let saved = saved.map_err(|Refusal(error)| Refusal(json!({ ".tag": "path", "path": error })))?;
        self.session(&argument["cursor"]).map_err(lookup)?.committed = true;
        Ok(saved)
    }

    fn session(&mut self, cursor: &Value) -> Result<&mut Session, Refusal> {
        let id = cursor["session_id"].as_str().expect("a session id");
        let session = self.sessions.get_mut(id).ok_or_else(|| tagged("not_found"))?;
        if session.committed {
            return Err(tagged("closed"));
        }
        let offset = session.data.len();
        if cursor["offset"] != json!(offset) {
            return Err(Refusal(json!({ ".tag": "incorrect_offset", "correct_offset": offset })));
        }
        Ok(session)
    }

    pub fn metadata(&self, path: &Value) -> Option<Value> {
        let mut found = self.find(path).map(File::metadata)?;
        found[".tag"] = json!("file");
        Some(found)
    }

    /// `ListFolderResult` of all files and folders, three files per page; a cursor is the first path of its page.
    pub fn list(&self, cursor: &str) -> Value {
        let mut left = self.files.iter().filter(|(path, _)| path.as_str() >= cursor);
        let mut entries = Vec::new();
        for (_, file) in left.by_ref().take(3) {
            if let Some((folder, _)) = file.path.rsplit_once('/').filter(|(folder, _)| !folder.is_empty()) {
                entries.push(json!({ ".tag": "folder", "name": folder.rsplit('/').next(), "id": "id:folder",
                    "path_lower": folder.to_lowercase(), "path_display": folder }));
            }
            let mut metadata = file.metadata();
            metadata[".tag"] = json!("file");
            entries.push(metadata);
        }
        let next = left.next().map(|(path, _)| path.clone());
        json!({ "entries": entries, "cursor": next.as_deref().unwrap_or("the end"), "has_more": next.is_some() })
    }

    pub fn open(&self, path: &Value) -> Option<(Value, Data)> {
        self.find(path).map(|file| (file.metadata(), file.data.clone()))
    }

    pub fn remove(&mut self, path: &Value) -> Option<Value> {
        let lower = self.find(path)?.path.to_lowercase();
        self.files.remove(&lower).map(|file| file.metadata())
    }

    /// Finds a file by id or path.
    fn find(&self, path: &Value) -> Option<&File> {
        let path = path.as_str().expect("a path");
        if path.starts_with("id:") {
            return self.files.values().find(|file| file.id == path);
        }
        self.files.get(&path.to_lowercase())
    }

    fn insert(&mut self, path: String, client_modified: String, data: Data) -> File {
        self.numbers += 1;
        let (id, rev) = (format!("id:a4ayc_80_OEAAAAAAAA{:04}", self.numbers), format!("a1c10ce{:05x}", self.numbers));
        let file = File { id, rev, path: path.clone(), client_modified, data };
        self.files.insert(path.to_lowercase(), file.clone());
        file
    }
}

impl File {
    fn metadata(&self) -> Value {
        json!({
            "name": self.path.rsplit('/').next(), "path_lower": self.path.to_lowercase(), "path_display": self.path,
            "id": self.id, "rev": self.rev, "client_modified": self.client_modified,
            "server_modified": "2026-11-21T15:50:38Z", "is_downloadable": true,
            "size": self.data.len(), "content_hash": self.data.sum().hex(),
        })
    }
}

fn name_fault(path: &str) -> Result<(), Refusal> {
    let Some(path) = path.strip_prefix('/') else { return Err(tagged("malformed_path")) };
    for name in path.split('/') {
        if matches!(name, "" | "." | "..") {
            return Err(tagged("malformed_path"));
        }
        if name.contains(['\\', '\u{7f}']) || name.ends_with(' ') || name.chars().count() > 255 {
            return Err(tagged("disallowed_name"));
        }
    }
    Ok(())
}

/// "Content hash": the SHA-256 of the SHA-256s of 4 MiB blocks, in hex.
#[derive(Clone, Debug, Default)]
pub struct ContentHash {
    all: Sha256,
    block: Sha256,
    filled: usize,
}

impl ContentHash {
    pub fn hex(&self) -> String {
        let mut all = self.all.clone();
        if self.filled > 0 {
            all.update(self.block.clone().finalize());
        }
        hex::encode(all.finalize())
    }
}

impl Sum for ContentHash {
    fn update(&mut self, data: &[u8]) {
        const BLOCK: usize = 4 << 20;
        let mut rest = data;
        while !rest.is_empty() {
            let taken = rest.len().min(BLOCK - self.filled);
            self.block.update(&rest[..taken]);
            self.filled += taken;
            rest = &rest[taken..];
            if self.filled == BLOCK {
                self.all.update(std::mem::take(&mut self.block).finalize());
                self.filled = 0;
            }
        }
    }
}
