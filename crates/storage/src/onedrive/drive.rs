//! Calls to Microsoft Graph about the files of one drive.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Method, StatusCode};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use stowage_base::tasks::Tasks;

use super::names;
use crate::engine::api::{Api, Call, Fault, Lost, Reply, Vendor, by_status};
use crate::engine::endpoint::Endpoint;
use crate::oauth::{Authorized, Key, Subject};
use crate::{Budget, Context, Error, Kind, Result};

pub(super) const ENDPOINTS: &[(&str, &str)] = &[(GRAPH, "https://graph.microsoft.com")];
const GRAPH: &str = "graph";

static ONEDRIVE: Vendor = Vendor { name: "OneDrive", fails: by_status, fault };

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

/// An opened drive, shared by tasks.
pub(super) type Shared = Arc<Drive>;

/// `driveItem` (`learn.microsoft.com/graph/api/resources/driveitem`).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item {
    pub(super) id: String,
    #[serde(default)]
    pub(super) size: u64,
    #[serde(default)]
    pub(super) parent_reference: Parent,
    /// `None` for a folder.
    pub(super) file: Option<File>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Parent {
    #[serde(default, deserialize_with = "drive_id")]
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
    /// Returns the drive's id and the item's own.
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

    /// Returns the URL of a name, for display.
    pub(super) fn url(&self, name: &str) -> String {
        self.graph.url(&format!("/v1.0/me/drive/root:/{}", names::path(name)))
    }

    /// Builds a call for a name's current or future item; `action` follows the path, and starts with the colon that terminates it.
    pub(super) fn at(&self, method: Method, name: &str, action: &str) -> Call {
        self.graph.call(method, &format!("/v1.0/me/drive/root:/{}{action}", names::path(name)))
    }

    /// Builds a call for an item. The ids passed `is_id`, so they need no escaping.
    pub(super) fn item(&self, method: Method, (drive, item): (&str, &str), action: &str) -> Call {
        let drive = whole(drive);
        self.graph.call(method, &format!("/v1.0/drives/{drive}/items/{item}{action}"))
    }

    /// Builds a call for the root folder.
    pub(super) fn root(&self, method: Method, action: &str) -> Call {
        self.graph.call(method, &format!("/v1.0/me/drive/root{action}"))
    }

    /// Sends a call with the token.
    pub(super) async fn ask(&self, call: &Call) -> std::result::Result<Reply, Lost> {
        self.authorized.ask(call).await
    }

    /// Builds a call to a URL provided by Graph.
    pub(super) fn given(&self, method: Method, url: &str) -> Result<Call> {
        Call::given(method, url, &self.graph.origin)
    }

    /// Sends a call to a URL provided by Graph, which carries its own authorization and rejects the token.
    pub(super) async fn ask_without_token(&self, call: &Call) -> std::result::Result<Reply, Lost> {
        self.authorized.api().ask(call, None).await
    }

    /// Returns the item at a name.
    pub(super) async fn head(&self, name: &str) -> Result<Option<Item>> {
        let reply = self.ask(&self.at(Method::GET, name, "")).await?;
        if is_missing(&reply) {
            return Ok(None);
        }
        let reply = reply.done("look for an object")?;
        reply.json().map(Some)
    }

    /// Removes an item, which may be gone already.
    pub(super) async fn remove(&self, place: (&str, &str)) -> Result<()> {
        let reply = self.ask(&self.item(Method::DELETE, place, "")).await?;
        if reply.is_done() || is_missing(&reply) {
            return Ok(());
        }
        Err(reply.refusal("remove an object"))
    }
}

/// Reads the id of a drive from an answer.
fn drive_id<'de, D: Deserializer<'de>>(answer: D) -> std::result::Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(answer)?.map(|id| whole(&id).into_owned()))
}

/// Returns the id of a drive as Graph accepts it: that of a personal drive has 16 hexadecimal digits, of which some answers of Graph lack leading zeros.
/// All other ids contain `!`.
fn whole(id: &str) -> Cow<'_, str> {
    let is_cut = (1..16).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_cut { Cow::Owned(format!("{id:0>16}")) } else { Cow::Borrowed(id) }
}

/// Returns whether an item does not exist. A 404 with another code is about a drive, a user or a route. 410 means "no longer available at the
/// server".
pub(super) fn is_missing(reply: &Reply) -> bool {
    let word = reply.code().split('/').next().unwrap_or_default();
    match reply.status {
        StatusCode::NOT_FOUND => word.eq_ignore_ascii_case("itemNotFound"),
        StatusCode::GONE => word.eq_ignore_ascii_case("itemNotFound") || word.eq_ignore_ascii_case("gone"),
        _ => false,
    }
}

/// Returns whether a name may be taken, which Graph reports in several ways: `nameAlreadyExists`, `upload_name_conflict`, `resourceModified`; a
/// failed condition; an item locked by another user.
pub(super) const fn may_be_taken(reply: &Reply) -> bool {
    matches!(reply.status, StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED | StatusCode::LOCKED)
}

/// Adds a JSON body.
pub(super) fn json(call: Call, value: &Value) -> Call {
    call.body(HeaderValue::from_static("application/json"), value.to_string())
}

/// Adds a body of bytes.
pub(super) fn bytes(call: Call, data: Bytes) -> Call {
    call.body(HeaderValue::from_static("application/octet-stream"), data)
}

/// Returns `error.code` ("Microsoft Graph error responses"), followed by the innermost code, which is more specific ("Error responses" of OneDrive's
/// API: `invalidRange/fragmentOverlap`). 500, 502, 503, 504 and 509 (a limit) are transient; 501 and 507 (no space) are not.
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

/// The maximum depth of nested errors.
const DEEPEST: usize = 6;
/// The scopes that a grant needs.
const SCOPE: &str = "Files.ReadWrite.All offline_access";

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use super::{Item, fault};

    #[test]
    fn the_id_of_a_drive_has_its_leading_zeros() {
        for (given, whole) in [
            ("24470056F521FEA", "024470056F521FEA"),
            ("470056f521fea", "000470056f521fea"),
            ("124470056F521FEA", "124470056F521FEA"),
            ("b!double-drive", "b!double-drive"),
            ("b!0", "b!0"),
            ("", ""),
        ] {
            let item = json!({ "id": "1!2", "parentReference": { "driveId": given } });
            assert_eq!(serde_json::from_value::<Item>(item).unwrap().place().unwrap(), (whole, "1!2"));
            assert_eq!(super::whole(given), whole, "a pointer's");
        }
        assert!(serde_json::from_value::<Item>(json!({ "id": "1", "parentReference": {} })).unwrap().place().is_err());
    }

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
