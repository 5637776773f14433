//! A strict double of Dropbox's API v2: one server for content, one for calls.
//!
//! Sources: the vendor's specification (`files.stone`, `auth.stone`, `common.stone` of `dropbox/dropbox-api-spec`), the pages "HTTP documentation"
//! (styles of requests, errors), "JSON encoding", "Content hash" and "Error handling guide" of `dropbox.com/developers`, and for names
//! `help.dropbox.com` ("File names": no slash either way, 255 characters).

#![allow(clippy::result_large_err, reason = "what the double refuses is an answer, made once")]

mod files;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::Method;
use hyper::http::request::Parts;
use serde_json::{Value, json};

use self::files::{Data, Files, Refusal, tagged};
use super::serve::Served;
use super::tokens::Tokens;
use super::trouble::{Answer, Double, Troubles, document, double, download, text, with};

/// Selects one of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Content,
    Rpc,
}

/// A running double.
#[derive(Debug)]
pub struct Dropbox {
    content: Served,
    rpc: Served,
    shared: Shared,
}

#[derive(Clone, Debug)]
struct Shared {
    files: Arc<Mutex<Files>>,
    tokens: Tokens,
    troubles: Troubles,
}

impl Dropbox {
    /// Starts an empty double that accepts these tokens.
    pub async fn start(tokens: Tokens) -> Self {
        let shared = Shared { files: Arc::default(), tokens, troubles: Troubles::default() };
        let (content, rpc) = (shared.serve(Host::Content).await, shared.serve(Host::Rpc).await);
        Self { content, rpc, shared }
    }

    /// Returns the address of the content server.
    pub fn content(&self) -> SocketAddr {
        self.content.address()
    }

    /// Returns the address of the server for calls.
    pub fn rpc(&self) -> SocketAddr {
        self.rpc.address()
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.shared.files()
    }
}

/// Routes: `upload`, `upload_session/start`, ..., `download`, `get_metadata`, `list_folder`, `list_folder/continue`, `delete_v2`. Paths are without
/// the leading slash.
impl Double for Dropbox {
    fn troubles(&self) -> &Troubles {
        &self.shared.troubles
    }

    fn paths(&self) -> Vec<String> {
        self.files().paths()
    }

    /// Sessions cannot be listed or ended.
    fn sessions(&self) -> Vec<String> {
        Vec::new()
    }

    fn place(&self, path: &str, data: &[u8]) -> String {
        self.files().place(&format!("/{path}"), data)
    }

    fn revise(&self, path: &str, data: &[u8]) {
        self.files().revise(&format!("/{path}"), data);
    }

    fn expire_sessions(&self) {
        self.files().sessions.clear();
    }
}

impl Shared {
    async fn serve(&self, host: Host) -> Served {
        let shared = self.clone();
        let route = |head: &Parts| head.uri.path().strip_prefix("/2/files/").unwrap_or_default().to_owned();
        double(&self.troubles, route, move |route, head, data| shared.answer(host, route, head, data)).await
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, host: Host, route: &str, head: &Parts, data: &Bytes) -> Answer {
        if !self.tokens.admit(&head.headers) {
            let error = json!({ ".tag": "expired_access_token" });
            return document(401, &json!({ "error_summary": "expired_access_token/..", "error": error }));
        }
        let argument = match argument(host, route, &head.method, &head.headers, data) {
            Ok(argument) => argument,
            Err(what) => return text(400, &format!("Error in call to API function \"files/{route}\": {what}")),
        };
        let range = head.headers.get("range").and_then(|range| range.to_str().ok());
        self.act(route, &argument, data, range).unwrap_or_else(|error| error)
    }

    fn act(&self, route: &str, argument: &Value, data: &[u8], range: Option<&str>) -> Result<Answer, Answer> {
        let mut files = self.files();
        let refused = |error: Refusal| refuse(&error);
        let found = match route {
            "upload" => {
                let error = |error: Refusal| {
                    refuse(&Refusal(json!({".tag": "path", "reason": error.0, "upload_session_id": "s"})))
                };
                let data = Data::from(data);
                if argument.get("content_hash").is_some_and(|hash| *hash != data.sum().hex()) {
                    return Err(refuse(&tagged("content_hash_mismatch")));
                }
                files.save(argument, data).map_err(error)?
            }
            "upload_session/start" => json!({ "session_id": files.begin(data) }),
            "upload_session/append_v2" => {
                files.append(&argument["cursor"], data).map_err(refused)?;
                Value::Null
            }
            "upload_session/finish" => files.finish(argument, data).map_err(refused)?,
            "list_folder" => files.list(""),
            "list_folder/continue" => files.list(argument["cursor"].as_str().unwrap_or_default()),
            "get_metadata" => files.metadata(&argument["path"]).ok_or_else(|| refuse(&not_found("path")))?,
            "delete_v2" => {
                let metadata = files.remove(&argument["path"]).ok_or_else(|| refuse(&not_found("path_lookup")))?;
                json!({ "metadata": metadata })
            }
            _ => {
                let (metadata, data) = files.open(&argument["path"]).ok_or_else(|| refuse(&not_found("path")))?;
                let answer = with(download(&data, range), "dropbox-api-result", &metadata.to_string());
                let tag = format!("W/\"{}\"", metadata["rev"].as_str().expect("a rev"));
                return Ok(with(answer, "etag", &tag));
            }
        };
        Ok(document(200, &found))
    }
}

fn not_found(outer: &str) -> Refusal {
    Refusal(json!({ ".tag": outer, outer: {".tag": "not_found"} }))
}

/// Responds with 409 and the error's tags, according to "Errors by status code" of the HTTP documentation.
fn refuse(error: &Refusal) -> Answer {
    document(409, &json!({ "error_summary": "see error/...", "error": error.0 }))
}

/// Parses the arguments of a request in its route's style, or returns what is wrong.
fn argument(
    host: Host,
    route: &str,
    method: &Method,
    headers: &hyper::HeaderMap,
    data: &Bytes,
) -> Result<Value, &'static str> {
    let rpc = matches!(route, "get_metadata" | "delete_v2" | "list_folder" | "list_folder/continue");
    let known: &[&str] = match route {
        "upload" => &["path", "mode", "autorename", "strict_conflict", "client_modified", "content_hash"],
        "upload_session/start" => &["close"],
        "upload_session/append_v2" => &["cursor", "close"],
        "upload_session/finish" => &["cursor", "commit"],
        "download" | "get_metadata" | "delete_v2" => &["path"],
        "list_folder" => &["path", "recursive", "limit"],
        "list_folder/continue" => &["cursor"],
        _ => return Err("unknown function"),
    };
    if (host == Host::Rpc) != rpc {
        return Err("this host does not have this function");
    }
    if method != Method::POST && !(route == "download" && method == Method::GET) {
        return Err("request method");
    }
    if headers.contains_key("transfer-encoding") {
        return Err("no Content-Length");
    }
    let media_type = headers.get("content-type").map(|value| value.to_str().unwrap_or("?"));
    let wanted = match route {
        "download" => None,
        _ if rpc => Some("application/json"),
        _ => Some("application/octet-stream"),
    };
    if media_type != wanted {
        return Err("Bad HTTP \"Content-Type\" header");
    }
    let given = headers.get("dropbox-api-arg");
    let argument = match given {
        None if rpc => data.as_ref(),
        Some(given) if !rpc && given.to_str().is_ok() => given.as_bytes(),
        _ => return Err("HTTP header \"Dropbox-API-Arg\": could not decode input as JSON"),
    };
    let argument: Value = serde_json::from_slice(argument).map_err(|_| "could not decode input as JSON")?;
    let members = argument.as_object().ok_or("expected object")?;
    if route == "download" && !data.is_empty() || data.len() > LARGEST_REQUEST {
        return Err("request body");
    }
    if members.keys().any(|key| !known.contains(&key.as_str())) {
        return Err("unknown field");
    }
    Ok(argument)
}

/// "A single request should not upload more than 150 MiB."
const LARGEST_REQUEST: usize = 150 << 20;
