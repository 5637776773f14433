//! The protocol of CouchDB's own replicator: with a stand-in, and with the real one if `COUCHDB_URL` is set.

use crate::replication::content::{assert_same, change, write, write_empty};
use crate::replication::ends::End;
use stowage_testing::replicator::{Peer, Report, replicate, replicate_by};

/// The number of attachments of leaves in [`write`], and after [`change`].
const ATTACHMENTS: [usize; 2] = [13, 13];

/// The replicator.
#[derive(Clone, Debug)]
enum By {
    StandIn,
    Couch(Peer),
}

impl By {
    /// Writes what this replicator supports; returns the number of attachments that [`write`] does not count.
    async fn write(&self, source: &End) -> usize {
        write(&source.peer).await;
        match self {
            Self::StandIn => {
                write_empty(&source.peer).await;
                1
            }
            Self::Couch(_) => 0,
        }
    }

    async fn replicate(&self, source: &End, target: &End) -> Report {
        let report = match self {
            Self::StandIn => replicate(&source.peer, &target.peer).await,
            Self::Couch(couch) => replicate_by(couch, &source.peer, &target.peer).await,
        };
        let report = report.unwrap_or_else(|why| panic!("{self:?}: {why}"));
        assert!(report.doc_write_failures.is_empty(), "{self:?}: {report:?}");
        report
    }
}

/// Returns the stand-in, and the CouchDB of `COUCHDB_URL`, which has to reach this machine's loopback.
fn replicators() -> Vec<By> {
    let mut all = vec![By::StandIn];
    if let Ok(text) = std::env::var("COUCHDB_URL") {
        let url = url::Url::parse(&text).expect("COUCHDB_URL is a URL");
        let address = url.socket_addrs(|| Some(5984)).expect("an address")[0];
        let login = (url.username().to_owned(), url.password().unwrap_or_default().to_owned());
        all.push(By::Couch(Peer { address, login, database: String::new() }));
    } else {
        println!("skipped: replication by a CouchDB, COUCHDB_URL is not set");
    }
    all
}

/// Writes at the source, replicates, changes, and replicates again: the target is always complete, and a third replication has nothing to do.
async fn goes(by: &By, source: End, target: End) {
    let empty = by.write(&source).await;
    let report = by.replicate(&source, &target).await;
    assert_eq!(report.docs_written, report.docs_read, "{by:?}: {report:?}");
    assert!(report.bulk_get_docs > 0 && report.bulk_get_attempts > report.bulk_get_docs, "{by:?}: {report:?}");
    assert_eq!(assert_same(&source.peer, &target.peer).await, ATTACHMENTS[0] + empty);
    target.assert_pointers().await;

    change(&source.peer).await;
    let report = by.replicate(&source, &target).await;
    assert!((1..8).contains(&report.docs_written), "only what changed: {by:?}: {report:?}");
    // CouchDB reports revision 1 for the attachments of a recreated document, which is older than the tombstone at the target: it sends stubs, and
    // everything once those are refused.
    assert!(report.stubs_missed <= 1, "the target has what the stubs name: {report:?}");
    assert_eq!(assert_same(&source.peer, &target.peer).await, ATTACHMENTS[1] + empty);
    target.assert_pointers().await;
    source.assert_pointers().await;
    if target.storage.is_some() {
        assert_eq!(target.outside().await, ATTACHMENTS[1] + empty, "what comes in goes where the plan says");
    }

    let report = by.replicate(&source, &target).await;
    assert_eq!((report.missing_found, report.docs_read, report.docs_written), (0, 0, 0), "{by:?}: {report:?}");
    source.stop().await;
    target.stop().await;
}

#[tokio::test]
async fn from_a_server_to_a_server() {
    for by in replicators() {
        goes(&by, End::plain().await, End::plain().await).await;
    }
}

#[tokio::test]
async fn from_a_gateway_to_a_server() {
    for by in replicators() {
        goes(&by, End::gateway().await, End::plain().await).await;
    }
}

#[tokio::test]
async fn from_a_server_to_a_gateway() {
    for by in replicators() {
        goes(&by, End::plain().await, End::gateway().await).await;
    }
}

#[tokio::test]
async fn from_a_gateway_to_one_with_another_plan() {
    for by in replicators() {
        goes(&by, End::gateway().await, End::other_gateway().await).await;
    }
}

/// Both ends write and replicate: the conflict is the same at both.
#[tokio::test]
async fn both_ways_at_once() {
    for by in replicators() {
        let (one, other) = (End::gateway().await, End::other_gateway().await);
        by.write(&one).await;
        by.replicate(&one, &other).await;
        crate::replication::content::diverge(&one.peer, 1).await;
        crate::replication::content::diverge(&other.peer, 2).await;
        by.replicate(&one, &other).await;
        by.replicate(&other, &one).await;
        assert_same(&one.peer, &other.peer).await;
        assert_eq!(crate::replication::ends::leaves(&one.peer, "updated").await.len(), 2);
        one.assert_pointers().await;
        other.assert_pointers().await;
        one.stop().await;
        other.stop().await;
    }
}
