//! The server behind the gateway: the embedded store, or the CouchDB named by `COUCHDB_URL`.
//!
//! Tests share that CouchDB, concurrently and across runs: each has databases and users of its own, which are removed at its end.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;

use serde_json::json;
use stowage_couch_embedded::{Options, Store};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::exchange::{authorization, content_type, exchange, rev};
use super::raw::RawResponse;

/// Name and password of the embedded store's ordinary user.
const USER: &str = "user";

/// The server behind the gateway.
#[derive(Debug)]
pub struct Couch {
    /// `http://host:port`
    pub url: String,
    /// Name and password of the server's admin.
    pub admin: (String, String),
    /// The plans database of this test.
    pub plans: String,
    /// The database of OAuth documents of this test.
    pub auth: String,
    /// What to remove from a server that outlives the test.
    made: Option<Made>,
    _data: Option<TempDir>,
    _serving: Option<AbortOnDropHandle<()>>,
}

impl Couch {
    /// Starts the embedded store, or uses the server named by `COUCHDB_URL`.
    pub async fn start() -> Self {
        Self::start_with_password("admin").await
    }

    /// Returns the same server and databases for another gateway; their contents are removed with the first.
    #[must_use]
    pub fn beside(&self) -> Self {
        let Self { url, admin, plans, auth, .. } = self;
        let [url, plans, auth] = [url, plans, auth].map(String::clone);
        Self { url, admin: admin.clone(), plans, auth, made: None, _data: None, _serving: None }
    }

    /// Like [`start`](Self::start), with this password for the admin of an embedded store.
    pub async fn start_with_password(password: &str) -> Self {
        let Ok(text) = std::env::var("COUCHDB_URL") else {
            return Self::embedded(("admin".to_owned(), password.to_owned())).await;
        };
        let url = url::Url::parse(&text).expect("COUCHDB_URL is a URL");
        let admin = (url.username().to_owned(), url.password().unwrap_or_default().to_owned());
        let address = url.socket_addrs(|| Some(5984)).expect("an address")[0];
        let made = Made { address, admin: admin.clone(), paths: Mutex::default() };
        let [plans, auth] = own_databases();
        Self { url: format!("http://{address}"), admin, plans, auth, made: Some(made), _data: None, _serving: None }
    }

    /// Starts an embedded store even if `COUCHDB_URL` names a server: a second one alongside it.
    pub async fn embedded(admin: (String, String)) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let user = Some((USER.to_owned(), USER.to_owned()));
        let options = Options { data: data.path().to_owned(), admin: admin.clone(), user };
        let store = Store::open(options).expect("the store opens");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let serving = tokio::spawn(async move {
            store.serve(listener, std::future::pending()).await.expect("the store serves");
        });
        let [plans, auth] = own_databases();
        let serving = Some(AbortOnDropHandle::new(serving));
        Self { url, admin, plans, auth, made: None, _data: Some(data), _serving: serving }
    }

    /// Returns the server's address.
    pub fn address(&self) -> SocketAddr {
        self.url.trim_start_matches("http://").parse().expect("host and port")
    }

    /// Returns name and password of a user who is a member of no database; in a CouchDB, a new one for each call.
    pub async fn user(&self) -> (String, String) {
        if self.made.is_none() {
            return (USER.to_owned(), USER.to_owned());
        }
        let name = format!("user_{}", uuid::Uuid::new_v4().simple());
        let target = format!("/_users/org.couchdb.user:{name}");
        self.save(&target, json!({"name": name, "password": USER, "roles": [], "type": "user"})).await;
        (name, USER.to_owned())
    }

    /// Records what a request creates, so that it can be removed.
    pub fn note(&self, method: &str, target: &str) {
        let path = target.split('?').next().unwrap_or_default();
        let made = path.matches('/').count() == 1 || path.starts_with("/_users/");
        if let Some(all) = self.made.as_ref().filter(|_| method == "PUT" && made) {
            all.paths.lock().expect("not poisoned").insert(path.to_owned());
        }
    }

    /// Records an account. The gateway creates the current month's database if it has something to write, even for a test that has
    /// none.
    pub fn note_account(&self, account: &str) {
        let (first, rest) = account.split_at(2);
        let (second, rest) = rest.split_at(2);
        self.note("PUT", &format!("/account%2F{first}%2F{second}%2F{rest}"));
    }

    /// Sends a request to the server directly, as its admin.
    pub async fn request(&self, method: &str, target: &str, media_type: &str, body: &[u8]) -> RawResponse {
        self.note(method, target);
        exchange(self.address(), method, target, &[authorization(&self.admin), content_type(media_type)], body).await
    }

    /// Saves a document directly, and returns its revision.
    pub async fn save(&self, target: &str, document: impl ToString) -> String {
        let text = document.to_string();
        rev(&self.request("PUT", target, "application/json", text.as_bytes()).await.expect_status(201))
    }
}

/// Returns unique database names: for plans, and for OAuth documents.
fn own_databases() -> [String; 2] {
    ["plans", "auth"].map(|kind| format!("{kind}_{}", uuid::Uuid::new_v4().simple()))
}

/// The databases and users a test created in a CouchDB that outlives it. Removed on drop, even if the test fails.
#[derive(Debug)]
struct Made {
    address: SocketAddr,
    admin: (String, String),
    /// As encoded in a target.
    paths: Mutex<BTreeSet<String>>,
}

impl Drop for Made {
    fn drop(&mut self) {
        let mut paths = std::mem::take(self.paths.get_mut().expect("not poisoned"));
        // Created by the gateway for an account: the current month's database, for records.
        let accounts: Vec<_> = paths
            .iter()
            .filter_map(|path| path.strip_prefix("/account%2F")?.split('-').next())
            .map(str::to_owned)
            .collect();
        if !accounts.is_empty() {
            let listed = self.ask("GET", "/_all_dbs");
            let names = listed.split('"').map(|name| name.replace('/', "%2F"));
            paths.extend(
                names
                    .filter(|name| accounts.iter().any(|account| name.contains(account.as_str())))
                    .map(|name| format!("/{name}")),
            );
        }
        for path in paths {
            let revision =
                || self.ask("HEAD", &path).split_once("ETag: \"")?.1.split_once('"').map(|(rev, _)| rev.to_owned());
            let query = if path.starts_with("/_users/") { revision() } else { None };
            self.ask("DELETE", &format!("{path}{}", query.map(|rev| format!("?rev={rev}")).unwrap_or_default()));
        }
    }
}

impl Made {
    /// Sends a blocking request, as `drop` must; a failure only leaves something behind.
    fn ask(&self, method: &str, target: &str) -> String {
        let (name, value) = authorization(&self.admin);
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\n{name}: {value}\r\nConnection: close\r\n\r\n",
            self.address
        );
        let mut answer = Vec::new();
        let asked = TcpStream::connect(self.address).and_then(|mut stream| {
            stream.write_all(head.as_bytes())?;
            stream.read_to_end(&mut answer)
        });
        if let Err(error) = asked {
            drop(writeln!(std::io::stderr(), "{method} {target}: {error}"));
        }
        String::from_utf8_lossy(&answer).into_owned()
    }
}
