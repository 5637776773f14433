//! What CouchDB 3.5 was recorded to answer, replayed against the embedded store, so that it cannot drift from the real one.
//!
//! `COUCHDB_URL=http://name:password@host:port` replays against that server instead.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test that cannot go on has failed"
)]

#[path = "support/wire/mod.rs"]
mod wire;

use stowage::store::{Options, Store};
use tokio::net::TcpListener;
use wire::{Excluded, Rules, Step, Target, replay};

const PACKED: &str = "CouchDB stores text gzipped, the embedded store does not";
const MULTIPART: &str = "the embedded store knows documents with attachments only as JSON";
const CLUSTER: &str = "about a cluster node: its configuration, tasks or replicator";
const VIEWS: &str = "the embedded store has no views, no Mango and no validation functions";
const RAW_FAULT: &str = "CouchDB never answers, or with 500; a server need not repeat its faults";
const RANDOM: &str = "the bytes of big.wav are not recorded, nor can they be made again";
const SHARDS: &str = "the recorded database has two shards, whose changes and counts interleave";
const IDS: &str = "depends on how generated ids sort";

/// Exchanges that are not compared, each with its reason.
const EXCLUDED: &[(&str, &str, Excluded, &str)] = &[];

const LOOSE: &[(&str, &str, &[&str])] = &[];

const BEFORE: &[(&str, &str, &[Step])] = &[];

/// gzip of `hello attachment\n`, `hello` and `world`... and the same unpacked.
const DIGESTS: &[(&str, &str)] = &[
    ("qEvPlRQniDBFNMJHdnGvdQ==", "F7j5MQaDRQVcPnGaqxTxWA=="),
    ("iMaiC8wqiFlD2NjLTemvCQ==", "XUFAKrxLKna5cZ2REBfFkg=="),
];

const RULES: Rules = Rules { excluded: EXCLUDED, loose: LOOSE, before: BEFORE, digests: DIGESTS };

#[tokio::test]
async fn the_store_answers_as_couchdb_was_recorded() {
    let data = tempfile::tempdir().unwrap();
    let admin = ("admin".to_owned(), "admin".to_owned());
    let options = Options { data: data.path().to_owned(), admin, user: None };
    let store = Store::open(options).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = store.serve(listener, async move {
        let _ = stopped.await;
    });
    let target = Target { authority, name: "admin".into(), password: "admin".into() };
    let replaying = async move {
        let report = replay(&target, &RULES).await;
        let _ = stop.send(());
        report
    };
    let (served, report) = tokio::join!(serving, replaying);
    served.unwrap();
    println!("{} exchanges compared, {} excluded", report.compared, report.excluded);
    assert!(report.failures.is_empty(), "{} differ:\n{}", report.failures.len(), report.failures.join("\n"));
}
