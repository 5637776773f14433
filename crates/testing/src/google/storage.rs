//! Buckets ("Objects" in the JSON API reference of Cloud Storage).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use serde_json::{Map, Value, json};

use super::super::trouble::{Answer, Trouble, document, text, with};
use super::State;
use super::wire::{Asked, Data, failure, media, partial, saying};

/// All buckets.
#[derive(Debug, Default)]
pub struct Storage(BTreeMap<String, BTreeMap<String, Object>>);

#[derive(Debug, Clone)]
struct Object {
    generation: u64,
    content_type: String,
    metadata: Value,
    data: Data,
}

impl Storage {
    pub fn make_bucket(&mut self, bucket: &str) {
        self.0.insert(bucket.to_owned(), BTreeMap::new());
    }

    pub fn names(&self, bucket: &str) -> Vec<String> {
        self.0.get(bucket).map(|objects| objects.keys().cloned().collect()).unwrap_or_default()
    }

    pub fn overwrite(&mut self, bucket: &str, name: &str, data: Vec<u8>, generation: u64) {
        let object =
            Object { generation, content_type: "x/y".into(), metadata: json!({}), data: data.as_slice().into() };
        self.0.entry(bucket.to_owned()).or_default().insert(name.to_owned(), object);
    }
}

impl Object {
    fn resource(&self, bucket: &str, name: &str, trouble: Option<&Trouble>) -> Value {
        json!({
            "kind": "storage#object", "bucket": bucket, "name": name, "generation": self.generation.to_string(),
            "metageneration": "1", "contentType": self.content_type, "size": self.data.len().to_string(),
            "md5Hash": STANDARD.encode(self.md5(trouble)), "metadata": self.metadata, "timeCreated": "2026-01-02T03:04:05.678Z",
        })
    }

    /// Returns the MD5 to be reported, which is wrong for planned mistakes.
    fn md5(&self, trouble: Option<&Trouble>) -> md5::digest::Output<Md5> {
        if trouble == Some(&Trouble::Mistakes) { Md5::digest(b"wrong") } else { self.data.sum().md5() }
    }
}

/// Returns the error for an invalid upload, if any.
pub fn refuses(state: &State, asked: &Asked, metadata: &Map<String, Value>) -> Option<Answer> {
    let ["upload", "storage", "v1", "b", bucket, "o"] = asked.path.iter().map(String::as_str).collect::<Vec<_>>()[..]
    else {
        return Some(failure(404, "notFound"));
    };
    if !asked.only(&["uploadType", "ifGenerationMatch", "fields"]) {
        return Some(failure(400, "invalidParameter"));
    }
    let known = ["name", "contentType", "metadata", "md5Hash"];
    let Some(name) = metadata.get("name").and_then(Value::as_str).filter(|name| is_name(name)) else {
        return Some(failure(400, "invalid"));
    };
    if metadata.keys().any(|member| !known.contains(&member.as_str())) {
        return Some(failure(400, "invalid"));
    }
    let Some(objects) = state.storage.0.get(bucket) else { return Some(failure(404, "notFound")) };
    let must_be_free = asked.query("ifGenerationMatch") == Some("0");
    (must_be_free && objects.contains_key(name)).then(|| failure(412, "conditionNotMet"))
}

/// Creates an object and returns its resource.
pub fn make(
    state: &mut State,
    bucket: &str,
    metadata: &Map<String, Value>,
    data: Data,
    must_be_free: bool,
    trouble: Option<&Trouble>,
) -> Result<Value, Answer> {
    let md5 = STANDARD.encode(data.sum().md5());
    if metadata.get("md5Hash").and_then(Value::as_str).is_some_and(|given| given != md5) {
        return Err(failure(400, "invalid"));
    }
    let generation = state.next();
    let member = |member: &str| metadata.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
    let name = member("name");
    let objects = state.storage.0.get_mut(bucket).ok_or_else(|| failure(404, "notFound"))?;
    if must_be_free && objects.contains_key(&name) {
        return Err(failure(412, "conditionNotMet"));
    }
    let custom = metadata.get("metadata").cloned().unwrap_or_else(|| json!({}));
    let object = Object { generation, content_type: member("contentType"), metadata: custom, data };
    let resource = object.resource(bucket, &name, trouble);
    objects.insert(name, object);
    Ok(resource)
}

/// "Objects: list", three objects per page.
pub fn list(state: &State, asked: &Asked, bucket: &str) -> Answer {
    if !asked.only(&["fields", "maxResults", "pageToken"]) {
        return failure(400, "invalidParameter");
    }
    let Some(objects) = state.storage.0.get(bucket) else { return no_bucket() };
    let from = asked.query("pageToken").unwrap_or_default();
    let mut left = objects.iter().filter(|(name, _)| name.as_str() >= from);
    let items: Vec<Value> = left.by_ref().take(3).map(|(name, object)| object.resource(bucket, name, None)).collect();
    let mut page = json!({ "kind": "storage#objects" });
    if !items.is_empty() {
        page["items"] = items.into();
    }
    if let Some((name, _)) = left.next() {
        page["nextPageToken"] = name.as_str().into();
    }
    document(200, &page)
}

pub fn act(
    state: &mut State,
    route: &str,
    asked: &Asked,
    (bucket, name): (&str, &str),
    trouble: Option<&Trouble>,
) -> Answer {
    if !asked.only(&["alt", "fields", "ifGenerationMatch"]) {
        return failure(400, "invalidParameter");
    }
    // Errors of downloads are a sentence without the envelope.
    let is_download = route == "download";
    let Some(objects) = state.storage.0.get_mut(bucket) else {
        return if is_download { text(404, "The specified bucket does not exist.") } else { no_bucket() };
    };
    let Some(object) = objects.get(name) else {
        return if is_download { text(404, "No such object: canary-message") } else { failure(404, "notFound") };
    };
    if asked.query("ifGenerationMatch").is_some_and(|wanted| wanted != object.generation.to_string()) {
        let sentence = "At least one of the pre-conditions you specified did not hold.";
        return if is_download { text(412, sentence) } else { failure(412, "conditionNotMet") };
    }
    match route {
        "look" => partial(asked, object.resource(bucket, name, trouble)),
        "download" => {
            let answer = media(asked, &object.content_type, &object.data);
            let answer = with(answer, "x-goog-generation", &object.generation.to_string());
            let answer = with(answer, "x-goog-hash", "crc32c=AAAAAA==");
            with(answer, "x-goog-hash", &format!("md5={}", STANDARD.encode(object.md5(trouble))))
        }
        _ => {
            objects.remove(name);
            text(204, "")
        }
    }
}

fn no_bucket() -> Answer {
    document(404, &saying(404, "notFound", "The specified bucket does not exist."))
}

/// "Object naming requirements"
fn is_name(name: &str) -> bool {
    (1..=1024).contains(&name.len()) && !name.contains(['\r', '\n']) && name != "." && name != ".."
}
