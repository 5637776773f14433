//! Recorded responses of CouchDB 3.5, replayed against the embedded store to keep it from deviating from the real one.
//!
//! `COUCHDB_URL=http://name:password@host:port` replays against that server instead.

mod gateway;
mod rules;
#[allow(dead_code, reason = "other tests use the rest")]
use stowage_testing::wire;

use stowage_couch_embedded::{Options, Store};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use gateway::RENAMED;
use rules::{DB, rules};
use stowage_testing::wire::{Report, Target, replay};

/// The recordings contain fixed database names, so only one replay at a time may use a shared server.
static ONE_SERVER: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn the_store_answers_as_couchdb_was_recorded() {
    if let Ok(url) = std::env::var("COUCHDB_URL") {
        let _alone = ONE_SERVER.lock().await;
        let target = Target::from_url(&url);
        clean(&target).await;
        let report = replay(&target, &rules()).await;
        clean(&target).await;
        return check(&report);
    }
    let data = tempfile::tempdir().unwrap();
    let admin = ("admin".to_owned(), "admin".to_owned());
    let options = Options { data: data.path().to_owned(), admin, user: None };
    let store = Store::open(options).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let target = Target { authority, name: "admin".into(), password: "admin".into() };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = store.serve(listener, async move {
        let _ = stopped.await;
    });
    let replaying = async move {
        let report = replay(&target, &rules()).await;
        let _ = stop.send(());
        report
    };
    let (served, report) = tokio::join!(serving, replaying);
    served.unwrap();
    check(&report);
}

/// Removes the recordings' databases from a persistent server, since a failed replay may have left them.
async fn clean(target: &Target) {
    for database in [DB, "/tr_part", "/tr_target"] {
        let renamed = database.replace(RENAMED.0, RENAMED.1);
        for database in [database, renamed.as_str()] {
            target.ask("DELETE", database, &[], b"").await;
        }
    }
}

fn check(report: &Report) {
    println!("{} exchanges compared, {} excluded", report.compared, report.excluded);
    let count = report.failures.len();
    assert!(report.failures.is_empty(), "{count} differ:\n{}", report.failures.join("\n"));
}
