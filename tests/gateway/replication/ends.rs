//! The two ends of a replication: a server alone, or a gateway in front of one.

use serde_json::{Value, json};

use stowage_testing::gateway::{Couch, Running, STORAGE, Setup};
use stowage_testing::replicator::Peer;

/// The id of the other plan's storage.
const OTHER: &str = "fedcba9876543210fedcba9876543210";

/// An end.
pub struct End {
    /// The end as seen by clients.
    pub peer: Peer,
    /// The server itself, without a gateway in between.
    pub behind: Peer,
    /// The storage in the end's plan.
    pub storage: Option<&'static str>,
    gateway: Option<Running>,
    _couch: Option<Couch>,
}

impl End {
    /// Starts a server without a gateway.
    pub async fn plain() -> Self {
        let couch = Couch::start().await;
        let database = format!("plain_{}", uuid::Uuid::new_v4().simple());
        couch.request("PUT", &format!("/{database}"), "", b"").await.expect_status(201);
        let peer = Peer { address: couch.address(), login: couch.admin.clone(), database };
        Self { behind: peer.clone(), peer, storage: None, gateway: None, _couch: Some(couch) }
    }

    /// Starts a gateway that keeps attachments outside, and presents stubs.
    pub async fn gateway() -> Self {
        Self::planned(STORAGE).await
    }

    /// Starts such a gateway with another plan.
    pub async fn other_gateway() -> Self {
        Self::planned(OTHER).await
    }

    async fn planned(storage: &'static str) -> Self {
        let gateway = Setup::default().set("couchdb.present_stubs", "true").start().await;
        gateway.make_database().await;
        let plan = json!({
            "pvt_type": "storage",
            "attachments": { storage: { "handler": "file", "settings": { "directory": storage } } },
            "plan": { "modb": { "attachments": { "handler": storage } } },
        });
        gateway.save_plan(&gateway.account, plan).await;
        let login = gateway.couch.admin.clone();
        let peer = Peer { address: gateway.address, login, database: gateway.path() };
        let behind = Peer { address: gateway.couch.address(), ..peer.clone() };
        Self { peer, behind, storage: Some(storage), gateway: Some(gateway), _couch: None }
    }

    /// Stops the gateway; no task may be left.
    pub async fn stop(self) {
        if let Some(gateway) = self.gateway {
            gateway.stop().await;
        }
    }

    /// Checks that no leaf on the server names a storage that is not in the plan, and that clients see no pointer at all.
    pub async fn assert_pointers(&self) {
        for (peer, allowed) in [(&self.behind, self.storage), (&self.peer, None)] {
            for id in ids(peer).await {
                for leaf in leaves(peer, &id).await {
                    let pointers = leaf["pvt_attachments"].as_object().cloned().unwrap_or_default();
                    for (name, pointer) in pointers {
                        let storage = pointer["stowage"]["storage"].as_str();
                        assert!(storage.is_some() && storage == allowed, "{id:?}, {name:?}: {pointer}");
                    }
                }
            }
        }
    }

    /// Returns how many attachments of leaves are in the storage.
    pub async fn outside(&self) -> usize {
        let mut count = 0;
        for id in ids(&self.behind).await {
            for leaf in leaves(&self.behind, &id).await {
                count += leaf["pvt_attachments"].as_object().map_or(0, serde_json::Map::len);
            }
        }
        count
    }
}

/// Returns the ids of all documents, including deleted ones.
pub async fn ids(peer: &Peer) -> Vec<String> {
    let answer = peer.ask("GET", "/_changes?style=all_docs", &[], b"").await.expect_status(200);
    let changes: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let rows = changes["results"].as_array().expect("rows");
    let mut ids: Vec<_> = rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect();
    ids.sort();
    ids
}

/// Returns all leaves of a document, by revision.
pub async fn leaves(peer: &Peer, id: &str) -> Vec<Value> {
    let rest = format!("{}?open_revs=all&revs=true", stowage_testing::replicator::path(id));
    let answer = peer.ask("GET", &rest, &[("Accept", "application/json")], b"").await;
    assert_eq!(answer.status, 200, "{id:?}: {answer:?}");
    let found: Vec<Value> = serde_json::from_slice(&answer.body).expect("a list");
    let mut leaves: Vec<_> = found.into_iter().map(|one| one["ok"].clone()).collect();
    leaves.sort_by_key(|leaf| leaf["_rev"].as_str().unwrap_or_default().to_owned());
    leaves
}
