//! Gateways with S3 storages are killed: no orphaned object and no unfinished upload is left.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use stowage_testing::couch::Couch;
use stowage_testing::gateway::STORAGE;
use stowage_testing::is_long;
use stowage_testing::s3::{ACCESS_KEY, S3Server, SECRET_KEY};

use super::{ACCOUNT, Client, Process, Server};

const BUCKET: &str = "recordings";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_is_left() {
    let store = Couch::start().await;
    store.note_account(ACCOUNT);
    let couch = Server { address: store.address(), admin: store.admin.clone(), plans: store.plans.clone() };
    let s3 = S3Server::start().await;
    s3.make_bucket(BUCKET);
    let settings = json!({
        "host": "127.0.0.1", "port": s3.address().port(), "scheme": "http", "bucket": BUCKET, "key": ACCESS_KEY,
        "secret": SECRET_KEY, "bucket_access_method": "path",
    });
    let plan = json!({
        "pvt_type": "storage",
        "attachments": { STORAGE: { "handler": "s3", "settings": settings } },
        "plan": { "modb": { "attachments": { "handler": STORAGE } } },
    });
    couch.plan(&plan).await;
    let mut clients: Vec<Client> = (0..4).map(Client::new).collect();
    let rounds = if is_long() { 200 } else { 12 };
    let mut killed = 0;
    for round in 0..rounds {
        let process = Process::start(&couch);
        join_all(clients.iter_mut().filter(|client| client.rev.is_some()).map(|client| client.look(&couch))).await;
        let (address, ends) = (process.address, AtomicBool::new(false));
        let work = join_all(clients.iter_mut().map(|client| client.work(address, &couch, &ends)));
        let killing = async {
            tokio::time::sleep(Duration::from_millis(20 + (round * 37) % 400)).await;
            process.kill();
        };
        tokio::join!(work, killing);
        killed += 1;
    }
    assert_eq!(killed, rounds);
    let last = Process::start(&couch);
    couch.drained().await;
    let mut named = BTreeSet::new();
    for client in &clients {
        let places = client.audit(&couch, last.address).await;
        named.extend(places.iter().map(|place| place["key"].as_str().expect("a key").to_owned()));
    }
    assert_eq!(s3.objects(BUCKET).into_keys().collect::<BTreeSet<_>>(), named, "objects, and what documents name");
    assert!(s3.pending().is_empty(), "{:?}", s3.pending());
    last.kill();
}
