//! A call store in this process, in front of an embedded document store.

use std::net::SocketAddr;
use std::time::Duration;

use callstore::app::{App, World};
use callstore::config::{Config, Source, load};
use serde_json::Value;
use stowage_base::signals::Program;
use stowage_testing::couch::Couch;
use stowage_testing::gateway::exchange;
use stowage_testing::raw::RawResponse;
use tempfile::TempDir;

/// A running call store.
pub struct Running {
    pub app: App,
    pub address: SocketAddr,
    pub couch: Couch,
    pub folder: TempDir,
}

/// An unreachable other site.
pub const NORTH: &str = "[{ name = \"north\", urls = [\"amqp://127.0.0.1:1\"] }]";

/// Returns a configuration in a folder, overridden by these variables.
pub fn configuration(folder: &TempDir, settings: &[(&str, &str)]) -> Config {
    let data = folder.path().display().to_string();
    let mut environment: Vec<(String, String)> = [
        ("LISTEN__ADDRESS", "127.0.0.1:0"),
        ("JOURNAL__DATA", &data),
        ("JOURNAL__RESERVE", "1 B"),
        ("STATE__DATA", &data),
        ("RECORDS__CLOSE_AFTER", "1ms"),
        ("RECORDS__KAZOO_WAIT", "1ms"),
    ]
    .iter()
    .chain(settings)
    .map(|(name, value)| (format!("CALLSTORE__{name}"), (*value).to_owned()))
    .collect();
    // Keep the last of duplicates.
    environment.dedup_by(|later, earlier| {
        later.0 == earlier.0 && {
            earlier.1 = later.1.clone();
            true
        }
    });
    load(&Source { text: String::new(), environment }).unwrap()
}

/// Starts a call store with a document store of its own.
pub async fn start(settings: &[(&str, &str)], world: World) -> Running {
    let couch = Couch::embedded(("admin".to_owned(), "admin".to_owned())).await;
    start_over(couch, tempfile::tempdir().unwrap(), settings, world).await
}

/// Starts a call store over an existing document store and folder.
pub async fn start_over(couch: Couch, folder: TempDir, settings: &[(&str, &str)], world: World) -> Running {
    let own = [("COUCHDB__URL", couch.url.as_str()), ("COUCHDB__USERNAME", "admin"), ("COUCHDB__PASSWORD", "admin")];
    let config = configuration(&folder, &[&own, settings].concat());
    let app = App::start(config, world).await.unwrap();
    let address = app.address.unwrap();
    Running { app, address, couch, folder }
}

impl Running {
    /// Stops it; no task or connection may be left.
    pub async fn stop(self) -> (Couch, TempDir) {
        assert_eq!(self.app.stop().await, 0, "tasks or connections were cut off");
        (self.couch, self.folder)
    }

    pub async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> RawResponse {
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        exchange(self.address, method, target, &headers, body).await
    }

    /// Waits until the journal was read to its end, which a start does not wait for.
    pub async fn ready(&self) {
        until("readiness", || async { (self.ask("GET", "/ready", &[], b"").await.status == 200).then_some(()) }).await;
    }

    pub async fn get(&self, target: &str) -> Value {
        let answer = self.ask("GET", target, &[], b"").await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Posts events, one per line, and waits until they are in the journal; they are folded soon after.
    pub async fn post(&self, events: &[Value]) {
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        let answer =
            self.ask("POST", "/v1/events", &[("Content-Type", "application/x-ndjson")], lines.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer["taken"], events.len(), "{answer}");
    }

    /// Returns the documents of a database, by id.
    pub async fn documents(&self, database: &str) -> Vec<Value> {
        documents(&self.couch, database).await
    }

    /// Waits for a record.
    pub async fn record(&self, dialog: &str) -> Value {
        until(&format!("the record of {dialog}"), || async {
            self.documents(SORM).await.into_iter().find(|record| record["dialog_id"] == dialog)
        })
        .await
    }
}

/// Returns the documents of a database, by id; none if it does not exist.
pub async fn documents(couch: &Couch, database: &str) -> Vec<Value> {
    let target = format!("/{}/_all_docs?include_docs=true", database.replace('/', "%2F"));
    let answer = couch.request("GET", &target, "application/json", b"").await;
    let rows: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    rows["rows"].as_array().map(|rows| rows.iter().map(|row| row["doc"].clone()).collect()).unwrap_or_default()
}

/// Polls, with a timeout that only a failing test reaches.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, so: impl Fn() -> F) -> T {
    let asking = async {
        loop {
            if let Some(found) = so().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// The database of the records.
pub const SORM: &str = "cdr/copm3/dialogs";
