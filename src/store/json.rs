//! Documents between CouchDB's JSON and the engine.
//!
//! The engine's own parser and printer lose the order of members, so they are not used.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use rouchdb_core::document::{AttachmentMeta, Document};
use serde_json::{Map, Value};

use super::answer::Failure;

/// Members that tell about a document and are not stored.
const TOLD: [&str; 5] = ["_revs_info", "_conflicts", "_deleted_conflicts", "_local_seq", "_revisions"];

/// A document as a client sent it. Its id is empty when it named none.
///
/// # Errors
///
/// 400 with CouchDB's reasons for members that are not what they have to be.
pub(super) fn parse(value: Value) -> Result<Document, Failure> {
    let Value::Object(members) = value else {
        return Err(Failure::bad_request("Document must be a JSON object"));
    };
    let mut document = Document::default();
    let mut data = Map::new();
    let mut revisions = None;
    for (name, value) in members {
        match (name.as_str(), value) {
            ("_id", Value::String(id)) if !id.is_empty() => document.id = id,
            ("_id", Value::String(_)) => return Err(illegal_id("Document id must not be empty")),
            ("_id", _) => return Err(illegal_id("Document id must be a string")),
            ("_rev", Value::String(rev)) => {
                document.rev = Some(rev.parse().map_err(|_| Failure::bad_rev())?);
            }
            ("_rev", _) => return Err(Failure::bad_rev()),
            ("_deleted", Value::Bool(deleted)) => document.deleted = deleted,
            ("_attachments", Value::Object(attachments)) => {
                document.attachments = parse_attachments(attachments)?;
            }
            ("_revisions", value) => revisions = Some(value),
            (told, _) if TOLD.contains(&told) => {}
            (special, _) if special.starts_with('_') => return Err(Failure::validation(special)),
            (_, value) => {
                data.insert(name, value);
            }
        }
    }
    // Last: the engine takes it out again, and only from the end does that keep the order of the others.
    data.extend(revisions.map(|revisions| ("_revisions".to_owned(), revisions)));
    document.data = Value::Object(data);
    Ok(document)
}

pub(super) fn illegal_id(reason: &'static str) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "illegal_docid", reason)
}

/// Refuses ids that only CouchDB itself may use.
pub(super) fn check_id(id: &str) -> Result<(), Failure> {
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

/// Refuses names that CouchDB keeps for itself.
pub(super) fn check_attachment_name(name: &str) -> Result<(), Failure> {
    if name.starts_with('_') {
        let reason = format!("Attachment name '{name}' starts with prohibited character '_'");
        return Err(Failure::bad_request(reason));
    }
    Ok(())
}

fn parse_attachments(attachments: Map<String, Value>) -> Result<HashMap<String, AttachmentMeta>, Failure> {
    let mut parsed = HashMap::with_capacity(attachments.len());
    for (name, value) in attachments {
        check_attachment_name(&name)?;
        let Value::Object(members) = value else {
            return Err(Failure::validation("_attachments"));
        };
        let meta = parse_attachment(&name, &members)?;
        parsed.insert(name, meta);
    }
    Ok(parsed)
}

fn parse_attachment(name: &str, members: &Map<String, Value>) -> Result<AttachmentMeta, Failure> {
    let invalid = || Failure::bad_request(format!("Invalid attachment data for {name}"));
    let text = |key| members.get(key).and_then(Value::as_str);
    let number = |key| members.get(key).and_then(Value::as_u64);
    let content_type = text("content_type").unwrap_or("application/octet-stream");
    let revpos = number("revpos").unwrap_or(0);
    if members.get("stub") == Some(&Value::Bool(true)) {
        return Ok(AttachmentMeta {
            content_type: content_type.to_owned(),
            revpos,
            digest: text("digest").unwrap_or_default().to_owned(),
            length: number("length").unwrap_or(0),
            stub: true,
            ..AttachmentMeta::default()
        });
    }
    let data = text("data").ok_or_else(invalid)?;
    let data = match STANDARD.decode(data) {
        Ok(data) => data,
        // CouchDB passes over white space; most senders put none in.
        Err(_) => {
            let dense: String = data.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            STANDARD.decode(dense).map_err(|_| invalid())?
        }
    };
    Ok(AttachmentMeta { revpos, ..AttachmentMeta::new(content_type, data) })
}

/// A document as CouchDB prints it: id, revision, members, what was asked about its history, attachments.
pub(super) fn render(document: Document) -> Value {
    let Document { id, rev, deleted, data, attachments } = document;
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
        let mut listed: Vec<_> = attachments.into_iter().collect();
        listed.sort_by(|(one, _), (other, _)| one.cmp(other));
        let listed = listed.into_iter().map(|(name, meta)| (name, render_attachment(meta)));
        out.insert("_attachments".into(), Value::Object(listed.collect()));
    }
    Value::Object(out)
}

fn render_attachment(meta: AttachmentMeta) -> Value {
    let mut out = Map::new();
    out.insert("content_type".into(), meta.content_type.into());
    out.insert("revpos".into(), meta.revpos.into());
    out.insert("digest".into(), meta.digest.into());
    match meta.data {
        Some(data) => {
            out.insert("data".into(), STANDARD.encode(data).into());
        }
        None => {
            out.insert("length".into(), meta.length.into());
            out.insert("stub".into(), true.into());
        }
    }
    Value::Object(out)
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
            json!({"_attachments": {"a": 1}}),
            json!({"_attachments": {"a": {}}}),
            json!({"_attachments": {"a": {"data": "*"}}}),
            json!({"_attachments": {"_a": {"data": ""}}}),
        ];
        for value in wrong {
            assert!(parse(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn base64_may_be_broken_into_lines() {
        let value = json!({"_attachments": {"a": {"data": "aGVs\r\nbG8="}}});
        let document = parse(value).unwrap();
        assert_eq!(document.attachments["a"].data.as_deref(), Some(b"hello".as_slice()));
    }
}
