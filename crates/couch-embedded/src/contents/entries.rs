//! The `_attachments` of a document: parsing, ordering and rendering.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rouchdb_core::document::{AttachmentMeta, Document};
use serde_json::{Map, Value};
use stowage_http::base64::erlang;

use crate::exchange::answer::Failure;

/// Internal member of a stored document that records the order of its attachments, which the engine does not preserve. It is never
/// shown to clients, and they must not send it.
pub(crate) const ORDER: &str = "\u{0}attachments";

/// An attachment whose bytes follow the document in a part of their own (`"follows": true`).
#[derive(Debug)]
pub(crate) struct Following {
    pub(crate) name: String,
    /// Number of bytes that follow; in gzipped form if `gzip` is set.
    pub(crate) length: u64,
    pub(crate) gzip: bool,
    /// The MD5 of the bytes that follow, in CouchDB's format, if announced.
    pub(crate) digest: Option<String>,
}

/// Rejects names reserved by CouchDB.
pub(crate) fn check_attachment_name(name: &str) -> Result<(), Failure> {
    if name.starts_with('_') {
        let reason = format!("Attachment name '{name}' starts with prohibited character '_'");
        return Err(Failure::bad_request(reason));
    }
    Ok(())
}

/// Adds the `_attachments` sent by a client to `document`, and returns those whose bytes follow.
///
/// # Errors
/// 400 with CouchDB's reasons.
pub(crate) fn parse(document: &mut Document, entries: Map<String, Value>) -> Result<Vec<Following>, Failure> {
    let mut names = Vec::with_capacity(entries.len());
    let mut following = Vec::new();
    for (name, entry) in entries {
        // CouchDB ignores entries that are not objects.
        let Value::Object(members) = entry else { continue };
        check_attachment_name(&name)?;
        let meta = parse_entry(&name, &members, &mut following)?;
        names.push(name.clone());
        document.attachments.insert(name, meta);
    }
    set_order(document, names);
    Ok(following)
}

fn parse_entry(
    name: &str,
    members: &Map<String, Value>,
    following: &mut Vec<Following>,
) -> Result<AttachmentMeta, Failure> {
    let invalid = || Failure::bad_request(format!("Invalid attachment data for {name}"));
    let text = |key| members.get(key).and_then(Value::as_str);
    let number = |key| members.get(key).and_then(Value::as_u64);
    let is = |key| members.get(key) == Some(&Value::Bool(true));
    let meta = AttachmentMeta {
        content_type: text("content_type").unwrap_or("application/octet-stream").to_owned(),
        revpos: members
            .get("revpos")
            .map_or(0, |said| generation(said).unwrap_or_else(|| if is("stub") { u64::MAX } else { 0 })),
        ..AttachmentMeta::default()
    };
    if is("stub") {
        let digest = text("digest").unwrap_or_default().to_owned();
        return Ok(AttachmentMeta { digest, length: number("length").unwrap_or(0), stub: true, ..meta });
    }
    if is("follows") {
        let gzip = text("encoding") == Some("gzip");
        let length = number("encoded_length").filter(|_| gzip).or_else(|| number("length")).ok_or_else(invalid)?;
        let digest = text("digest").map(str::to_owned);
        following.push(Following { name: name.to_owned(), length, gzip, digest });
        return Ok(meta);
    }
    let data = match members.get("data") {
        Some(Value::String(text)) => erlang(text.as_bytes()),
        // To Erlang, a list of bytes is a string.
        Some(list) => serde_json::from_value(list.clone()).ok().and_then(|bytes: Vec<u8>| erlang(&bytes)),
        None => None,
    };
    let data = data.ok_or_else(invalid)?;
    Ok(AttachmentMeta { revpos: meta.revpos, ..AttachmentMeta::new(meta.content_type, data) })
}

/// Parses a generation, including one written as a float: in Erlang, `1 == 1.0`. With any other value, a stub matches nothing.
fn generation(said: &Value) -> Option<u64> {
    let text = said.to_string();
    text.strip_suffix(".0").unwrap_or(&text).parse().ok()
}

/// Returns the names of a document's attachments in order. Those without a recorded order come last, by name.
fn names(order: Option<&Value>, attachments: &HashMap<String, AttachmentMeta>) -> Vec<String> {
    let told = order.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let mut names: Vec<String> = told.filter(|name| attachments.contains_key(*name)).map(str::to_owned).collect();
    let mut rest: Vec<_> = attachments.keys().filter(|name| !names.contains(name)).cloned().collect();
    rest.sort();
    names.extend(rest);
    names
}

fn set_order(document: &mut Document, names: Vec<String>) {
    let Some(members) = document.data.as_object_mut() else { return };
    members.shift_remove(ORDER);
    if !names.is_sorted() {
        members.insert(ORDER.to_owned(), names.into());
    }
}

/// Adds or replaces an attachment; it becomes the first, as in CouchDB.
pub(crate) fn insert(document: &mut Document, name: &str, meta: AttachmentMeta) {
    let mut order = names(document.data.get(ORDER), &document.attachments);
    order.retain(|other| other != name);
    order.insert(0, name.to_owned());
    document.attachments.insert(name.to_owned(), meta);
    set_order(document, order);
}

/// Removes an attachment; `None` if it does not exist.
pub(crate) fn remove(document: &mut Document, name: &str) -> Option<AttachmentMeta> {
    let removed = document.attachments.remove(name)?;
    let order = names(document.data.get(ORDER), &document.attachments);
    set_order(document, order);
    Some(removed)
}

/// Where to render the bytes of attachments that were read with the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// In the JSON, as base64.
    Inline,
    /// After the JSON.
    Follow,
}

/// Takes the attachments out of a document, in order.
pub(crate) fn take(document: &mut Document) -> Vec<(String, AttachmentMeta)> {
    let order = document.data.as_object_mut().and_then(|members| members.shift_remove(ORDER));
    let names = names(order.as_ref(), &document.attachments);
    names.into_iter().filter_map(|name| document.attachments.remove_entry(&name)).collect()
}

/// Renders an entry of `_attachments`; a stub if the bytes were not read.
pub(crate) fn render(meta: &AttachmentMeta, bytes: Bytes) -> Value {
    let mut out = Map::new();
    out.insert("content_type".into(), meta.content_type.clone().into());
    out.insert("revpos".into(), meta.revpos.into());
    out.insert("digest".into(), meta.digest.clone().into());
    match &meta.data {
        Some(data) if bytes == Bytes::Inline => {
            out.insert("data".into(), STANDARD.encode(data).into());
        }
        data => {
            out.insert("length".into(), meta.length.into());
            out.insert(if data.is_some() { "follows" } else { "stub" }.into(), true.into());
        }
    }
    Value::Object(out)
}
