//! `kill -9` at random times: acknowledged attachments exist, and once the queue is empty, nothing else does.

mod everything;
mod gateways;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use stowage_testing::gateway::{authorization, exchange};
use stowage_testing::raw::RawResponse;

use crate::commands::program::command;

const ACCOUNT: &str = "4f1c0a5f6e3b4d7e8a9b0c1d2e3f4a5b";
const PATH: &str = "account%2F4f%2F1c%2F0a5f6e3b4d7e8a9b0c1d2e3f4a5b-202411";

/// The number of clients, each of which has a document of its own.
const CLIENTS: u64 = 4;

/// A CouchDB, its plans database, and whether its gateways have `jobs.intents`.
#[derive(Clone, Debug)]
struct Server {
    address: SocketAddr,
    admin: (String, String),
    plans: String,
    intents: bool,
}

impl Server {
    /// Sends a request; `None` if the server is dead.
    async fn ask(&self, method: &str, target: &str, media_type: &str, body: &[u8]) -> Option<RawResponse> {
        let headers = [authorization(&self.admin), ("Content-Type".to_owned(), media_type.to_owned())];
        attempt(self.address, method, target, &headers, body).await
    }

    /// Creates the account's databases, and saves its plan.
    async fn plan(&self, mut plan: Value) {
        for database in [&*self.plans, PATH] {
            self.ask("PUT", &format!("/{database}"), "", b"").await;
        }
        let target = format!("/{}/{ACCOUNT}", self.plans);
        let before = self.ask("GET", &target, "", b"").await.expect("an answer");
        if before.status == 200 {
            let before: Value = serde_json::from_slice(&before.body).expect("JSON");
            plan["_rev"] = before["_rev"].clone();
        }
        let saved = self.ask("PUT", &target, "application/json", plan.to_string().as_bytes()).await.expect("an answer");
        assert_eq!(saved.status, 201, "{saved:?}");
    }

    /// Returns a document directly from CouchDB.
    async fn document(&self, id: &str) -> Option<Value> {
        let answer = self.ask("GET", &format!("/{PATH}/{id}"), "", b"").await?;
        Some(serde_json::from_slice(&answer.body).expect("JSON"))
    }

    /// Returns the attachments of the clients' documents that CouchDB has, as `document/attachment`.
    async fn natives(&self) -> Vec<String> {
        let mut all = Vec::new();
        for index in 0..CLIENTS {
            let id = format!("doc-{index}");
            let document = self.document(&id).await.unwrap_or_default();
            let stubs = document["_attachments"].as_object().into_iter().flatten();
            all.extend(stubs.map(|(name, _)| format!("{id}/{name}")));
        }
        all
    }

    /// Waits until the queue is empty.
    async fn drained(&self) {
        // The job of a request that was cut off is due after a quarter of an hour, unless an operator wants it sooner.
        let (folder, retry) = program(self, &["jobs", "retry", "--all"]);
        let retried = retry.wait_with_output().expect("it ends");
        assert!(retried.status.success(), "{}", String::from_utf8_lossy(&retried.stderr));
        drop(folder);
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            let target = format!("/{}-jobs/_all_docs?include_docs=true", self.plans);
            let answer = self.ask("GET", &target, "", b"").await.expect("an answer");
            let all: Value = serde_json::from_slice(&answer.body).expect("JSON");
            if all["rows"].as_array().is_some_and(Vec::is_empty) {
                return;
            }
            assert!(Instant::now() < until, "jobs wait: {all:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A gateway as a separate process.
struct Process {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Process {
    fn start(couch: &Server) -> Self {
        let (folder, mut child) = program(couch, &["serve"]);
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
        let address =
            lines.find_map(|line| line.strip_prefix("listening proxy http://")?.parse().ok()).expect("a listener");
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, folder }
    }

    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("a child");
        drop(self.folder);
    }
}

/// Starts the program, configured with short timeouts.
fn program(couch: &Server, arguments: &[&str]) -> (tempfile::TempDir, Child) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = command(folder.path(), arguments);
    for (key, value) in [
        ("COUCHDB__URL", &*format!("http://{}", couch.address)),
        ("COUCHDB__USERNAME", &couch.admin.0),
        ("COUCHDB__PASSWORD", &couch.admin.1),
        ("PLANS__DATABASE", &couch.plans),
        ("LISTEN__ADDRESS", "127.0.0.1:0"),
        ("ADMIN__ADDRESS", ""),
        ("EGRESS__ALLOW", "127.0.0.0/8"),
        ("JOBS__DATABASE", &format!("{}-jobs", couch.plans)),
        ("JOBS__INTENTS", if couch.intents { "true" } else { "false" }),
        ("JOBS__QUIET", "200ms"),
        ("JOBS__POLL", "50ms"),
        ("JOBS__LEASE", "3s"),
        ("TIMEOUTS__RESPONSE_HEAD", "2s"),
    ] {
        command.env(format!("STOWAGE__{key}"), value);
    }
    let child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the program starts");
    (folder, child)
}

/// The acknowledged state of an attachment (`None`: removed), and possible results of unanswered requests.
type State = (Content, Vec<Content>);
type Content = Option<Vec<u8>>;

/// A client, and the attachments that it knows to be saved, by name.
struct Client {
    id: String,
    rev: Option<String>,
    names: BTreeMap<String, State>,
    seed: u64,
}

impl Client {
    fn new(index: u64) -> Self {
        Self { id: format!("doc-{index}"), rev: None, names: BTreeMap::new(), seed: index + 1 }
    }

    fn next(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % below
    }

    async fn ask(
        &self,
        gateway: SocketAddr,
        couch: &Server,
        method: &str,
        name: &str,
        body: &[u8],
    ) -> Option<RawResponse> {
        let rev = self.rev.as_ref().map(|rev| format!("?rev={rev}")).unwrap_or_default();
        let target = format!("/{PATH}/{}/{name}{rev}", self.id);
        let headers = [authorization(&couch.admin), ("Content-Type".to_owned(), "audio/mpeg".to_owned())];
        attempt(gateway, method, &target, &headers, body).await
    }

    /// Puts and deletes attachments until the gateway is gone or the test ends.
    async fn work(&mut self, gateway: SocketAddr, couch: &Server, ends: &AtomicBool) {
        while !ends.load(Ordering::Relaxed) {
            let name = format!("a{}", self.next(3));
            let size = if self.next(6) == 0 { (5 << 20) + 1 + self.next(100) } else { 1 + self.next(5000) };
            let is_removal = self.next(4) == 0 && self.names.get(&name).is_some_and(|(known, _)| known.is_some());
            let wanted = (!is_removal).then(|| {
                let byte = u8::try_from(self.next(250)).unwrap();
                vec![byte; usize::try_from(size).unwrap()]
            });
            let (method, body) = if is_removal { ("DELETE", &[][..]) } else { ("PUT", wanted.as_deref().unwrap()) };
            let answer = self.ask(gateway, couch, method, &name, body).await;
            let entry = self.names.entry(name).or_default();
            match answer {
                Some(answer) if answer.status < 300 => {
                    *entry = (wanted, Vec::new());
                    let text: Value = serde_json::from_slice(&answer.body).expect("JSON");
                    self.rev = Some(text["rev"].as_str().expect("a revision").to_owned());
                }
                // An earlier request without a response was saved after all: only its revision is unknown.
                Some(answer) if answer.status == 409 => return self.look(couch).await,
                Some(answer) => {
                    assert!(answer.status >= 500 || answer.status == 404, "{answer:?}");
                    entry.1.push(wanted);
                    return self.look(couch).await;
                }
                None => {
                    entry.1.push(wanted);
                    return;
                }
            }
        }
    }

    /// Reads the document's revision directly from CouchDB.
    async fn look(&mut self, couch: &Server) {
        if let Some(document) = couch.document(&self.id).await {
            self.rev = document["_rev"].as_str().map(str::to_owned);
        }
    }

    /// Checks that CouchDB, whose attachments these are, has none that was acknowledged: a job should have moved it, and no job is left.
    fn has_moved(&self, natives: &[String]) {
        for (name, (known, doubtful)) in &self.names {
            let stays = natives.contains(&format!("{}/{name}", self.id));
            assert!(!stays || known.is_none() || !doubtful.is_empty(), "{}/{name} has lost its job", self.id);
        }
    }

    /// Checks that the document matches the client's knowledge, and every attachment is readable. Returns the locations in the document.
    async fn audit(&self, couch: &Server, gateway: SocketAddr) -> Vec<Value> {
        let document = couch.document(&self.id).await.expect("an answer");
        let mut named = Vec::new();
        for (name, (known, doubtful)) in &self.names {
            let pointer = &document["pvt_attachments"][name];
            named.extend(pointer.get("stowage").map(|object| object["location"].clone()));
            let target = format!("/{PATH}/{}/{name}", self.id);
            let got = exchange(gateway, "GET", &target, &[authorization(&couch.admin)], b"").await;
            let found = (got.status == 200).then_some(got.body.clone());
            let may_be = found == *known || doubtful.contains(&found);
            let (length, status, known) = (got.body.len(), got.status, known.as_ref().map_or(0, Vec::len));
            assert!(may_be, "{}/{name}: {status}, {length} bytes; {known} were known of", self.id);
        }
        named
    }
}

/// Sends a request to a server that may be killed meanwhile.
async fn attempt(
    gateway: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Option<RawResponse> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {gateway}\r\nContent-Length: {}\r\n", body.len());
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    head.push_str("\r\n");
    let mut client = stowage_testing::raw::RawClient::connect(gateway).await.ok()?;
    let answer = client.exchange(&[head.as_bytes(), body].concat()).await.ok()?;
    answer.complete.then_some(answer)
}
