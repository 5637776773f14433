//! Writes to the target: documents with attachments one by one, the others in batches.

use serde_json::{Value, json};

use super::document::Fetched;
use super::peer::{Peer, json as checked, path};

/// Why a document was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The target lacks the attachment a stub refers to.
    MissingStub,
    /// Any other response.
    Other(String),
}

/// Writes one document, with the bytes that follow it.
pub(super) async fn one(target: &Peer, document: &Fetched) -> Result<(), Refused> {
    let json = Value::Object(document.members.clone()).to_string();
    let (content_type, body) = if document.follows.is_empty() {
        ("application/json".to_owned(), json.into_bytes())
    } else {
        let boundary = uuid::Uuid::new_v4().simple().to_string();
        (format!("multipart/related; boundary=\"{boundary}\""), related(document, &json, &boundary))
    };
    let rest = format!("{}?new_edits=false", path(document.id()));
    let answer = target.ask("PUT", &rest, &[("Content-Type", &content_type)], &body).await;
    let what = format!("PUT {rest}");
    let said = checked(&answer, &[200, 201, 202, 412], &what).map_err(Refused::Other)?;
    if answer.status == 412 {
        let missing = said["error"] == "missing_stub";
        return Err(if missing { Refused::MissingStub } else { Refused::Other(format!("{what}: {said}")) });
    }
    if said["rev"] != document.rev() {
        return Err(Refused::Other(format!("{what}: {said} for {}", document.rev())));
    }
    Ok(())
}

/// Builds the body as CouchDB does: names are not encoded, and nothing follows the last boundary.
fn related(document: &Fetched, json: &str, boundary: &str) -> Vec<u8> {
    let mut body = format!("--{boundary}\r\nContent-Type: application/json\r\n\r\n{json}\r\n--{boundary}").into_bytes();
    for following in &document.follows {
        let entry = &document.members["_attachments"][&following.name];
        let text = |member: &str| entry[member].as_str();
        let mut head = format!(
            "\r\nContent-Disposition: attachment; filename=\"{}\"\r\nContent-Type: {}\r\nContent-Length: {}\r\n",
            following.name,
            text("content_type").unwrap_or_default(),
            following.encoded.len(),
        );
        if let Some(encoding) = text("encoding") {
            head.push_str(&format!("Content-Encoding: {encoding}\r\n"));
        }
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(b"\r\n");
        body.extend_from_slice(&following.encoded);
        body.extend_from_slice(format!("\r\n--{boundary}").as_bytes());
    }
    body.extend_from_slice(b"--");
    body
}

/// Writes documents without attachments; returns the target's errors.
pub(super) async fn many(target: &Peer, documents: &[Fetched]) -> Result<Vec<Value>, String> {
    if documents.is_empty() {
        return Ok(Vec::new());
    }
    let docs: Vec<_> = documents.iter().map(|document| Value::Object(document.members.clone())).collect();
    let body = json!({ "new_edits": false, "docs": docs }).to_string();
    let headers = [("Content-Type", "application/json"), ("X-Couch-Full-Commit", "false")];
    let answer = target.ask("POST", "/_bulk_docs", &headers, body.as_bytes()).await;
    let said = checked(&answer, &[201], "POST /_bulk_docs")?;
    let refused = said.as_array().ok_or_else(|| format!("POST /_bulk_docs: {said} is no list"))?;
    // With new_edits=false, only errors are reported.
    if let Some(other) = refused.iter().find(|one| one.get("error").is_none()) {
        return Err(format!("POST /_bulk_docs: {other} among the errors"));
    }
    Ok(refused.clone())
}
