//! Replicated revisions, and CouchDB's checks of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use serde_json::{Map, Value};

use super::multipart::{Part, parts};

/// The members with an underscore that CouchDB accepts in a document; any other is a `doc_validation` error.
const SPECIAL: [&str; 8] =
    ["_attachments", "_conflicts", "_deleted", "_deleted_conflicts", "_id", "_local_seq", "_rev", "_revisions"];

/// A revision with its attachments.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub members: Map<String, Value>,
    /// The bytes that follow, in the order of the entries.
    pub follows: Vec<Following>,
}

/// An attachment's bytes as sent.
#[derive(Clone, Debug)]
pub struct Following {
    pub name: String,
    pub encoded: Vec<u8>,
}

impl Fetched {
    /// Parses a document without attachment bytes.
    ///
    /// # Errors
    /// If CouchDB would reject it.
    pub fn alone(document: &Value) -> Result<Self, String> {
        let members = document.as_object().ok_or("a document has to be an object")?.clone();
        check(&members)?;
        for (name, entry) in attachments(&members) {
            if entry.get("follows").is_some() {
                return Err(format!("{name:?} does not follow"));
            }
        }
        Ok(Self { members, follows: Vec::new() })
    }

    /// Parses a document as multipart/related: its JSON first, then the attachments that follow.
    ///
    /// # Errors
    /// If CouchDB would reject it.
    pub fn related(content_type: &str, body: &[u8]) -> Result<Self, String> {
        let all = parts(content_type, "multipart/related", body)?;
        let (first, rest) = all.split_first().ok_or("no document")?;
        if first.header("content-type") != Some("application/json") {
            return Err(format!("a document cannot be {:?}", first.header("content-type")));
        }
        let document: Value = serde_json::from_slice(&first.body).map_err(|error| error.to_string())?;
        let members = document.as_object().ok_or("a document has to be an object")?.clone();
        check(&members)?;
        let expected: Vec<_> = attachments(&members).filter(|(_, entry)| entry.get("follows").is_some()).collect();
        if expected.len() != rest.len() {
            return Err(format!("{} attachments should follow, {} do", expected.len(), rest.len()));
        }
        let mut follows = Vec::new();
        for ((name, entry), part) in expected.into_iter().zip(rest) {
            verify(name, entry, part)?;
            follows.push(Following { name: name.clone(), encoded: part.body.clone() });
        }
        Ok(Self { members, follows })
    }

    pub fn id(&self) -> &str {
        self.members["_id"].as_str().unwrap_or_default()
    }

    pub fn rev(&self) -> &str {
        self.members["_rev"].as_str().unwrap_or_default()
    }

    /// Returns whether it has attachments.
    pub fn has_attachments(&self) -> bool {
        attachments(&self.members).next().is_some()
    }
}

pub(super) fn attachments(members: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    members.get("_attachments").and_then(Value::as_object).into_iter().flatten()
}

/// Checks a replicated document's members like CouchDB.
fn check(members: &Map<String, Value>) -> Result<(), String> {
    if let Some(name) = members.keys().find(|name| name.starts_with('_') && !SPECIAL.contains(&name.as_str())) {
        return Err(format!("Bad special document member: {name}"));
    }
    let text = |name: &str| members.get(name).and_then(Value::as_str).ok_or_else(|| format!("no {name}"));
    let (id, rev) = (text("_id")?, text("_rev")?);
    let (generation, hash) = revision(rev)?;
    let path = &members.get("_revisions").ok_or_else(|| format!("{id}: no _revisions, which revs=true asks for"))?;
    let ids: Vec<&str> = path["ids"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if path["start"].as_u64() != Some(generation) || ids.first() != Some(&hash) {
        return Err(format!("{id}: the revisions {path} do not lead to {rev}"));
    }
    if ids.len() as u64 > generation || ids.iter().any(|id| !is_hash(id)) {
        return Err(format!("{id}: {path} is no path of revisions"));
    }
    if let Some(entries) = members.get("_attachments") {
        let entries = entries.as_object().ok_or("Bad special document member: _attachments")?;
        for (name, entry) in entries {
            check_entry(name, entry, generation).map_err(|why| format!("{id}: {why}"))?;
        }
    }
    Ok(())
}

fn check_entry(name: &str, entry: &Value, generation: u64) -> Result<(), String> {
    if name.starts_with('_') {
        return Err(format!("Attachment name '{name}' starts with prohibited character '_'"));
    }
    let kinds = ["stub", "follows", "data"].into_iter().filter(|kind| entry.get(*kind).is_some());
    let kinds: Vec<_> = kinds.collect();
    let [kind] = kinds.as_slice() else {
        return Err(format!("{name:?} has to be one of a stub, data, or bytes that follow: {entry}"));
    };
    let whole = match *kind {
        "data" => entry["data"].as_str().is_some_and(|data| STANDARD.decode(data).is_ok()),
        kind => entry[kind] == true,
    };
    let told = ["content_type", "digest"].into_iter().all(|member| entry[member].is_string());
    let length = *kind == "data" || entry["length"].is_u64();
    if !whole || !told || !length || entry.get("encoding").is_some() != entry.get("encoded_length").is_some() {
        return Err(format!("{name:?} is not described as CouchDB does it: {entry}"));
    }
    // CouchDB reports 0 if a client with new_edits=false sent none.
    match entry["revpos"].as_u64() {
        Some(revpos) if revpos <= generation => Ok(()),
        revpos => Err(format!("{name:?} of generation {generation} cannot be of {revpos:?}")),
    }
}

/// Compares a part with the entry that announced it: name, type, encoding, length, and digest of the bytes as sent.
fn verify(name: &str, entry: &Value, part: &Part) -> Result<(), String> {
    let disposition = format!("attachment; filename=\"{name}\"");
    if part.header("content-disposition") != Some(&disposition) {
        return Err(format!("{:?} where {name:?} should be", part.header("content-disposition")));
    }
    if part.header("content-type") != entry["content_type"].as_str() {
        return Err(format!("{name:?} is {:?}, and not {}", part.header("content-type"), entry["content_type"]));
    }
    if part.header("content-encoding") != entry.get("encoding").and_then(Value::as_str) {
        return Err(format!("{name:?}: Content-Encoding {:?} for {entry}", part.header("content-encoding")));
    }
    if part.header("content-length").is_none() {
        return Err(format!("{name:?} does not say how long it is"));
    }
    let length = entry.get("encoded_length").unwrap_or_else(|| &entry["length"]);
    if length.as_u64() != Some(part.body.len() as u64) {
        return Err(format!("{name:?} has {} bytes instead of {length}", part.body.len()));
    }
    let digest = format!("md5-{}", STANDARD.encode(Md5::digest(&part.body)));
    if entry["digest"] != digest.as_str() {
        return Err(format!("{name:?} hashes to {digest}, and not to {}", entry["digest"]));
    }
    Ok(())
}

/// Splits a revision into generation and hash.
pub(super) fn revision(rev: &str) -> Result<(u64, &str), String> {
    let parts = rev.split_once('-').and_then(|(generation, hash)| Some((generation.parse().ok()?, hash)));
    parts.filter(|(generation, hash)| *generation > 0 && is_hash(hash)).ok_or_else(|| format!("{rev:?} is no revision"))
}

fn is_hash(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
