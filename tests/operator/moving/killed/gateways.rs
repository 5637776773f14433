//! Gateways with S3 storages, which are down at times, are killed: no attachment, orphaned object or unfinished upload is left where it was.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use stowage_testing::couch::Couch;
use stowage_testing::gateway::STORAGE;
use stowage_testing::is_long;
use stowage_testing::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use stowage_testing::switch::{Switch, Weather};

use super::{ACCOUNT, CLIENTS, Client, Process, Server};

const BUCKET: &str = "recordings";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_is_left() {
    let store = Couch::start().await;
    store.note_account(ACCOUNT);
    let couch =
        Server { address: store.address(), admin: store.admin.clone(), plans: store.plans.clone(), intents: true };
    let s3 = S3Server::start().await;
    s3.make_bucket(BUCKET);
    let switch = Switch::start(s3.address());
    let settings = json!({
        "host": "127.0.0.1", "port": switch.port(), "scheme": "http", "bucket": BUCKET, "key": ACCESS_KEY,
        "secret": SECRET_KEY, "bucket_access_method": "path",
    });
    let plan = json!({
        "pvt_type": "storage",
        "attachments": { STORAGE: { "handler": "s3", "settings": settings } },
        "plan": { "modb": { "attachments": { "handler": STORAGE } } },
    });
    couch.plan(plan).await;
    let mut clients: Vec<Client> = (0..CLIENTS).map(Client::new).collect();
    let rounds = if is_long() { 200 } else { 12 };
    let (mut killed, mut fallen) = (0, 0);
    for round in 0..rounds {
        let process = Process::start(&couch);
        join_all(clients.iter_mut().filter(|client| client.rev.is_some()).map(|client| client.look(&couch))).await;
        let (address, ends) = (process.address, AtomicBool::new(false));
        let work = join_all(clients.iter_mut().map(|client| client.work(address, &couch, &ends)));
        let is_down = round % 3 == 1;
        if is_down {
            switch.turn(Weather::Refused);
        }
        let killing = async {
            tokio::time::sleep(Duration::from_millis(20 + (round * 37) % 400)).await;
            if is_down {
                // On a busy machine, no upload may have given up by now.
                drop(tokio::time::timeout(Duration::from_secs(5), falls_back(&couch)).await);
            }
            process.kill();
        };
        tokio::join!(work, killing);
        if is_down {
            fallen += couch.natives().await.len();
            switch.turn(Weather::Fair);
        }
        killed += 1;
    }
    assert_eq!(killed, rounds);
    assert!(fallen > 0, "CouchDB never kept anything");
    let last = Process::start(&couch);
    couch.drained().await;
    let natives = couch.natives().await;
    clients.iter().for_each(|client| client.has_moved(&natives));
    let mut named = BTreeSet::new();
    for client in &clients {
        let places = client.audit(&couch, last.address).await;
        named.extend(places.iter().map(|place| place["key"].as_str().expect("a key").to_owned()));
    }
    assert_eq!(s3.objects(BUCKET).into_keys().collect::<BTreeSet<_>>(), named, "objects, and what documents name");
    assert!(s3.pending().is_empty(), "{:?}", s3.pending());
    last.kill();
}

/// Waits until CouchDB keeps an attachment.
async fn falls_back(couch: &Server) {
    while couch.natives().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
