//! Pending jobs and unavailable storages as shown to the operator.

use serde_json::json;
use stowage_testing::gateway::Setup;

use super::{OPERATOR, open};
use crate::moving::world::stuck;

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_is_down_and_its_jobs_are_shown() {
    let setup = Setup::default().set("admin.tokens", &format!("[\"{OPERATOR}\"]"));
    let gateway = setup.set("fallback.on_unavailable", "couchdb").set("fallback.failures", "5").start().await;
    // The port has no listener.
    gateway.plan("http", json!({ "url": "http://127.0.0.1:1/x" })).await;
    for index in 0..4 {
        let id = format!("doc-{index}");
        gateway.attached(&id, json!({ "pvt_type": "fax" }), "call.mp3", b"bytes").await;
    }
    let mut browser = open(&gateway).await;
    browser.until("document.querySelector('#token-form')?.checkVisibility()").await;
    let sections = "document.querySelector('#jobs-section').checkVisibility() || document.querySelector('#health-section').checkVisibility()";
    assert_eq!(browser.value(sections).await, json!(false), "not without a token");
    browser.until("document.querySelector('#gateway').innerText.includes('1 of them does not answer')").await;
    browser.enter("#token", OPERATOR).await;
    for (table, rows) in [("jobs", 4), ("health", 1)] {
        browser.until(&format!("document.querySelectorAll('#{table} tbody tr').length === {rows}")).await;
    }
    let jobs = browser.text("#jobs tbody").await;
    assert!(jobs.contains("doc-3/call.mp3") && jobs.contains("move"), "{jobs}");
    let health = browser.text("#health tbody").await;
    assert!(health.contains("not since ") && health.contains("http"), "{health}");
    browser.value("document.querySelector('#forget').click()").await;
    browser.until(&format!("!({sections})")).await;
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
    drop(browser);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_stuck_is_shown_as_such() {
    let gateway = stuck(Setup::default().set("admin.tokens", &format!("[\"{OPERATOR}\"]"))).await;
    let mut browser = open(&gateway).await;
    browser.until("document.querySelector('#gateway').innerText.includes(', 1 stuck')").await;
    browser.enter("#token", OPERATOR).await;
    browser.until("document.querySelectorAll('#jobs tbody tr').length === 1").await;
    let kinds = "[...document.querySelectorAll('#kinds tbody tr')].map((row) => [...row.cells].slice(0, 4).map((cell) => cell.textContent))";
    let expected =
        json!([["copies", "0", "0", "0"], ["out of CouchDB", "1", "0", "1"], ["removals of objects", "0", "0", "0"]]);
    assert_eq!(browser.value(kinds).await, expected);
    let jobs = browser.text("#jobs tbody").await;
    assert!(jobs.contains("doc/call.mp3"), "{jobs}");
    drop(browser);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_cannot_be_read_holds_up_nothing_else() {
    let setup = Setup::default().set("admin.tokens", &format!("[\"{OPERATOR}\"]"));
    let gateway = setup.start().await;
    let mut browser = open(&gateway).await;
    let broken = "(() => { const before = fetch; window.broken = () => Promise.reject(new Error('silent'));
        window.fetch = (path, ...more) => String(path).includes('/queue') ? window.broken() : before(path, ...more); })()";
    browser.value(broken).await;
    browser.enter("#token", OPERATOR).await;
    browser.until("document.querySelector('#queue-state').textContent === 'The queue cannot be read.'").await;
    assert!(browser.text("#failures-state").await.starts_with("Nothing has failed"));
    // An answer that never comes.
    browser.value("(() => { window.broken = () => new Promise(() => { window.waits = true; }); queueRead = -QUEUE_EVERY; })()").await;
    browser.until("window.waits").await;
    let looks = "(document.querySelector('#requests polyline')?.getAttribute('points') ?? null)";
    for _ in 0..2 {
        let before = browser.value(looks).await;
        browser.until(&format!("{looks} !== {before}")).await;
    }
    drop(browser);
    gateway.stop().await;
}
