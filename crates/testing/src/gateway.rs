//! An in-process gateway in front of the embedded store, or of the CouchDB named by `COUCHDB_URL`.
//!
//! Every gateway has an account of its own, so that tests can share a CouchDB. [`Running::stop`] fails the test if a task, a permit, a
//! connection or a share of the upload budget is left over.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use stowage::app::App;
use stowage::config::{Source, load};
use tempfile::TempDir;

pub use super::couch::Couch;
pub use super::exchange::{authorization, exchange, json, rev};
use super::raw::RawResponse;
use super::upstream::until;

/// The id of the storage in plans created by [`Running::plan`].
pub const STORAGE: &str = "0123456789abcdef0123456789abcdef";

/// The header of a JSON body.
pub const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A gateway to be started.
#[derive(Debug)]
pub struct Setup {
    settings: Vec<(String, String)>,
    upstream: Option<String>,
    files: TempDir,
}

impl Default for Setup {
    fn default() -> Self {
        Self { settings: Vec::new(), upstream: None, files: tempfile::tempdir().expect("a temporary folder") }
    }
}

impl Setup {
    /// Sets a configuration key, such as `limits.in_flight`.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        let variable = format!("STOWAGE__{}", key.to_uppercase().replace('.', "__"));
        self.settings.push((variable, value.to_owned()));
        self
    }

    /// Puts another server, such as a fault proxy, between the gateway and the store.
    #[must_use]
    pub fn upstream(mut self, url: &str) -> Self {
        self.upstream = Some(url.to_owned());
        self
    }

    /// Starts the store (or finds CouchDB) and the gateway, and creates the plans database.
    pub async fn start(self) -> Running {
        self.start_over(Couch::start().await).await
    }

    /// Starts a gateway whose plan stores the month database's attachments in this folder.
    pub async fn storing_in(self, directory: &str) -> Running {
        let gateway = self.start().await;
        gateway.plan("file", json!({ "directory": directory })).await;
        gateway
    }

    /// Starts a gateway in front of a running store.
    pub async fn start_over(self, couch: Couch) -> Running {
        let url = self.upstream.unwrap_or_else(|| couch.url.clone());
        let mut environment = vec![
            ("STOWAGE__COUCHDB__URL".to_owned(), url),
            ("STOWAGE__COUCHDB__USERNAME".to_owned(), couch.admin.0.clone()),
            ("STOWAGE__COUCHDB__PASSWORD".to_owned(), couch.admin.1.clone()),
            ("STOWAGE__PLANS__DATABASE".to_owned(), couch.plans.clone()),
            ("STOWAGE__PLANS__AUTH_DATABASE".to_owned(), couch.auth.clone()),
            ("STOWAGE__LISTEN__ADDRESS".to_owned(), "127.0.0.1:0".to_owned()),
            ("STOWAGE__ADMIN__ADDRESS".to_owned(), "127.0.0.1:0".to_owned()),
            ("STOWAGE__EGRESS__ALLOW".to_owned(), "127.0.0.0/8,::1/128".to_owned()),
            ("STOWAGE__STORAGE__FILE_ROOT".to_owned(), self.files.path().display().to_string()),
            // Tests should see what a storage does; outages have tests of their own.
            ("STOWAGE__FALLBACK__ON_UNAVAILABLE".to_owned(), "refuse".to_owned()),
            ("STOWAGE__FALLBACK__FAILURES".to_owned(), "0".to_owned()),
            ("STOWAGE__JOBS__DATABASE".to_owned(), format!("{}-jobs", couch.plans)),
            ("STOWAGE__JOBS__CONCURRENCY".to_owned(), "0".to_owned()),
        ];
        environment.extend(self.settings);
        let config = load(&Source { text: String::new(), environment }).expect("a sound configuration");
        couch.request("PUT", &format!("/{}", couch.plans), "", b"").await;
        let app = App::start(config).await.expect("the gateway starts");
        let address = app.proxy.expect("a listener");
        let account = uuid::Uuid::new_v4().simple().to_string();
        let running = Running { app, address, couch, account, files: self.files };
        running.couch.note_account(&running.account);
        running
    }
}

/// Starts a gateway whose plan stores the month database's attachments in a folder.
pub async fn planned() -> Running {
    Setup::default().storing_in("recordings").await
}

/// A running gateway.
#[derive(Debug)]
pub struct Running {
    /// The gateway itself.
    pub app: App,
    /// The gateway's address.
    pub address: SocketAddr,
    /// The server behind it.
    pub couch: Couch,
    /// An account unique to this test.
    pub account: String,
    files: TempDir,
}

impl Running {
    /// Starts another gateway for the same CouchDB, account and queue.
    pub async fn beside(&self, setup: Setup) -> Self {
        let database = &self.app.gateway.jobs.config().database;
        let mut other = setup.set("jobs.database", database).start_over(self.couch.beside()).await;
        other.account.clone_from(&self.account);
        other
    }

    /// Returns the folder below which `file` storages write.
    pub fn files(&self) -> PathBuf {
        self.files.path().to_path_buf()
    }

    /// Returns a month database of the account, unencoded; of a past month, so that no failure records are written there.
    pub fn database(&self) -> String {
        let (first, rest) = self.account.split_at(2);
        let (second, rest) = rest.split_at(2);
        format!("account/{first}/{second}/{rest}-202411")
    }

    /// Returns the account's month database as encoded in a path.
    pub fn path(&self) -> String {
        self.database().replace('/', "%2F")
    }

    /// Creates the month database.
    pub async fn make_database(&self) {
        let made = self.couch.request("PUT", &format!("/{}", self.path()), "", b"").await;
        assert!(matches!(made.status, 201 | 412), "{made:?}");
    }

    /// Plans one storage for the month database's attachments, and creates the database. Takes effect with the next request.
    pub async fn plan(&self, handler: &str, settings: Value) {
        self.make_database().await;
        self.plan_as(handler, settings, json!({ "modb": { "attachments": { "handler": STORAGE } } })).await;
    }

    /// Gives the account a plan with one storage, [`STORAGE`]. Takes effect with the next request.
    pub async fn plan_as(&self, handler: &str, settings: Value, plan: Value) {
        let attachments = json!({ STORAGE: { "handler": handler, "settings": settings } });
        let plan = json!({ "pvt_type": "storage", "attachments": attachments, "plan": plan });
        self.save_plan(&self.account, plan).await;
    }

    /// Saves a document of the plans database, and notifies the gateway.
    pub async fn save_plan(&self, id: &str, mut document: Value) {
        let target = format!("/{}/{id}", self.couch.plans);
        let old = self.couch.request("GET", &target, "", b"").await;
        if old.status == 200 {
            document["_rev"] = json(&old)["_rev"].clone();
        }
        self.couch.save(&target, &document).await;
        self.app.gateway.plans.document_changed(id, Some(&document));
    }

    /// Sends a request to the gateway on a new connection, as the server's admin.
    pub async fn request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> RawResponse {
        self.couch.note(method, target);
        let mut all = vec![authorization(&self.couch.admin)];
        all.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        exchange(self.address, method, target, &all, body).await
    }

    /// Sends a request about something of the month database.
    pub async fn ask(&self, method: &str, rest: &str, headers: &[(&str, &str)], body: &[u8]) -> RawResponse {
        self.request(method, &format!("/{}/{rest}", self.path()), headers, body).await
    }

    /// Saves a document of the month database and returns its revision.
    pub async fn document(&self, id: &str, document: Value) -> String {
        let text = document.to_string();
        let saved = self.ask("PUT", id, &[JSON], text.as_bytes()).await;
        // CouchDB does not return 201 for a deletion by PUT.
        assert_eq!(saved.status, if document["_deleted"] == true { 200 } else { 201 }, "{saved:?}");
        rev(&saved)
    }

    /// PUTs an attachment of the month database; with a revision unless that is empty.
    pub async fn put(&self, id: &str, name: &str, rev: &str, body: &[u8]) -> RawResponse {
        let query = if rev.is_empty() { String::new() } else { format!("?rev={rev}") };
        self.ask("PUT", &format!("{id}/{name}{query}"), &[("Content-Type", "audio/mpeg")], body).await
    }

    /// PUTs an attachment of the month database and asserts success; the response contains its revision.
    pub async fn attach(&self, id: &str, name: &str, rev: &str, body: &[u8]) -> RawResponse {
        let put = self.put(id, name, rev, body).await;
        assert_eq!(put.status, 201, "{id}/{name}: {put:?}");
        put
    }

    /// Saves a document of the month database with one attachment, and returns its revision.
    pub async fn attached(&self, id: &str, document: Value, name: &str, body: &[u8]) -> String {
        let saved = self.document(id, document).await;
        rev(&self.attach(id, name, &saved, body).await)
    }

    /// GETs something of the month database.
    pub async fn get(&self, rest: &str) -> RawResponse {
        self.ask("GET", rest, &[], b"").await
    }

    /// DELETEs something of the month database.
    pub async fn delete(&self, rest: &str) -> RawResponse {
        self.ask("DELETE", rest, &[], b"").await
    }

    /// COPYs a document of the month database, with this `Destination` header.
    pub async fn copy(&self, rest: &str, destination: &str) -> RawResponse {
        self.ask("COPY", rest, &[("Destination", destination)], b"").await
    }

    /// Saves a document of the month database verbatim, bypassing the gateway, and returns its revision.
    pub async fn save(&self, id: &str, text: impl ToString) -> String {
        self.couch.save(&format!("/{}/{id}", self.path()), text).await
    }

    /// Returns a document of the month database as CouchDB has it, with its pointers.
    pub async fn inside(&self, id: &str) -> Value {
        json(&self.couch.request("GET", &format!("/{}/{id}", self.path()), "", b"").await)
    }

    /// Returns the document's pointer to an attachment.
    pub async fn pointer(&self, id: &str, name: &str) -> Value {
        self.inside(id).await["pvt_attachments"][name].clone()
    }

    /// Lists the files below the folder of the `file` storages, relative to it, sorted.
    pub fn stored(&self) -> Vec<String> {
        super::files(&self.files())
    }

    /// Waits until the gateway knows all plans and follows their changes: until then, it may read documents to find the plans of their owners.
    pub async fn followed(&self) {
        until("the plans to be followed", async || self.app.gateway.plans.is_followed()).await;
    }

    /// Waits until nothing runs on behalf of requests: commits, clean-up, responses.
    pub async fn settled(&self) {
        let gateway = &self.app.gateway;
        let busy = || {
            gateway.tasks.running() > 0
                || self.app.admission.in_flight() > 0
                || gateway.budget.held() + gateway.spare.held() > 0
        };
        let quiet = async {
            while busy() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let settled = tokio::time::timeout(Duration::from_secs(60), quiet).await;
        assert!(
            settled.is_ok(),
            "left: {} tasks, {} requests, {} bytes of the upload budget",
            gateway.tasks.running(),
            self.app.admission.in_flight(),
            gateway.budget.held() + gateway.spare.held()
        );
    }

    /// Stops the gateway and asserts that nothing is left over.
    pub async fn stop(self) {
        self.settled().await;
        assert_eq!(self.app.stop().await, 0, "something had to be cut off");
    }
}
