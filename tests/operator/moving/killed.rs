//! `kill -9` of gateways at random moments: what was acknowledged is there, and once the queue is empty nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use stowage_testing::couch::Couch;
use stowage_testing::gateway::{STORAGE, authorization, exchange};
use stowage_testing::is_long;
use stowage_testing::raw::RawResponse;
use stowage_testing::s3::{ACCESS_KEY, S3Server, SECRET_KEY};

use crate::commands::program::command;

const BUCKET: &str = "recordings";
const ACCOUNT: &str = "4f1c0a5f6e3b4d7e8a9b0c1d2e3f4a5b";
const DATABASE: &str = "account/4f/1c/0a5f6e3b4d7e8a9b0c1d2e3f4a5b-202411";
const PATH: &str = "account%2F4f%2F1c%2F0a5f6e3b4d7e8a9b0c1d2e3f4a5b-202411";

/// A gateway as a process of its own.
struct Process {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Process {
    fn start(couch: &Couch) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = command(folder.path(), &["serve"]);
        for (key, value) in [
            ("COUCHDB__URL", &*couch.url),
            ("COUCHDB__USERNAME", &couch.admin.0),
            ("COUCHDB__PASSWORD", &couch.admin.1),
            ("PLANS__DATABASE", &couch.plans),
            ("LISTEN__ADDRESS", "127.0.0.1:0"),
            ("ADMIN__ADDRESS", ""),
            ("EGRESS__ALLOW", "127.0.0.0/8"),
            ("JOBS__DATABASE", &format!("{}-jobs", couch.plans)),
            ("JOBS__INTENTS", "true"),
            ("JOBS__QUIET", "200ms"),
            ("JOBS__POLL", "50ms"),
            ("JOBS__LEASE", "1s"),
        ] {
            command.env(format!("STOWAGE__{key}"), value);
        }
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the program starts");
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

/// What was acknowledged of an attachment (nothing: that it is gone), and what may have come of requests without an answer.
type State = (Content, Vec<Content>);
type Content = Option<Vec<u8>>;

/// One client: what it knows to be saved, by the attachments' names.
struct Client {
    id: String,
    rev: Option<String>,
    names: BTreeMap<String, State>,
    seed: u64,
}

impl Client {
    fn next(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % below
    }

    async fn ask(
        &self,
        gateway: SocketAddr,
        couch: &Couch,
        method: &str,
        name: &str,
        body: &[u8],
    ) -> Option<RawResponse> {
        let rev = self.rev.as_ref().map(|rev| format!("?rev={rev}")).unwrap_or_default();
        let target = format!("/{PATH}/{}/{name}{rev}", self.id);
        let headers = [authorization(&couch.admin), ("Content-Type".to_owned(), "audio/mpeg".to_owned())];
        attempt(gateway, method, &target, &headers, body).await
    }

    /// Puts or deletes an attachment, until the gateway is gone.
    async fn work(&mut self, gateway: SocketAddr, couch: &Couch) {
        loop {
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
                // An earlier one of which that was not known was saved: only its revision is.
                Some(answer) if answer.status == 409 => return self.look(couch).await,
                Some(answer) => assert!(answer.status >= 500 || answer.status == 404, "{answer:?}"),
                None => {
                    entry.1.push(wanted);
                    return;
                }
            }
        }
    }

    /// Reads the document's revision past the gateway.
    async fn look(&mut self, couch: &Couch) {
        let answer = couch.request("GET", &format!("/{PATH}/{}", self.id), "", b"").await;
        let document: Value = serde_json::from_slice(&answer.body).expect("JSON");
        self.rev = document["_rev"].as_str().map(str::to_owned);
    }
}

/// A request whose server may be killed meanwhile.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_is_left() {
    let couch = Couch::start().await;
    couch.note_account(ACCOUNT);
    let s3 = S3Server::start().await;
    s3.make_bucket(BUCKET);
    for database in [&*couch.plans, PATH] {
        couch.request("PUT", &format!("/{database}"), "", b"").await;
    }
    let settings = json!({
        "host": "127.0.0.1", "port": s3.address().port(), "scheme": "http", "bucket": BUCKET, "key": ACCESS_KEY,
        "secret": SECRET_KEY, "bucket_access_method": "path",
    });
    let plan = json!({
        "pvt_type": "storage",
        "attachments": { STORAGE: { "handler": "s3", "settings": settings } },
        "plan": { "modb": { "attachments": { "handler": STORAGE } } },
    });
    let target = format!("/{}/{ACCOUNT}", couch.plans);
    let saved = couch.request("PUT", &target, "application/json", plan.to_string().as_bytes()).await;
    assert_eq!(saved.status, 201, "{saved:?}");
    let mut clients: Vec<Client> = (0..4)
        .map(|index| Client { id: format!("doc-{index}"), rev: None, names: BTreeMap::new(), seed: index + 1 })
        .collect();
    let rounds = if is_long() { 200 } else { 12 };
    let mut killed = 0;
    for round in 0..rounds {
        let process = Process::start(&couch);
        join_all(clients.iter_mut().filter(|client| client.rev.is_some()).map(|client| client.look(&couch))).await;
        let address = process.address;
        let work = join_all(clients.iter_mut().map(|client| client.work(address, &couch)));
        let killing = async {
            tokio::time::sleep(Duration::from_millis(20 + (round * 37) % 400)).await;
            process.kill();
        };
        tokio::join!(work, killing);
        killed += 1;
    }
    assert_eq!(killed, rounds);
    let last = Process::start(&couch);
    drained(&couch).await;
    audit(&couch, &s3, &clients, last.address).await;
    last.kill();
}

/// Waits until the queue is empty.
async fn drained(couch: &Couch) {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let answer = couch.request("GET", &format!("/{}-jobs/_all_docs?include_docs=true", couch.plans), "", b"").await;
        let all: Value = serde_json::from_slice(&answer.body).expect("JSON");
        if all["rows"].as_array().is_some_and(Vec::is_empty) {
            return;
        }
        assert!(Instant::now() < until, "jobs wait: {all:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Every document says what its client knows, every attachment comes back, and no other object is there.
async fn audit(couch: &Couch, s3: &S3Server, clients: &[Client], gateway: SocketAddr) {
    let mut named = BTreeSet::new();
    for client in clients {
        let answer = couch.request("GET", &format!("/{PATH}/{}", client.id), "", b"").await;
        let document: Value = serde_json::from_slice(&answer.body).expect("JSON");
        for (name, (known, doubtful)) in &client.names {
            let pointer = &document["pvt_attachments"][name];
            named.extend(pointer["stowage"]["location"]["key"].as_str().map(str::to_owned));
            let target = format!("/{PATH}/{}/{name}", client.id);
            let got = exchange(gateway, "GET", &target, &[authorization(&couch.admin)], b"").await;
            let found = (got.status == 200).then_some(got.body.clone());
            let may_be = found == *known || doubtful.contains(&found);
            let (length, status) = (got.body.len(), got.status);
            assert!(
                may_be,
                "{}/{name}: {status}, {length} bytes; {} were known of",
                client.id,
                known.as_ref().map_or(0, Vec::len)
            );
        }
    }
    assert_eq!(
        s3.objects(BUCKET).into_keys().collect::<BTreeSet<_>>(),
        named,
        "objects in {DATABASE}, and what it names"
    );
    assert!(s3.pending().is_empty(), "{:?}", s3.pending());
}
