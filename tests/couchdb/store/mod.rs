//! Behavior of the embedded store that the recordings do not cover: users, feeds during changes, branches, large bodies, shutdown, and persistence
//! across a restart.

mod bodies;
mod documents;
mod feeds;
mod users;
mod whole;

use stowage_testing::wire;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use stowage_couch_embedded::{Options, Store};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use stowage_testing::wire::{Answer, Connection, Target};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A store on its own port.
struct Running {
    target: Target,
    stop: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
}

#[expect(clippy::disallowed_methods, reason = "the server of a test; `stop` waits for it")]
async fn start(data: &Path, limit: u64) -> Running {
    let options = Options {
        data: data.to_owned(),
        admin: ("admin".into(), "secret".into()),
        user: Some(("ann".into(), "word".into())),
    };
    let store = Store::open(options).unwrap().with_body_limit(limit);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(async move {
        let stopped = async move { drop(stopped.await) };
        store.serve(listener, stopped).await
    });
    let target = Target { authority, name: "admin".into(), password: "secret".into() };
    Running { target, stop, served }
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        let served = tokio::time::timeout(Duration::from_secs(10), self.served).await;
        served.expect("the server ends in time").unwrap().unwrap();
    }

    async fn get(&self, path: &str) -> Answer {
        self.target.ask("GET", path, &[], b"").await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.target.ask("PUT", path, &[JSON], body.to_string().as_bytes()).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.target.ask("POST", path, &[JSON], body.to_string().as_bytes()).await
    }

    /// Starts a request whose response is read in pieces.
    async fn feed(&self, path: &str) -> Connection {
        let mut connection = Connection::open(&self.target.authority).await;
        let (host, login) = (&self.target.authority, self.target.login());
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {login}\r\n\r\n");
        connection.send(head.as_bytes()).await;
        assert_eq!(connection.next_head().await.unwrap().status, 200);
        connection
    }
}

async fn small() -> (tempfile::TempDir, Running) {
    let data = tempfile::tempdir().unwrap();
    let running = start(data.path(), 1024 * 1024).await;
    assert_eq!(running.put("/db", Value::Null).await.status, 201);
    (data, running)
}

fn rev(answer: &Answer) -> String {
    assert!(matches!(answer.status, 200..=202), "{answer:?}");
    answer.json()["rev"].as_str().expect("a revision").to_owned()
}

#[test]
fn passwords_are_not_shown() {
    let options = Options {
        data: "/data".into(),
        admin: ("admin".into(), "canary-1".into()),
        user: Some(("ann".into(), "canary-2".into())),
    };
    let shown = format!("{options:?}");
    assert!(shown.contains("admin") && shown.contains("ann"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}
