//! A strict double of Microsoft Graph's files: one server for Graph, one for the URLs that it provides.
//!
//! Sources: `learn.microsoft.com/graph`: "driveItem: put content", "driveItem: createUploadSession" (and the page of that name in
//! `OneDrive/onedrive-api-docs`), "driveItem: get content", "driveItem: delete", "driveItem resource", "Microsoft Graph error responses", "Addressing
//! resources in a drive"; for hashes "Code snippets: QuickXorHash".

mod drive;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use hyper::Method;
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use self::drive::{Drive, Refusal};
use super::serve::Served;
use super::tokens::Tokens;
use super::trouble::{Answer, Double, Troubles, document, double, download, text, with};

/// A running double.
#[derive(Debug)]
pub struct Graph {
    graph: Served,
    edge: Served,
    shared: Shared,
}

#[derive(Clone, Debug)]
struct Shared {
    drive: Arc<Mutex<Drive>>,
    tokens: Tokens,
    troubles: Troubles,
    /// `http://host:port` of the provided URLs.
    edge: Arc<OnceLock<String>>,
}

impl Graph {
    /// Starts an empty double that accepts these tokens.
    pub async fn start(tokens: Tokens) -> Self {
        let shared = Shared { drive: Arc::default(), tokens, troubles: Troubles::default(), edge: Arc::default() };
        let (graph, edge) = (shared.serve(false).await, shared.serve(true).await);
        shared.edge.set(format!("http://{}", edge.address())).expect("set once");
        Self { graph, edge, shared }
    }

    /// Returns the address of the server for Graph.
    pub fn address(&self) -> SocketAddr {
        self.graph.address()
    }

    /// Returns the address of the server for sessions and downloads.
    pub fn edge(&self) -> SocketAddr {
        self.edge.address()
    }

    /// Changes host and port of the provided URLs to those of a proxy in front of [`Graph::edge`].
    pub fn give(&self, proxy: SocketAddr) {
        self.drive().given = Some(format!("http://{proxy}"));
    }

    /// Omits hashes from responses, as some drives do.
    pub fn without_hashes(&self) {
        self.drive().hashless = true;
    }

    fn drive(&self) -> MutexGuard<'_, Drive> {
        self.shared.drive()
    }
}

/// Routes: `content`, `createUploadSession`, `fragment`, `status`, `cancel`, `item`, `children`, `download`, `bytes`, `delete`.
impl Double for Graph {
    fn troubles(&self) -> &Troubles {
        &self.shared.troubles
    }

    fn paths(&self) -> Vec<String> {
        self.drive().paths()
    }

    fn sessions(&self) -> Vec<String> {
        self.drive().sessions.keys().cloned().collect()
    }

    fn place(&self, path: &str, data: &[u8]) -> String {
        let made = self.drive().place(path, data.into());
        made["id"].as_str().expect("an id").to_owned()
    }

    fn revise(&self, path: &str, data: &[u8]) {
        self.drive().revise(path, data);
    }

    fn expire_sessions(&self) {
        self.drive().sessions.clear();
    }
}

impl Shared {
    async fn serve(&self, edge: bool) -> Served {
        let shared = self.clone();
        let act = move |route: &str, head: &Parts, data: &Bytes| shared.answer(edge, route, head, data);
        double(&self.troubles, move |head: &Parts| route(edge, head).to_owned(), act).await
    }

    fn drive(&self) -> MutexGuard<'_, Drive> {
        self.drive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, edge: bool, route: &str, head: &Parts, data: &[u8]) -> Answer {
        // "Including the Authorization header when issuing the PUT call may result in a HTTP 401"; the same applies to downloads.
        let admitted =
            if edge { !head.headers.contains_key("authorization") } else { self.tokens.admit(&head.headers) };
        match route {
            _ if !admitted => refuse(&Refusal(401, "InvalidAuthenticationToken")),
            "unknown" => refuse(&Refusal(400, "invalidRequest")),
            _ if edge => self.at_edge(route, head, data),
            _ => self.at_graph(route, head, data),
        }
    }

    fn at_graph(&self, route: &str, head: &Parts, data: &[u8]) -> Answer {
        let mut drive = self.drive();
        let given = drive.given.clone().unwrap_or_else(|| self.edge.get().expect("started").clone());
        let rest = head.uri.path().trim_start_matches("/v1.0");
        if let Some(path) = rest.strip_prefix("/me/drive/root:/") {
            let path = path.split(':').next().expect("a first part");
            let path = percent_decode_str(path).decode_utf8().expect("UTF-8").into_owned();
            return match route {
                "content" => {
                    if head.uri.query() != Some("@microsoft.graph.conflictBehavior=fail") {
                        return refuse(&Refusal(400, "invalidRequest"));
                    }
                    // "This method only supports files up to 4MB in size": the older and smaller of two documented limits.
                    if data.len() > 4_000_000 {
                        return refuse(&Refusal(413, "requestEntityTooLarge"));
                    }
                    item(201, drive.create(&path, data.into()))
                }
                "createUploadSession" => {
                    let body: Value = serde_json::from_slice(data).unwrap_or_default();
                    if body != json!({ "item": {"@microsoft.graph.conflictBehavior": "fail"} }) {
                        return refuse(&Refusal(400, "invalidRequest"));
                    }
                    match drive.begin(&path) {
                        Err(error) => refuse(&error),
                        Ok(id) => document(
                            200,
                            &json!({
                                "uploadUrl": format!("{given}/up/{id}?tempauth=canary-upload-{id}"),
                                "expirationDateTime": "2026-11-28T00:00:00Z", "nextExpectedRanges": ["0-"],
                            }),
                        ),
                    }
                }
                "download" => match drive.at(&path) {
                    Ok(found) => redirect(&mut drive, &given, found["id"].as_str().expect("an id")),
                    Err(error) => refuse(&error),
                },
                _ => item(200, drive.at(&path)),
            };
        }
        if route == "children" {
            return children(&drive, rest, head);
        }
        let Some((_, id)) = rest.strip_prefix("/drives/b!double-drive/").and_then(|rest| rest.split_once('/')) else {
            return refuse(&Refusal(404, "itemNotFound"));
        };
        let id = id.split('/').next().expect("a first part").to_owned();
        match route {
            "delete" if drive.remove(&id) => text(204, ""),
            "download" if drive.by_id(&id).is_some() => redirect(&mut drive, &given, &id),
            _ => refuse(&Refusal(404, "itemNotFound")),
        }
    }

    fn at_edge(&self, route: &str, head: &Parts, data: &[u8]) -> Answer {
        let mut drive = self.drive();
        let id = head.uri.path().rsplit('/').next().expect("a last part").to_owned();
        let query = head.uri.query().unwrap_or_default();
        if route == "bytes" {
            if !drive.redeem(query.trim_start_matches("tempauth=")) {
                return refuse(&Refusal(401, "unauthenticated"));
            }
            let Some(item) = drive.by_id(&id) else { return refuse(&Refusal(404, "itemNotFound")) };
            let range = head.headers.get("range").and_then(|range| range.to_str().ok());
            return with(download(&item.data, range), "etag", &item.tag());
        }
        if query != format!("tempauth=canary-upload-{id}") || !drive.sessions.contains_key(&id) {
            return refuse(&Refusal(404, "itemNotFound"));
        }
        match route {
            "cancel" => {
                drive.sessions.remove(&id);
                text(204, "")
            }
            "status" => document(200, &json!({ "nextExpectedRanges": [drive.expected(&id)] })),
            _ => {
                let range = head.headers.get("content-range").and_then(|range| range.to_str().ok());
                match drive.fragment(&id, range.unwrap_or_default(), data) {
                    Ok(Some(made)) => document(201, &made),
                    Ok(None) => document(202, &json!({ "nextExpectedRanges": [drive.expected(&id)] })),
                    Err(error) => refuse(&error),
                }
            }
        }
    }
}

/// Responds with the download URL of an item, which is valid once: "Preauthenticated download URLs are only valid for a short period of time".
fn redirect(drive: &mut Drive, given: &str, id: &str) -> Answer {
    let key = drive.ticket(id);
    with(text(302, ""), "location", &format!("{given}/dl/{id}?tempauth={key}"))
}

/// Responds with a page of a folder's items.
fn children(drive: &Drive, rest: &str, head: &Parts) -> Answer {
    let folder = rest.strip_prefix("/drives/b!double-drive/items/").and_then(|rest| rest.split('/').next());
    let folder = hex::decode(folder.unwrap_or_default()).ok().and_then(|path| String::from_utf8(path).ok());
    let Some(folder) = folder else { return refuse(&Refusal(404, "itemNotFound")) };
    let query = head.uri.query().unwrap_or_default();
    let skip = query.split_once("$skiptoken=").and_then(|(_, skip)| skip.parse().ok()).unwrap_or_default();
    let (value, has_more) = drive.children(&folder, skip);
    let mut page = json!({ "value": value });
    if has_more {
        let own = head.headers.get("host").and_then(|host| host.to_str().ok()).expect("a host");
        page["@odata.nextLink"] = json!(format!("http://{own}{}?$skiptoken={}", head.uri.path(), skip + 2));
    }
    document(200, &page)
}

fn route(edge: bool, head: &Parts) -> &'static str {
    let path = head.uri.path();
    match (&head.method, edge) {
        (&Method::PUT, true) if path.starts_with("/up/") => "fragment",
        (&Method::GET, true) if path.starts_with("/up/") => "status",
        (&Method::DELETE, true) if path.starts_with("/up/") => "cancel",
        (&Method::GET, true) if path.starts_with("/dl/") => "bytes",
        (&Method::PUT, false) if path.ends_with(":/content") => "content",
        (&Method::POST, false) if path.ends_with(":/createUploadSession") => "createUploadSession",
        (&Method::GET, false) if path.ends_with("/content") => "download",
        (&Method::GET, false) if path.starts_with("/v1.0/me/drive/root:/") => "item",
        (&Method::GET, false) if path.ends_with("/children") => "children",
        (&Method::DELETE, false) if path.starts_with("/v1.0/drives/") => "delete",
        _ => "unknown",
    }
}

fn item(status: u16, outcome: Result<Value, Refusal>) -> Answer {
    outcome.map_or_else(|error| refuse(&error), |item| document(status, &item))
}

/// "Microsoft Graph error responses": a code, a message, and ids of the request.
fn refuse(error: &Refusal) -> Answer {
    let Refusal(status, code) = error;
    let inner = json!({ "date": "2026-11-21T15:50:00", "request-id": "0" });
    document(*status, &json!({ "error": {"code": code, "message": "canary message", "innerError": inner} }))
}
