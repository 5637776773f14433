//! The operator's console: runs are started, watched and stopped, jobs tried and dropped, at desktop and phone sizes.

use serde_json::{Value, json};
use stowage_testing::browser::Browser;
use stowage_testing::gateway::{Running, STORAGE, Setup};

use super::{OPERATOR, open, start};
use crate::moving::world::{fill, plan, slow};

/// Opens the page and enters the token.
pub async fn operate(gateway: &Running, width: u32, scheme: &str) -> Browser {
    let mut browser = open(gateway).await;
    browser.look(width, scheme).await;
    browser.enter("#token", OPERATOR).await;
    browser.until("document.querySelector('#runs-section').checkVisibility()").await;
    browser
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_events_stay_away_is_shown_to_its_end() {
    let gateway = start().await;
    gateway.make_database().await;
    fill(&gateway, 1).await;
    plan(&gateway, Some(STORAGE)).await;
    let mut browser = operate(&gateway, 1280, "light").await;
    let silent = "events = (path, signal) => new Promise((_, fail) => {
        signal.addEventListener('abort', () => { window.aborted = true; fail(signal.reason); }); }); null";
    browser.value(silent).await;
    browser.set("#run-names", &gateway.account).await;
    browser.click("#run-count").await;
    browser.until("document.querySelector('#runs h3')?.textContent.endsWith('counted only is done')").await;
    browser.until("window.aborted && !document.querySelector('#run-start').disabled").await;
    drop(browser);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_is_counted_first_then_started_and_verified() {
    for (width, scheme) in [(1280, "light"), (360, "dark")] {
        let gateway = start().await;
        gateway.make_database().await;
        fill(&gateway, 10).await;
        plan(&gateway, Some(STORAGE)).await;
        let mut browser = operate(&gateway, width, scheme).await;
        browser.set("#run-names", &gateway.account).await;
        assert_eq!(browser.value("document.querySelector('#run-start').disabled").await, true);
        assert!(browser.text("#run-hint").await.starts_with("Count with these options first"));
        browser.click("#run-count").await;
        browser.until("document.querySelector('#runs h3')?.textContent.endsWith('counted only is done')").await;
        assert!(browser.text("#runs .figures").await.contains("20 attachments to be moved"));
        assert!(gateway.stored().is_empty());
        browser.until("!document.querySelector('#run-start').disabled").await;
        browser.set("#run-types", "fax").await;
        assert_eq!(browser.value("document.querySelector('#run-start').disabled").await, true, "that was not counted");
        browser.set("#run-types", "").await;
        browser.click("#run-start").await;
        browser.until("document.querySelector('#runs h3').textContent === 'Migration out of CouchDB is done'").await;
        gateway.settled().await;
        assert_eq!(gateway.stored().len(), 20);
        browser.until("document.querySelector('#runs-told').textContent.includes('20 attachments moved')").await;

        std::fs::remove_file(gateway.files().join(&gateway.stored()[0])).unwrap();
        browser.set("#run-what", "verify").await;
        assert_eq!(browser.value("document.querySelector('#run-compact').checkVisibility()").await, false);
        browser.click("#run-read").await;
        browser.click("#run-start").await;
        browser.until("document.querySelector('#runs h3').textContent === 'Verification of every byte is done'").await;
        browser.click("#runs article [data-act=result]").await;
        browser.until("document.querySelectorAll('.result table').length === 2").await;
        let found = browser.text(".result").await;
        assert!(found.contains("missing") && found.contains(&gateway.database()), "{found}");
        browser.fits(width).await;
        assert_eq!(browser.complaints(), Vec::<String>::new());
        drop(browser);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_shows_how_far_it_is_and_is_stopped_with_the_keyboard_alone() {
    let gateway = start().await;
    slow(&gateway).await;
    let mut browser = operate(&gateway, 360, "light").await;
    browser.tab_to("#run-names").await;
    browser.type_in(&gateway.account).await;
    browser.tab_to("#run-jobs").await;
    browser.type_in("1").await;
    browser.tab_to("#run-rate").await;
    browser.type_in("1").await;
    browser.tab_to("#run-count").await;
    browser.press("Enter", false).await;
    browser.until("!document.querySelector('#run-start').disabled").await;
    browser.tab_to("#run-start").await;
    browser.press(" ", false).await;
    let bar = "document.querySelector('#runs article progress')";
    browser.until(&format!("{bar}?.checkVisibility() && {bar}.value > 0 && {bar}.value < 1")).await;
    browser.until("document.querySelector('#runs .parts li')?.textContent.includes(' of 30 documents')").await;
    browser.fits(360).await;
    // A second run of the kind is refused, and the page shows why.
    browser.value("begin(true)").await;
    browser.until("document.querySelector('#run-errors').textContent.startsWith('Another one runs')").await;
    // A page opened meanwhile shows the run, too.
    let mut other = operate(&gateway, 1280, "dark").await;
    other.until("document.querySelector('#runs article progress')?.value > 0").await;
    browser.tab_to("[data-act=stop]").await;
    browser.press("Enter", false).await;
    for browser in [&mut browser, &mut other] {
        browser
            .until("document.querySelector('#runs h3').textContent === 'Migration out of CouchDB was stopped'")
            .await;
    }
    assert_eq!(browser.value("document.activeElement.dataset.act").await, "result", "the focus has stayed there");
    let tree = browser.call("Accessibility.getFullAXTree", json!({})).await;
    let names: Vec<&Value> = tree["nodes"].as_array().unwrap().iter().map(|node| &node["name"]["value"]).collect();
    assert!(names.contains(&&json!("Show the result of Migration out of CouchDB")), "{names:?}");
    // The browser itself reports the refusal.
    let complaints = browser.complaints();
    assert!(complaints.len() == 1 && complaints[0].contains("status of 409"), "{complaints:?}");
    assert!((1..30).contains(&gateway.stored().len()));
    drop((browser, other));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_counted_tried_and_dropped() {
    let setup = Setup::default().set("admin.tokens", &format!("[\"{OPERATOR}\"]"));
    let gateway = setup.set("fallback.on_unavailable", "couchdb").set("fallback.failures", "5").start().await;
    // The port has no listener.
    gateway.plan("http", json!({ "url": "http://127.0.0.1:1/x" })).await;
    for index in 0..4 {
        let id = format!("doc-{index}");
        gateway.attached(&id, json!({ "pvt_type": "fax" }), "call.mp3", b"bytes").await;
    }
    let mut browser = operate(&gateway, 360, "dark").await;
    for (table, rows) in [("jobs", 4), ("health", 1)] {
        browser.until(&format!("document.querySelectorAll('#{table} tbody tr').length === {rows}")).await;
    }
    let kinds = "[...document.querySelectorAll('#kinds tbody tr')].map((row) => [...row.cells].slice(0, 4).map((cell) => cell.textContent))";
    let expected =
        json!([["copies", "0", "0", "0"], ["out of CouchDB", "4", "0", "0"], ["removals of objects", "0", "0", "0"]]);
    assert_eq!(browser.value(kinds).await, expected);
    assert!(browser.text("#kinds tbody").await.contains("doc-0/call.mp3"), "the oldest is named");
    let health = browser.text("#health tbody").await;
    assert!(health.contains("does not answer") || health.contains("is tried again"), "{health}");
    assert!(health.contains("5 open the breaker") && health.contains("0 of "), "{health}");
    browser.fits(360).await;

    browser.tab_to("#jobs [data-act=retry]").await;
    browser.press("Enter", false).await;
    browser.until("document.querySelector('#queue-told').textContent === '1 job is tried.'").await;
    assert_eq!(browser.value("document.activeElement.dataset.act").await, "retry", "the focus has stayed there");
    browser.tab_to("#jobs [data-act=drop]").await;
    browser.press("Enter", false).await;
    browser.until("document.querySelector('#sure').open").await;
    browser.press("Escape", false).await;
    browser.until("!document.querySelector('#sure').open").await;
    assert_eq!(browser.value("document.querySelectorAll('#jobs tbody tr').length").await, 4, "Escape means no");
    assert_eq!(browser.value("document.activeElement.dataset.act").await, "drop", "the focus is back");
    browser.press("Enter", false).await;
    browser.until("document.querySelector('#sure').open").await;
    browser.tab_to("#sure-yes").await;
    browser.press("Enter", false).await;
    browser.until("document.querySelectorAll('#jobs tbody tr').length === 3").await;
    assert_eq!(browser.text("#queue-told").await, "1 job dropped.");
    // The row that had the focus is gone.
    browser.value("document.querySelector('#queue-title').focus()").await;
    browser.tab_to("#jobs-section > .acts [data-act=drop]").await;
    browser.press("Enter", false).await;
    browser.until("document.querySelector('#sure').open").await;
    browser.tab_to("#sure-yes").await;
    browser.press("Enter", false).await;
    browser.until("document.querySelector('#queue-state').textContent === 'Nothing waits.'").await;
    assert_eq!(browser.text("#queue-told").await, "3 jobs dropped.");
    browser.click("#forget").await;
    let left = "['kinds', 'jobs', 'health', 'runs'].map((id) => (document.getElementById(id).tBodies?.[0] ?? document.getElementById(id)).children.length)";
    assert_eq!(browser.value(left).await, json!([0, 0, 0, 0]), "what the token has shown goes with it");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    drop(browser);
    gateway.stop().await;
}
