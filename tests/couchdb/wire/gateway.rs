//! The recorded exchanges through the gateway: without a plan, and with every attachment of the database in a directory.

use serde_json::json;

use crate::wire::rules::{GZIP, rules};
use crate::wire::wire::{Excluded, Exclusion, Rules, Target, replay};
use crate::wire::{ONE_SERVER, check, clean};
use stowage_testing::gateway::{Running, STORAGE, Setup};

/// The recorded name has 30 characters after `12/34/`, which is no account's database; with 28 it is one.
pub const RENAMED: (&str, &str) = ("567890abcdef1234567890abcdef12-202011", "567890abcdef1234567890abcdef-202011");
const ACCOUNT: &str = "1234567890abcdef1234567890abcdef";

/// Connection headers are hop-by-hop (RFC 9110 section 7.6.1).
const HOP: &[&str] = &["connection"];

const PLANS: &str = "the plans database of this test is listed as well";
const NO_HOST: &str = "HTTP/1.1 asks for a Host (RFC 9112 section 3.2), and a proxy must not guess it";

/// Differences with any gateway.
const PROXIED: &[Exclusion] = &[
    ("01-server", Excluded::Skipped, PLANS, &["_all_dbs"]),
    ("13-raw-sockets", Excluded::Skipped, NO_HOST, &["no Host header (1.1)"]),
];

/// Differences with outside attachments.
const OUTSIDE: &[Exclusion] = &[
    ("04-att-put", Excluded::Not, KEPT, &["get of it, plain", "get of it, Accept-Encoding gzip"]),
    ("14-edits", Excluded::Not, KEPT, GZIP),
];

const KEPT: &str = "the storage keeps what a client has gzipped itself";

#[tokio::test]
async fn without_a_plan_the_gateway_changes_nothing() {
    let _alone = ONE_SERVER.lock().await;
    let gateway = Setup::default().start().await;
    let rules = Rules { excluded: [PROXIED, &rules().excluded].concat(), ignored: HOP, ..rules() };
    replay_anew(&gateway, &rules).await;
    gateway.stop().await;
}

#[tokio::test]
async fn with_attachments_outside_clients_see_what_couchdb_shows() {
    let _alone = ONE_SERVER.lock().await;
    let mut gateway = Setup::default().set("couchdb.present_stubs", "true").start().await;
    gateway.account = ACCOUNT.to_owned();
    let plan = json!({
        "pvt_type": "storage",
        "attachments": { STORAGE: { "handler": "file", "settings": { "directory": "recordings" } } },
        "plan": { "modb": { "attachments": { "handler": STORAGE } } },
    });
    gateway.save_plan(ACCOUNT, plan).await;
    let excluded = [OUTSIDE, PROXIED, &rules().excluded].concat();
    let rules = Rules { excluded, ignored: HOP, renamed: Some(RENAMED), ..rules() };
    replay_anew(&gateway, &rules).await;
    gateway.stop().await;
}

/// Replays on a server that may persist: databases are removed before and after.
async fn replay_anew(gateway: &Running, rules: &Rules) {
    let (name, password) = gateway.couch.admin.clone();
    let server = Target { authority: gateway.couch.address().to_string(), name, password };
    clean(&server).await;
    let report = replay(&target(gateway), rules).await;
    clean(&server).await;
    check(&report);
}

fn target(gateway: &Running) -> Target {
    let (name, password) = gateway.couch.admin.clone();
    Target { authority: gateway.address.to_string(), name, password }
}
