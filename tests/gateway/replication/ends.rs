//! The two ends of a replication: a server by itself, or a gateway in front of one.

use serde_json::{Value, json};

use stowage_testing::gateway::{Couch, Running, STORAGE, Setup};
use stowage_testing::replicator::Peer;

/// The id of the storage of the other plan.
const OTHER: &str = "fedcba9876543210fedcba9876543210";

/// One end.
pub struct End {
    /// As clients see it.
    pub peer: Peer,
    /// The server's own, past the gateway where there is one.
    pub behind: Peer,
    /// The storage that the end's plan has.
    pub storage: Option<&'static str>,
    gateway: Option<Running>,
    _couch: Option<Couch>,
}

impl End {
    /// A server without a gateway.
    pub async fn plain() -> Self {
        let couch = Couch::start().await;
        let database = format!("plain_{}", uuid::Uuid::new_v4().simple());
        let made = couch.request("PUT", &format!("/{database}"), "", b"").await;
        assert_eq!(made.status, 201, "{made:?}");
        let peer = Peer { address: couch.address(), login: couch.admin.clone(), database };
        Self { behind: peer.clone(), peer, storage: None, gateway: None, _couch: Some(couch) }
    }

    /// A gateway that keeps attachments elsewhere and shows documents as CouchDB would.
    pub async fn gateway() -> Self {
        Self::planned(STORAGE).await
    }

    /// The same, with another plan.
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

    /// Stops the gateway; nothing may be left of what it did.
    pub async fn stop(self) {
        if let Some(gateway) = self.gateway {
            gateway.stop().await;
        }
    }

    /// No document that the server has, in any of its leaves, may name a storage that the plan does not have; and where clients look,
    /// there is no pointer at all.
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

    /// How many attachments of leaves are in the storage.
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

/// The ids of all documents, deleted ones too.
pub async fn ids(peer: &Peer) -> Vec<String> {
    let answer = peer.ask("GET", "/_changes?style=all_docs", &[], b"").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let changes: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let rows = changes["results"].as_array().expect("rows");
    let mut ids: Vec<_> = rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect();
    ids.sort();
    ids
}

/// All leaves of a document, by their revisions.
pub async fn leaves(peer: &Peer, id: &str) -> Vec<Value> {
    let rest = format!("{}?open_revs=all&revs=true", stowage_testing::replicator::path(id));
    let answer = peer.ask("GET", &rest, &[("Accept", "application/json")], b"").await;
    assert_eq!(answer.status, 200, "{id:?}: {answer:?}");
    let found: Vec<Value> = serde_json::from_slice(&answer.body).expect("a list");
    let mut leaves: Vec<_> = found.into_iter().map(|one| one["ok"].clone()).collect();
    leaves.sort_by_key(|leaf| leaf["_rev"].as_str().unwrap_or_default().to_owned());
    leaves
}
