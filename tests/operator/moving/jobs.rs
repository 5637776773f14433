//! Pending jobs are listed, retried, and dropped.

use serde_json::{Value, json};
use stowage::jobs::Job;
use stowage::router::Database;
use stowage_testing::gateway::{Couch, STORAGE, Setup, json as parsed};
use stowage_testing::spy::Spy;

use super::world::{run, succeeds};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_listed_tried_and_dropped() {
    let gateway = Setup::default().set("fallback.on_unavailable", "couchdb").start().await;
    let (code, said) = run(&gateway, &["jobs"]).await;
    assert_eq!((code, said.as_str()), (0, "0 jobs wait\n"));
    // The port has no listener.
    gateway.plan("http", json!({ "url": "http://127.0.0.1:1/x" })).await;
    for id in ["one", "two"] {
        gateway.attached(id, json!({ "pvt_type": "fax" }), "call.mp3", b"bytes").await;
    }
    let said = succeeds(&gateway, &["jobs"]).await;
    assert!(said.ends_with("2 jobs wait\n") && said.contains(STORAGE) && said.contains("one call.mp3"), "{said}");
    let (_, said) = run(&gateway, &["jobs", "--format", "json"]).await;
    let listed: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let id = listed[0]["_id"].as_str().unwrap();
    let (code, said) = run(&gateway, &["jobs", "retry", id]).await;
    assert_eq!((code, said.as_str()), (0, "1 jobs are tried\n"));
    let (code, said) = run(&gateway, &["jobs", "drop", id]).await;
    assert_eq!((code, said.as_str()), (0, "1 jobs are dropped\n"));
    let (code, said) = run(&gateway, &["jobs", "drop", id]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("there is no job"), "{said}");
    let (_, said) = run(&gateway, &["jobs", "drop", "--all"]).await;
    assert_eq!(said, "1 jobs are dropped\n");
    gateway.stop().await;
}

/// A gateway that works on a job may save it at any time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_wants_of_a_job_is_done_although_it_was_saved_meanwhile() {
    let gateway = Setup::default().start().await;
    let jobs = &gateway.app.gateway.jobs;
    let as_read = jobs.add(&Job::walk(&Database::of(&gateway.database()).unwrap(), "")).await.unwrap();
    let held = jobs.save(jobs.held(as_read.clone())).await.unwrap().expect("nobody else saves it");
    let asked = jobs.retry(as_read.clone()).await.unwrap().expect("it is there");
    assert!(asked.asked && asked.holder.is_some(), "{asked:?}");
    assert!(jobs.save(held).await.unwrap().is_none(), "its holder finds out");
    assert!(jobs.forget(as_read.clone()).await.unwrap().is_some());
    assert!(jobs.read(&as_read.id).await.unwrap().is_none());
    assert!(jobs.retry(as_read).await.unwrap().is_none(), "what is gone does not come back");
    gateway.stop().await;
}

/// The gateway that creates the database may be killed before it secures it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jobs_database_without_security_is_secured_and_another_security_stays() {
    let admins = json!({ "names": [], "roles": ["_admin"] });
    let own = json!({ "admins": admins, "members": { "names": ["operator"], "roles": [] } });
    let secured = json!({ "admins": admins, "members": admins });
    for (found, expected) in [(json!({}), secured), (own.clone(), own)] {
        let gateway = Setup::default().start().await;
        let jobs = &gateway.app.gateway.jobs;
        let database = format!("/{}", jobs.config().database);
        let made = gateway.couch.request("PUT", &database, "", b"").await;
        assert!(matches!(made.status, 201 | 412), "{made:?}");
        let target = format!("{database}/_security");
        let put = gateway.couch.request("PUT", &target, "application/json", found.to_string().as_bytes()).await;
        assert_eq!(put.status, 200, "{put:?}");
        jobs.add(&Job::walk(&Database::of(&gateway.database()).unwrap(), "")).await.unwrap();
        gateway.settled().await;
        let security = parsed(&gateway.couch.request("GET", &target, "", b"").await);
        assert_eq!(security, expected);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_job_waits_for_a_look_at_the_security_which_is_made_once_a_minute() {
    let couch = Couch::start().await;
    let spy = Spy::start(&couch.url).await;
    let gateway = Setup::default().upstream(&spy.url()).start_over(couch).await;
    let jobs = &gateway.app.gateway.jobs;
    let database = format!("/{}", jobs.config().database);
    let made = gateway.couch.request("PUT", &database, "", b"").await;
    assert!(matches!(made.status, 201 | 412), "{made:?}");
    let security = format!("{database}/_security");
    spy.hold(&security);
    let add = async |start: &str| jobs.add(&Job::walk(&Database::of(&gateway.database()).unwrap(), start)).await;
    add("a").await.unwrap();
    spy.wait_for(&format!("GET {security}")).await;
    spy.close(&security);
    spy.release();
    gateway.settled().await;
    let before = spy.count(&format!("GET {security}"));
    add("b").await.unwrap();
    gateway.settled().await;
    assert_eq!(spy.count(&format!("GET {security}")), before);
    gateway.stop().await;
}
