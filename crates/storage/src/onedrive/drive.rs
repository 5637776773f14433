//! Calls to Microsoft Graph about the files of one drive.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use stowage_base::tasks::Tasks;

use super::names;
use crate::engine::api::{Api, Call, Fault, Lost, Reply, Vendor, by_status};
use crate::engine::endpoint::Endpoint;
use crate::oauth::{Authorized, Key, Subject};
use crate::{Budget, Context, Error, Kind, Result};

pub(super) const ENDPOINTS: &[(&str, &str)] = &[(GRAPH, "https://graph.microsoft.com")];
const GRAPH: &str = "graph";

static ONEDRIVE: Vendor = Vendor { name: "OneDrive", fails: by_status, fault, header: None };

/// The drive of the user who gave the grant.
#[derive(Debug)]
pub(super) struct Drive {
    /// The storage's id in the plan.
    pub(super) id: String,
    pub(super) tasks: Tasks,
    pub(super) budget: Budget,
    authorized: Authorized,
    graph: Endpoint,
}

/// An opened drive that tasks share.
pub(super) type Shared = Arc<Drive>;

/// `driveItem` (`learn.microsoft.com/graph/api/resources/driveitem`).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item {
    pub(super) id: String,
    #[serde(default)]
    pub(super) size: u64,
    /// Quoted, as in an `ETag` header.
    pub(super) e_tag: Option<String>,
    #[serde(default)]
    pub(super) parent_reference: Parent,
    /// There is none for a folder.
    pub(super) file: Option<File>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Parent {
    pub(super) drive_id: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct File {
    #[serde(default)]
    pub(super) hashes: Option<Hashes>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hashes {
    pub(super) quick_xor_hash: Option<String>,
}

impl Item {
    /// Its drive's id and its own.
    pub(super) fn place(&self) -> Result<(&str, &str)> {
        let nowhere = || Error::new(Kind::Refused, "OneDrive did not say where it stored an object");
        Ok((self.parent_reference.drive_id.as_deref().ok_or_else(nowhere)?, &self.id))
    }
}

impl Drive {
    pub(super) fn open(id: &str, grant: String, context: &Context) -> Result<Self> {
        let graph = Endpoint::read(context.options.endpoints.get(GRAPH))?;
        let api = Api::new(&ONEDRIVE, context.client.clone(), vec![graph.origin.clone()]);
        let key = Key { subject: Subject::Document(grant), scope: SCOPE, endpoint: None };
        Ok(Self {
            id: id.to_owned(),
            tasks: context.tasks.clone(),
            budget: context.budget.clone(),
            authorized: Authorized::new(api, context.oauth.clone(), key),
            graph,
        })
    }

    /// The URL of a name, for people.
    pub(super) fn url(&self, name: &str) -> String {
        self.graph.url(&format!("/v1.0/me/drive/root:/{}", names::path(name)))
    }

    /// A call about what is, or will be, at a name; `action` follows the path, with the colon that ends it.
    pub(super) fn at(&self, method: Method, name: &str, action: &str) -> Call {
        self.graph.call(method, &format!("/v1.0/me/drive/root:/{}{action}", names::path(name)))
    }

    /// A call about an item; the ids are what `is_id` takes, so nothing in them has to be escaped.
    pub(super) fn item(&self, method: Method, (drive, item): (&str, &str), action: &str) -> Call {
        self.graph.call(method, &format!("/v1.0/drives/{drive}/items/{item}{action}"))
    }

    /// A call about the uppermost folder.
    pub(super) fn root(&self, method: Method, action: &str) -> Call {
        self.graph.call(method, &format!("/v1.0/me/drive/root{action}"))
    }

    /// Sends a call with the token.
    pub(super) async fn ask(&self, call: &Call) -> std::result::Result<Reply, Lost> {
        self.authorized.ask(call).await
    }

    /// A call to an address that Graph gave.
    pub(super) fn given(&self, method: Method, url: &str) -> Result<Call> {
        Call::given(method, url, &self.graph.origin)
    }

    /// Sends a call to an address that Graph gave: it carries its own authorisation, and refuses the token.
    pub(super) async fn ask_without_token(&self, call: &Call) -> std::result::Result<Reply, Lost> {
        self.authorized.api().ask(call, None).await
    }

    /// What is at a name.
    pub(super) async fn head(&self, name: &str) -> Result<Option<Item>> {
        let reply = self.ask(&self.at(Method::GET, name, "")).await?;
        if is_missing(&reply) {
            return Ok(None);
        }
        if !reply.is_done() {
            return Err(reply.refusal("look for an object"));
        }
        reply.json().map(Some)
    }

    /// Removes an item, also one that is gone.
    pub(super) async fn remove(&self, place: (&str, &str)) -> Result<()> {
        let reply = self.ask(&self.item(Method::DELETE, place, "")).await?;
        if reply.is_done() || is_missing(&reply) {
            return Ok(());
        }
        Err(reply.refusal("remove an object"))
    }
}

/// Whether there is no such item. A 404 is also answered for a drive, a user or a route that does not exist, in other words.
/// 410 is "no longer available at the server".
pub(super) fn is_missing(reply: &Reply) -> bool {
    let word = reply.code().split('/').next().unwrap_or_default();
    match reply.status {
        StatusCode::NOT_FOUND => word.eq_ignore_ascii_case("itemNotFound"),
        StatusCode::GONE => word.eq_ignore_ascii_case("itemNotFound") || word.eq_ignore_ascii_case("gone"),
        _ => false,
    }
}

/// Whether a name may be taken, whatever Graph calls it: `nameAlreadyExists`, `upload_name_conflict`, `resourceModified`; a
/// condition that does not hold; an item that another user has locked.
pub(super) const fn may_be_taken(reply: &Reply) -> bool {
    matches!(reply.status, StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED | StatusCode::LOCKED)
}

/// A body of JSON.
pub(super) fn json(call: Call, value: &Value) -> Call {
    call.body(HeaderValue::from_static("application/json"), value.to_string())
}

/// A body of bytes.
pub(super) fn bytes(call: Call, data: Bytes) -> Call {
    call.body(HeaderValue::from_static("application/octet-stream"), data)
}

/// `error.code` ("Microsoft Graph error responses"), and behind it the innermost one, which says more ("Error responses" of
/// OneDrive's API: `invalidRange/fragmentOverlap`). 500, 502, 503, 504 and 509, a limit, pass; 501, 507 (no room) do not.
fn fault(status: StatusCode, text: &[u8]) -> Fault {
    let document: Value = serde_json::from_slice(text).unwrap_or_default();
    let error = document.get("error");
    let mut codes: Vec<&str> = Vec::new();
    let mut at = error;
    for _ in 0..DEEPEST {
        let Some(inner) = at else { break };
        codes.extend(inner.get("code").and_then(Value::as_str).filter(|code| is_word(code)));
        at = inner.get("innererror").or_else(|| inner.get("innerError"));
    }
    let (first, last) = (codes.first().copied().unwrap_or_default(), codes.last().copied().unwrap_or_default());
    let code = if first == last { first.to_owned() } else { format!("{first}/{last}") };
    let pause = error.and_then(|error| error.get("retryAfterSeconds")).and_then(Value::as_u64).map(Duration::from_secs);
    Fault { code, passes: status.as_u16() == 509, pause }
}

fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Errors inside errors.
const DEEPEST: usize = 6;
/// What a grant has to allow.
const SCOPE: &str = "Files.ReadWrite.All offline_access";

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::fault;

    #[test]
    fn the_outer_word_and_the_innermost_one_are_told() {
        let code = |text: &str| fault(StatusCode::BAD_REQUEST, text.as_bytes()).code;
        for (text, expected) in [
            (
                r#"{"error":{"code":"itemNotFound","message":"m","innerError":{"date":"d","request-id":"0"}}}"#,
                "itemNotFound",
            ),
            (
                r#"{"error":{"code":"invalidRange","innererror":{"code":"fragmentOverlap"}}}"#,
                "invalidRange/fragmentOverlap",
            ),
            (
                r#"{"error":{"code":"accessDenied","innerError":{"code":"a","innererror":{"code":"b"}}}}"#,
                "accessDenied/b",
            ),
            (r#"{"error":{"code":"two words"}}"#, ""),
            (r#"{"error":{"code":"429","innerError":{"code":"429"}}}"#, "429"),
            ("<html>", ""),
            ("", ""),
        ] {
            assert_eq!(code(text), expected, "{text}");
        }
        let limit = fault(StatusCode::from_u16(509).unwrap(), br#"{"error":{"code":"x","retryAfterSeconds":30}}"#);
        assert!(limit.passes && limit.pause.is_some_and(|pause| pause.as_secs() == 30));
    }
}
