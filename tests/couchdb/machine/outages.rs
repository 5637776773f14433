//! A storage that goes down and comes back, and the invariants once it is back.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::compare::shown;
use super::memory::Side;
use super::operation::{self, DOCUMENTS, Operation};
use super::request::Request;
use super::run::Run;
use stowage_testing::gateway::{Running, Setup};
use stowage_testing::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use stowage_testing::switch::{Switch, Weather};

const BUCKET: &str = "recordings";

/// Generates any operation, with outages of the storage.
pub fn any_in_outages() -> BoxedStrategy<Operation> {
    let weather =
        select(vec![Weather::Fair, Weather::Fair, Weather::Fair, Weather::Refused, Weather::Silent, Weather::Busy]);
    let after = prop_oneof![1 => Just(None), 1 => (0..12_u64).prop_map(Some)];
    prop_oneof![8 => operation::any(), 1 => (weather, after).prop_map(|(to, after)| Operation::Turn { to, after })]
        .boxed()
}

/// The storage behind a gateway.
pub struct Outages {
    s3: S3Server,
    /// Whether CouchDB must not keep what the storage cannot take.
    pub refuses: bool,
    pub switch: Switch,
}

impl Outages {
    /// Starts a gateway whose storage can go down, without a worker for jobs: a move gives a document one more revision than on the direct side.
    pub async fn start(on_unavailable: &str, failures: u32) -> (Self, Running) {
        let s3 = S3Server::start().await;
        s3.make_bucket(BUCKET);
        let switch = Switch::start(s3.address());
        let setup = Setup::default()
            .set("couchdb.present_stubs", "true")
            .set("fallback.on_unavailable", on_unavailable)
            .set("fallback.failures", &failures.to_string())
            .set("timeouts.response_head", "2s");
        let gateway = setup.start().await;
        let settings = json!({
            "host": "127.0.0.1", "port": switch.port(), "scheme": "http", "bucket": BUCKET, "key": ACCESS_KEY,
            "secret": SECRET_KEY, "bucket_access_method": "path",
        });
        gateway.plan("s3", settings).await;
        (Self { s3, refuses: on_unavailable == "refuse", switch }, gateway)
    }

    /// Returns whether a client may be told that the storage does not respond.
    pub fn is_down(&self, gateway: &Running) -> bool {
        let mut standings = gateway.app.gateway.storages.standings();
        self.switch.weather() != Weather::Fair || standings.any(|standing| standing.down.is_some())
    }

    /// Changes the weather during an operation.
    pub async fn turn(&self, to: Weather, after: u64) {
        tokio::time::sleep(Duration::from_millis(after)).await;
        self.switch.turn(to);
    }

    /// Ends the outages.
    pub fn end(&self) {
        self.switch.turn(Weather::Fair);
    }

    /// Has another gateway do the pending jobs. Then clients see the same as on the direct side except for revisions, CouchDB has no attachment of a
    /// winning revision, and the storage has exactly the named objects.
    pub async fn all_is_stored(&self, run: &Run<'_>) -> Result<(), String> {
        let gateway = &run.world.gateway;
        drained(gateway).await?;
        let mut named = BTreeSet::new();
        for document in DOCUMENTS {
            let [here, there] = [leaves(run, Side::Direct, document).await, leaves(run, Side::Gateway, document).await];
            if here != there {
                return Err(format!("once all is moved, {document:?}:\n  {here:#?}\ndirectly,\n  {there:#?}"));
            }
            let path = format!("/{}{}", run.names[1].database.replace('/', "%2F"), super::request::path(document));
            let inside = async |query: &str| {
                let answer = gateway.couch.request("GET", &format!("{path}{query}"), "application/json", b"").await;
                serde_json::from_slice::<Value>(&answer.body).unwrap_or(Value::Null)
            };
            let winner = inside("").await;
            if !winner["_attachments"].is_null() {
                return Err(format!("CouchDB keeps attachments of {document:?}: {winner:#}"));
            }
            for leaf in inside("?open_revs=all").await.as_array().into_iter().flatten() {
                if self.refuses && !leaf["ok"]["_attachments"].is_null() {
                    return Err(format!("CouchDB has what it must not have: {leaf:#}"));
                }
                for pointer in leaf["ok"]["pvt_attachments"].as_object().into_iter().flat_map(|all| all.values()) {
                    named.insert(pointer["stowage"]["location"]["key"].as_str().expect("a key").to_owned());
                }
            }
        }
        let there: BTreeSet<String> = self.s3.objects(BUCKET).into_keys().collect();
        let mine = |key: &&String| key.contains(&run.names[1].database);
        let left: Vec<&String> = there.iter().filter(mine).filter(|key| !named.contains(*key)).collect();
        let lost: Vec<&String> = named.iter().filter(|key| !there.contains(*key)).collect();
        match (lost.as_slice(), left.as_slice()) {
            ([], []) => Ok(()),
            _ => Err(format!("objects that are named and not there: {lost:?}; that are there and not named: {left:?}")),
        }
    }
}

/// Does the pending jobs with a separate gateway.
async fn drained(gateway: &Running) -> Result<(), String> {
    let database = gateway.app.gateway.jobs.config().database.clone();
    let waiting = async || {
        let answer = gateway.couch.request("GET", &format!("/{database}/_all_docs?include_docs=true"), "", b"").await;
        let listed = serde_json::from_slice::<Value>(&answer.body).unwrap_or(Value::Null);
        listed["rows"].as_array().cloned().unwrap_or_default()
    };
    if waiting().await.is_empty() {
        return Ok(());
    }
    let setup = Setup::default()
        .set("jobs.concurrency", "4")
        .set("jobs.quiet", "1ms")
        .set("jobs.poll", "20ms")
        .set("jobs.lease", "1s");
    let worker = gateway.beside(setup).await;
    let empty = async {
        while !waiting().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), empty).await;
    worker.stop().await;
    match ended {
        Ok(()) => Ok(()),
        Err(_) => Err(format!("jobs wait: {:#?}", waiting().await)),
    }
}

/// Returns the leaves of a document with their attachments, except for what a move changes: revisions, and generations of attachments.
async fn leaves(run: &Run<'_>, side: Side, document: &str) -> Vec<String> {
    let rest = format!("{}?open_revs=all&attachments=true", super::request::path(document));
    let headers = vec![("Accept".to_owned(), "application/json".to_owned())];
    let request = Request { method: "GET", rest, headers, body: Vec::new() };
    let mut answer = run.ask(side, &request).await;
    // The gateway's breaker may still be open: it admits one read per second.
    for _ in 0..600 {
        if answer.status < 500 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        answer = run.ask(side, &request).await;
    }
    let leaves = shown(serde_json::from_slice(&answer.body).unwrap_or(Value::Null));
    let leaf = |mut leaf: Value| {
        let members = leaf["ok"].as_object_mut()?;
        members.remove("_rev");
        for entry in
            members.get_mut("_attachments").and_then(Value::as_object_mut).into_iter().flat_map(|all| all.values_mut())
        {
            entry.as_object_mut()?.remove("revpos");
        }
        Some(super::compare::sorted(leaf).to_string())
    };
    let mut told: Vec<String> = leaves.as_array().cloned().unwrap_or_default().into_iter().filter_map(leaf).collect();
    told.sort();
    told
}
