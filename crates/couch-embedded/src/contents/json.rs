//! Converts documents between CouchDB's JSON and the engine.
//!
//! The engine's own parser and serializer do not preserve the order of members, so they are not used.

use http::StatusCode;
use rouchdb_core::document::{AttachmentMeta, Document, Revision};
use serde_json::{Map, Value};

use crate::contents::entries::{self, Bytes, Following, ORDER};
use crate::exchange::answer::Failure;
use crate::exchange::request::parse_rev;

/// Informational members that are not stored.
const TOLD: [&str; 5] = ["_revs_info", "_conflicts", "_deleted_conflicts", "_local_seq", "_revisions"];

/// Parses a complete document sent by a client. Its id is empty if none was given.
///
/// # Errors
/// 400 with CouchDB's reasons for invalid members.
pub(crate) fn parse(value: Value) -> Result<Document, Failure> {
    let (document, following) = parse_head(value)?;
    match following.first() {
        None => Ok(document),
        Some(one) => Err(Failure::bad_request(format!("Invalid attachment data for {}", one.name))),
    }
}

/// Parses a document sent by a client, and returns the attachments that follow it.
///
/// # Errors
/// As for [`parse`].
pub(crate) fn parse_head(value: Value) -> Result<(Document, Vec<Following>), Failure> {
    let Value::Object(members) = value else { return Err(Failure::bad_request("Document must be a JSON object")) };
    let mut document = Document::default();
    let mut data = Map::new();
    let mut revisions = None;
    let mut attachments = Map::new();
    for (name, value) in members {
        match (name.as_str(), value) {
            ("_id", Value::String(id)) if !id.is_empty() => document.id = id,
            ("_id", Value::String(_)) => return Err(illegal_id("Document id must not be empty")),
            ("_id", _) => return Err(illegal_id("Document id must be a string")),
            ("_rev", Value::String(rev)) => document.rev = Some(parse_rev(&rev)?),
            ("_rev", _) => return Err(Failure::bad_rev()),
            ("_deleted", Value::Bool(deleted)) => document.deleted = deleted,
            ("_attachments", Value::Object(entries)) => attachments = entries,
            ("_revisions", value) => revisions = Some(value),
            (told, _) if TOLD.contains(&told) => {}
            (special, _) if special.starts_with('_') || special == ORDER => return Err(Failure::validation(special)),
            (_, value) => {
                data.insert(name, value);
            }
        }
    }
    // The history takes precedence over `_rev`.
    if let Some(rev) = revisions.as_ref().and_then(newest) {
        document.rev = Some(rev);
    }
    document.data = Value::Object(data);
    let following = entries::parse(&mut document, attachments)?;
    // Appended last: the engine removes it again, which only preserves the order of the others at the end.
    if let (Some(members), Some(revisions)) = (document.data.as_object_mut(), revisions) {
        members.insert("_revisions".to_owned(), revisions);
    }
    Ok((document, following))
}

/// Returns the first of `_revisions`.
fn newest(revisions: &Value) -> Option<Revision> {
    let (start, id) = (revisions.get("start")?.as_u64()?, revisions.get("ids")?.get(0)?.as_str()?);
    format!("{start}-{id}").parse().ok()
}

pub(crate) fn illegal_id(reason: &'static str) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "illegal_docid", reason)
}

/// Rejects ids reserved by CouchDB.
pub(crate) fn check_id(id: &str) -> Result<(), Failure> {
    if id.is_empty() {
        return Err(illegal_id("Document id must not be empty"));
    }
    let special = id.starts_with("_design/") || id.starts_with("_local/");
    if id.starts_with('_') && !special {
        return Err(illegal_id("Only reserved document ids may start with underscore."));
    }
    if matches!(id, "_design/" | "_local/") {
        let reason = format!("Illegal document id `{id}`");
        return Err(Failure::new(StatusCode::BAD_REQUEST, "illegal_docid", reason));
    }
    Ok(())
}

/// Renders a document as CouchDB does: id, revision, members, requested history information, attachments.
pub(crate) fn render(document: Document) -> Value {
    render_as(document, Bytes::Inline).0
}

/// Like [`render`], choosing where attachment bytes go; also returns the attachments in order.
pub(crate) fn render_as(mut document: Document, bytes: Bytes) -> (Value, Vec<(String, AttachmentMeta)>) {
    let attachments = entries::take(&mut document);
    let Document { id, rev, deleted, data, .. } = document;
    let mut members = match data {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    let mut out = Map::with_capacity(members.len() + 4);
    out.insert("_id".into(), id.into());
    if let Some(rev) = rev {
        out.insert("_rev".into(), rev.to_string().into());
    }
    let told = ["_revisions", "_revs_info", "_conflicts", "_deleted_conflicts"];
    let told = told.map(|name| (name, members.get_mut(name).map(Value::take)));
    out.extend(members.into_iter().filter(|(name, _)| !name.starts_with('_')));
    if deleted {
        out.insert("_deleted".into(), true.into());
    }
    out.extend(told.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    if !attachments.is_empty() {
        let listed = attachments.iter().map(|(name, meta)| (name.clone(), entries::render(meta, bytes)));
        out.insert("_attachments".into(), Value::Object(listed.collect()));
    }
    (Value::Object(out), attachments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_keeps_the_order_of_its_members() {
        let text = r#"{"_id":"d","z":1,"_rev":"1-aa","a":{"y":1,"b":2},"m":[3]}"#;
        let document = parse(serde_json::from_str(text).unwrap()).unwrap();
        let expected = r#"{"_id":"d","_rev":"1-aa","z":1,"a":{"y":1,"b":2},"m":[3]}"#;
        assert_eq!(render(document).to_string(), expected);
    }

    #[test]
    fn wrong_special_members_are_refused() {
        let wrong = [
            json!([]),
            json!({"_id": ""}),
            json!({"_id": 1}),
            json!({"_rev": "zzz"}),
            json!({"_rev": 1}),
            json!({"_deleted": 1}),
            json!({"_foo": 1}),
            json!({"_attachments": []}),
            json!({"_attachments": {"a": {"follows": true, "length": 1}}}),
            json!({"\u{0}attachments": []}),
            json!({"_attachments": {"a": {}}}),
            json!({"_attachments": {"a": {"data": "*"}}}),
            json!({"_attachments": {"_a": {"data": ""}}}),
        ];
        for value in wrong {
            assert!(parse(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn attachments_keep_their_order() {
        let text = r#"{"_attachments":{"z":{"data":""},"a":{"data":""},"no object":1,"m":{"stub":true}}}"#;
        let document = parse(serde_json::from_str(text).unwrap()).unwrap();
        let shown = |document: &Document| {
            let shown = render(document.clone());
            assert_eq!(shown.as_object().unwrap().len(), 2, "{shown}");
            shown["_attachments"].as_object().unwrap().keys().cloned().collect::<String>()
        };
        assert_eq!(shown(&document), "zam");
        let mut changed = document;
        entries::insert(&mut changed, "m", AttachmentMeta::new("x/y", Vec::new()));
        assert_eq!(shown(&changed), "mza");
        assert!(entries::remove(&mut changed, "z").is_some() && entries::remove(&mut changed, "z").is_none());
        assert_eq!(shown(&changed), "ma");
    }

    #[test]
    fn base64_may_be_broken_into_lines() {
        let value = json!({"_attachments": {"a": {"data": "aGVs\r\nbG8="}}});
        let document = parse(value).unwrap();
        assert_eq!(document.attachments["a"].data.as_deref(), Some(b"hello".as_slice()));
    }
}
