//! Calls to Dropbox's API, with arguments in a header or as JSON, and its error responses.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use stowage_base::tasks::Tasks;

use crate::engine::api::{Api, Call, Fault, Lost, Reply, Vendor, by_status};
use crate::engine::endpoint::Endpoint;
use crate::oauth::{Authorized, Key, Subject};
use crate::{Context, Error, Kind, Result};

/// The endpoints for uploads and downloads, and for all other calls.
pub(super) const ENDPOINTS: &[(&str, &str)] =
    &[(CONTENT, "https://content.dropboxapi.com"), (API, "https://api.dropboxapi.com")];
const CONTENT: &str = "dropbox_content";
const API: &str = "dropbox_api";

static DROPBOX: Vendor = Vendor { name: "Dropbox", fails: by_status, fault };

/// A user's Dropbox as accessed with one grant.
#[derive(Debug)]
pub(super) struct Account {
    /// The storage's id in the plan.
    pub(super) id: String,
    pub(super) tasks: Tasks,
    pub(super) authorized: Authorized,
    content: Endpoint,
    rpc: Endpoint,
}

/// File metadata: `FileMetadata` (`files.stone` of `dropbox/dropbox-api-spec`).
#[derive(Debug, Clone, Deserialize)]
pub(super) struct File {
    pub(super) id: String,
    /// Changes with every revision of the file.
    pub(super) rev: String,
    pub(super) size: u64,
    pub(super) content_hash: Option<String>,
    pub(super) client_modified: String,
}

impl Account {
    pub(super) fn open(id: &str, grant: String, context: &Context) -> Result<Self> {
        let endpoints = &context.options.endpoints;
        let (content, rpc) = (Endpoint::read(endpoints.get(CONTENT))?, Endpoint::read(endpoints.get(API))?);
        let api = Api::new(&DROPBOX, context.client.clone(), vec![content.origin.clone(), rpc.origin.clone()]);
        let key = Key { subject: Subject::Document(grant), scope: SCOPE, endpoint: None };
        let authorized = Authorized::new(api, context.oauth.clone(), key);
        Ok(Self { id: id.to_owned(), tasks: context.tasks.clone(), authorized, content, rpc })
    }

    /// Uploads bytes, with the arguments in a header.
    pub(super) async fn upload(&self, route: &str, argument: &Value, data: Bytes) -> std::result::Result<Reply, Lost> {
        let call = self.content_call(Method::POST, route, argument)?;
        self.authorized.ask(&call.body(HeaderValue::from_static("application/octet-stream"), data)).await
    }

    /// Builds a call that downloads a file.
    pub(super) fn download(&self, argument: &Value) -> Result<Call> {
        // Content-download endpoints support ranges with GET, according to their documentation.
        Ok(self.content_call(Method::GET, "download", argument)?.object())
    }

    /// Returns the file at a path; `None` if there is none, or a folder.
    pub(super) async fn head(&self, path: &str) -> Result<Option<File>> {
        let reply = self.rpc("get_metadata", &json!({ "path": path })).await?;
        if reply.code() == "path/not_found" {
            return Ok(None);
        }
        let reply = reply.done("look for an object")?;
        let found: Value = reply.json()?;
        if found.get(".tag").and_then(Value::as_str) != Some("file") {
            return Ok(None);
        }
        reply.json().map(Some)
    }

    /// Returns whether a path is certainly free: an inconclusive response is not a yes.
    ///
    /// # Errors
    /// Returns an error if Dropbox cannot be queried now, and `Refused` for an invalid path.
    pub(super) async fn is_free(&self, path: &str) -> Result<bool> {
        let reply = self.rpc("get_metadata", &json!({ "path": path })).await?;
        let refusal = || reply.refusal("look for an object");
        match reply.code() {
            "path/not_found" => Ok(true),
            "path/malformed_path" => Err(refusal()),
            _ if reply.is_done() || refusal().kind() != Kind::Passing => Ok(false),
            _ => Err(refusal()),
        }
    }

    /// Removes the file of an id or path, which may be gone already.
    pub(super) async fn remove(&self, file: &str) -> Result<()> {
        let reply = self.rpc("delete_v2", &json!({ "path": file })).await?;
        if reply.is_done() || reply.code() == "path_lookup/not_found" {
            return Ok(());
        }
        Err(reply.refusal("remove an object"))
    }

    /// Makes an RPC call, whose arguments are its body.
    pub(super) async fn rpc(&self, route: &str, argument: &Value) -> std::result::Result<Reply, Lost> {
        let call = self.rpc.call(Method::POST, &format!("/2/files/{route}"));
        let json = HeaderValue::from_static("application/json");
        self.authorized.ask(&call.body(json, argument.to_string())).await
    }

    fn content_call(&self, method: Method, route: &str, argument: &Value) -> Result<Call> {
        let argument = HeaderValue::from_str(&ascii(argument))
            .map_err(|_| Error::new(Kind::Refused, "a name that cannot stand in a request"))?;
        Ok(self.content.call(method, &format!("/2/files/{route}")).header(ARGUMENT, argument))
    }
}

/// An opened account, shared by tasks.
pub(super) type Shared = Arc<Account>;

/// Encodes JSON for a header: everything except printable ASCII is escaped, including DEL (`dropbox.com/developers/reference/json-encoding`).
fn ascii(value: &Value) -> String {
    let mut text = String::new();
    for character in value.to_string().chars() {
        if matches!(character, ' '..='~') {
            text.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text
}

/// Returns the tags of an error from the outermost inwards, as `path/conflict/file`; after `incorrect_offset`, the correct offset.
///
/// Dropbox responds with 409 to everything that a route may refuse; the tags give the reason (`files.stone`, `auth.stone`, and the "Error handling
/// guide"). `error_summary` contains the same words, plus dots that discourage parsing. Responses with 400 and 5xx are plain sentences. Every 5xx is
/// an error of Dropbox's servers ("Errors by status code").
fn fault(status: StatusCode, text: &[u8]) -> Fault {
    let document: Value = serde_json::from_slice(text).unwrap_or_default();
    let mut words: Vec<String> = Vec::new();
    let mut at = document.get("error");
    while let Some(union) = at.filter(|_| words.len() < DEEPEST) {
        let tag = union.get(".tag").and_then(Value::as_str).filter(|tag| is_word(tag));
        words.extend(tag.map(str::to_owned));
        words.extend(union.get("correct_offset").and_then(Value::as_u64).map(|offset| offset.to_string()));
        // A struct inside a union is inlined next to the tag; those of uploads and rate limits are in `reason`.
        at = tag.and_then(|tag| union.get(tag)).or_else(|| union.get("reason")).filter(|inner| inner.is_object());
    }
    let limited = words.iter().any(|word| word == "too_many_write_operations" || word == "too_many_requests");
    // `RateLimitError` repeats the `Retry-After` header, which proxies may drop.
    let pause = document.pointer("/error/retry_after").and_then(Value::as_u64).map(Duration::from_secs);
    Fault { code: words.join("/"), passes: limited || status.is_server_error(), pause }
}

fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// The scopes that a grant needs.
const SCOPE: &str = "files.metadata.read files.content.read files.content.write";
const ARGUMENT: HeaderName = HeaderName::from_static("dropbox-api-arg");
/// The maximum depth of an error in the specification.
const DEEPEST: usize = 6;

#[cfg(test)]
#[expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]
mod tests {
    use http::StatusCode;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{ascii, fault};

    fn code(error: Value) -> (String, bool) {
        let fault =
            fault(StatusCode::CONFLICT, json!({"error_summary": "x/..", "error": error}).to_string().as_bytes());
        (fault.code, fault.passes)
    }

    #[test]
    fn refusals_are_told_by_their_tags() {
        let conflict = json!({".tag": "conflict", "conflict": {".tag": "file"}});
        for (error, expected, passes) in [
            (json!({".tag": "path", "path": {".tag": "not_found"}}), "path/not_found", false),
            (json!({".tag": "path", "reason": conflict, "upload_session_id": "s"}), "path/conflict/file", false),
            (json!({".tag": "path", "path": conflict}), "path/conflict/file", false),
            (
                json!({".tag": "path", "reason": {".tag": "too_many_write_operations"}}),
                "path/too_many_write_operations",
                true,
            ),
            (json!({".tag": "too_many_write_operations"}), "too_many_write_operations", true),
            (json!({"reason": {".tag": "too_many_requests"}, "retry_after": 3}), "too_many_requests", true),
            (json!({".tag": "path", "reason": {".tag": "insufficient_space"}}), "path/insufficient_space", false),
            (json!({".tag": "incorrect_offset", "correct_offset": 77}), "incorrect_offset/77", false),
            (
                json!({".tag": "lookup_failed", "lookup_failed": {".tag": "incorrect_offset", "correct_offset": 7}}),
                "lookup_failed/incorrect_offset/7",
                false,
            ),
            (
                json!({".tag": "path", "path": {".tag": "malformed_path", "malformed_path": "/mine"}}),
                "path/malformed_path",
                false,
            ),
            (json!({".tag": "Not A Word"}), "", false),
        ] {
            assert_eq!(code(error), (expected.to_owned(), passes));
        }
        assert_eq!(fault(StatusCode::BAD_REQUEST, b"Error in call to API function").code, "");
    }

    #[test]
    fn a_fault_of_dropbox_passes_and_a_limit_says_how_long() {
        for status in [500, 502, 503, 504, 507, 599] {
            assert!(fault(StatusCode::from_u16(status).unwrap(), b"<html>").passes, "{status}");
        }
        let limit = json!({"error_summary": "x", "error": {"reason": {".tag": "too_many_requests"}, "retry_after": 3}});
        let limit = fault(StatusCode::TOO_MANY_REQUESTS, limit.to_string().as_bytes());
        assert_eq!(limit.pause.map(|pause| pause.as_secs()), Some(3));
    }

    #[test]
    fn arguments_are_printable_ascii() {
        assert_eq!(ascii(&json!({"path": "/ü 日\u{7f}\n😀"})), r#"{"path":"/\u00fc \u65e5\u007f\n\ud83d\ude00"}"#);
    }

    proptest! {
        #[test]
        fn arguments_mean_what_they_say(text in any::<String>()) {
            let value = json!({ "path": text });
            let header = ascii(&value);
            prop_assert!(header.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(serde_json::from_str::<Value>(&header).unwrap(), value);
        }
    }
}
