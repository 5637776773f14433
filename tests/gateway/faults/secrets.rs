//! No secret of a plan, the configuration or a client appears in a document, a log line, a metric or an error.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::world::settings;
use stowage_testing::gateway::{Couch, authorization, exchange};
use stowage_testing::raw::RawResponse;
use stowage_testing::s3::{S3Server, SECRET_KEY};

/// All secrets. The password in `COUCHDB_URL` is not searched for: it may be any word.
const CANARIES: [&str; 9] = [
    SECRET_KEY,
    "canary-s3-secret",
    "CANARYKEYID",
    "canary-in-a-list",
    "canary-url-user",
    "canary-url-password",
    "canary-header",
    "canary-couchdb-password",
    "canary-client-password",
];

/// The program as a separate process, and its log lines.
struct Program {
    child: Child,
    lines: Arc<Mutex<String>>,
    proxy: SocketAddr,
    admin: SocketAddr,
    /// The month database's name as in a path.
    database: String,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    async fn start(couch: &Couch, database: String, files: &std::path::Path) -> Self {
        let variables = [
            ("STOWAGE__COUCHDB__URL", couch.url.as_str()),
            ("STOWAGE__COUCHDB__USERNAME", &couch.admin.0),
            ("STOWAGE__COUCHDB__PASSWORD", &couch.admin.1),
            ("STOWAGE__PLANS__DATABASE", &couch.plans),
            ("STOWAGE__LISTEN__ADDRESS", "127.0.0.1:0"),
            ("STOWAGE__ADMIN__ADDRESS", "127.0.0.1:0"),
            ("STOWAGE__EGRESS__ALLOW", "127.0.0.0/8"),
            ("STOWAGE__STORAGE__FILE_ROOT", files.to_str().expect("a path")),
            ("STOWAGE__LOG__LEVEL", "trace"),
            ("STOWAGE__LOG__ACCESS", "attachments"),
            ("STOWAGE__TIMEOUTS__RESPONSE_HEAD", "2s"),
        ];
        let mut child = Command::new(env!("CARGO_BIN_EXE_stowage"))
            .arg("serve")
            .env_clear()
            .envs(variables)
            .current_dir(files)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let lines = Arc::new(Mutex::new(String::new()));
        let (told, mut telling) = watch::channel((None, None));
        let (errors, kept) = (child.stderr.take().expect("piped"), Arc::clone(&lines));
        std::thread::spawn(move || {
            use std::io::BufRead;
            for line in std::io::BufReader::new(errors).lines().map_while(Result::ok) {
                let address = |name: &str| line.strip_prefix(name).and_then(|rest| rest.parse::<SocketAddr>().ok());
                if let Some(address) = address("listening proxy http://") {
                    told.send_modify(|(proxy, _)| *proxy = Some(address));
                } else if let Some(address) = address("listening admin http://") {
                    told.send_modify(|(_, admin)| *admin = Some(address));
                }
                let mut kept = kept.lock().expect("lines");
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        let addresses = telling.wait_for(|(proxy, admin)| proxy.is_some() && admin.is_some()).await;
        let (proxy, admin) = *addresses.expect("the program says where it listens");
        Self { child, lines, proxy: proxy.expect("an address"), admin: admin.expect("an address"), database }
    }

    async fn request(&self, couch: &Couch, method: &str, rest: &str, body: &[u8]) -> RawResponse {
        exchange(self.proxy, method, &format!("/{}/{rest}", self.database), &[authorization(&couch.admin)], body).await
    }
}

/// Storages that work, refuse, or do not exist, and all kinds of invalid settings.
fn storages(port: u16) -> Value {
    let with = |changes: Value| {
        let mut settings = settings(port);
        for (key, value) in changes.as_object().expect("an object") {
            settings[key] = value.clone();
        }
        json!({ "handler": "s3", "settings": settings })
    };
    let http = |changes: Value| {
        let mut settings = json!({
            "url": format!("http://canary-url-user:canary-url-password@127.0.0.1:{port}/x"),
            "headers": { "x-key": "canary-header" },
        });
        for (key, value) in changes.as_object().expect("an object") {
            settings[key] = value.clone();
        }
        json!({ "handler": "http", "settings": settings })
    };
    json!({
        "good": with(json!({})),
        "wrongsecret": with(json!({ "secret": "canary-s3-secret" })),
        "wrongkey": with(json!({ "key": "CANARYKEYID" })),
        "nobody": with(json!({ "port": 1, "secret": "canary-s3-secret", "key": "CANARYKEYID" })),
        "privateaddress": with(json!({ "host": "10.0.0.1", "secret": "canary-s3-secret" })),
        "secretlist": with(json!({ "secret": ["canary-in-a-list"] })),
        "keyobject": with(json!({ "key": { "a": "canary-in-a-list" } })),
        "portlist": with(json!({ "port": ["canary-in-a-list"] })),
        "badhost": with(json!({ "host": "canary-url-user:canary-url-password@x/y" })),
        "badbucket": with(json!({ "bucket": "canary-in-a-list/../.." })),
        "badscheme": with(json!({ "scheme": "canary-in-a-list" })),
        "http": http(json!({})),
        "httpverb": http(json!({ "verb": "canary-in-a-list" })),
        "httpport": http(json!({ "url": "http://canary-url-user:canary-url-password@127.0.0.1:1/x" })),
        "httpurl": http(json!({ "url": "canary-url-user:canary-url-password" })),
        "httpheaders": http(json!({ "headers": "canary-header" })),
        "unknown": { "handler": "canary-free", "settings": { "secret": "canary-s3-secret" } },
    })
}

async fn save_plan(couch: &Couch, account: &str, storages: &Value) -> Vec<String> {
    let names: Vec<String> = storages.as_object().expect("an object").keys().cloned().collect();
    let types: serde_json::Map<String, Value> =
        names.iter().map(|name| (name.clone(), json!({ "attachments": { "handler": name } }))).collect();
    let plan = json!({ "pvt_type": "storage", "attachments": storages, "plan": { "modb": { "types": types } } });
    couch.request("PUT", &format!("/{}", couch.plans), "", b"").await;
    couch.save(&format!("/{}/{account}", couch.plans), &plan).await;
    names
}

/// Stores, reads and removes an attachment in every storage; returns all responses.
async fn use_all(program: &Program, couch: &Couch, names: &[String]) -> Vec<RawResponse> {
    let mut answers = Vec::new();
    let mut stored = 0;
    for name in names {
        let text = json!({ "pvt_type": name }).to_string();
        let made = program.request(couch, "PUT", name, text.as_bytes()).await;
        let rev = stowage_testing::gateway::rev(&made);
        let put = program.request(couch, "PUT", &format!("{name}/call.mp3?rev={rev}"), b"a recording").await;
        if put.status == 201 {
            stored += 1;
        } else {
            assert!(matches!(put.status, 502 | 504), "{name}: {put:?}");
        }
        for method in ["GET", "HEAD"] {
            answers.push(program.request(couch, method, &format!("{name}/call.mp3"), b"").await);
        }
        answers.push(program.request(couch, "GET", name, b"").await);
        if name != "good" {
            let rev = stowage_testing::gateway::json(answers.last().expect("just pushed"))["_rev"].clone();
            let target = format!("{name}/call.mp3?rev={}", rev.as_str().expect("a revision"));
            answers.push(program.request(couch, "DELETE", &target, b"").await);
        }
        answers.extend([made, put]);
    }
    assert!(stored >= 1, "nothing was stored");
    let client = [authorization(&("somebody".to_owned(), "canary-client-password".to_owned()))];
    for (method, target) in [("GET", "good/call.mp3"), ("PUT", "good/call.mp3"), ("PUT", "good"), ("GET", "%zz/x")] {
        let target = format!("/{}/{target}", program.database);
        answers.push(exchange(program.proxy, method, &target, &client, b"x").await);
    }
    answers
}

/// Checks that a text contains no canary, neither plain nor in base64 at any of its three alignments.
fn search(place: &str, text: &str) {
    for canary in CANARIES {
        assert!(!text.contains(canary), "{canary} is in {place}: {}", around(text, canary));
        for offset in 0..3 {
            let encoded = STANDARD.encode([&vec![b'x'; offset][..], canary.as_bytes()].concat());
            // The first and last characters depend on adjacent bytes.
            let inner = &encoded[if offset == 0 { 0 } else { 4 }..encoded.len() - 4];
            assert!(!text.contains(inner), "{canary} is in {place} as base64: {}", around(text, inner));
        }
    }
}

fn around<'a>(text: &'a str, part: &str) -> &'a str {
    text.lines().find(|line| line.contains(part)).unwrap_or_default()
}

fn shown(answer: &RawResponse) -> String {
    format!("{:?} {}", answer.headers, answer.text())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_leaves_the_plan() {
    let couch = Couch::start_with_password("canary-couchdb-password").await;
    let s3 = S3Server::start().await;
    s3.make_bucket(super::world::BUCKET);
    let account = uuid::Uuid::new_v4().simple().to_string();
    let database = format!("account%2F{}%2F{}%2F{}-202411", &account[..2], &account[2..4], &account[4..]);
    couch.request("PUT", &format!("/{database}"), "", b"").await;
    let names = save_plan(&couch, &account, &storages(s3.address().port())).await;
    let files = tempfile::tempdir().expect("a temporary folder");
    let program = Program::start(&couch, database.clone(), files.path()).await;
    let answers = use_all(&program, &couch, &names).await;

    for answer in &answers {
        search("an answer", &shown(answer));
    }
    let documents = couch.request("GET", &format!("/{database}/_all_docs?include_docs=true"), "", b"").await;
    assert!(documents.text().contains("pvt_attachments"), "a pointer is among what is searched");
    search("a document", &documents.text());
    for target in ["/metrics", "/_up", "/health", "/ready", "/"] {
        let answer = exchange(program.admin, "GET", target, &[], b"").await;
        assert!(target != "/metrics" || answer.text().contains("stowage_backend_requests_total"), "{answer:?}");
        search(target, &shown(&answer));
    }
    let lines = program.lines.lock().expect("lines").clone();
    assert!(lines.contains("request failed") && lines.contains("DEBUG"), "{lines}");
    search("the log", &lines);
    couch.request("DELETE", &format!("/{database}"), "", b"").await;
}

/// The search itself finds canaries.
#[test]
#[should_panic(expected = "as base64")]
fn the_search_sees_through_base64() {
    search("a text", &format!("Basic {}", STANDARD.encode("admin:canary-couchdb-password")));
}
