//! The latest failures, shown to holders of an operator's token.

use hyper::Method;
use serde_json::json;

use super::{BOUND, OPERATOR, STORAGE, open, start};
use stowage_testing::gateway::Running;
use stowage_testing::recorder::{Answer, Recorder};

/// Starts a gateway with a storage that refuses an attachment, whose name contains markup.
async fn failed() -> (Running, Recorder) {
    let gateway = start().await;
    let server = Recorder::start().await;
    server.next(Method::PUT, 9, Answer::Status(403, "no"));
    let url = server.url("/r").replace("http://", "http://me:canary-pass@");
    gateway.plan("http", json!({ "url": url })).await;
    let rev = gateway.document("doc", json!({})).await;
    assert_eq!(gateway.put("doc", "%3Cimg%20src=x%20onerror=alert(1)%3E.mp3", &rev, b"x").await.status, 502);
    gateway.settled().await;
    (gateway, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_shown_to_the_operator_alone() {
    let (gateway, _server) = failed().await;
    let mut browser = open(&gateway).await;
    let hidden = "!document.querySelector('#failures').checkVisibility() && !document.querySelector('#failures tbody').children.length";
    let nothing = "document.querySelector('#failures-state').textContent === ''";
    browser.until(&format!("{hidden} && {nothing}")).await;
    for wrong in ["wrong", BOUND, "\u{1}"] {
        browser.enter("#token", wrong).await;
        browser.until("document.querySelector('#failures-state').textContent !== ''").await;
        assert_eq!(browser.text("#failures-state").await, "This token may not see them.", "{wrong}");
        assert_eq!(browser.value(hidden).await, json!(true));
        browser.value("document.querySelector('#failures-state').textContent = ''").await;
    }
    browser.enter("#token", OPERATOR).await;
    browser.until("document.querySelector('#failures').checkVisibility()").await;
    let table = browser.text("#failures tbody").await;
    for part in ["put", STORAGE, "403", "doc/<img src=x onerror=alert(1)>.mp3", &gateway.database()] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert_eq!(browser.value("document.querySelectorAll('img').length").await, json!(0));
    assert!(!browser.text("body").await.contains("canary"));

    // The token is only in the page's memory, and is discarded with everything it has shown.
    let kept = "[document.querySelector('#token').value, location.href, document.cookie, localStorage.length, sessionStorage.length]";
    let url = super::admin(&gateway, "/");
    assert_eq!(browser.value(kept).await, json!(["", url, "", 0, 0]));
    assert!(!browser.value("document.documentElement.outerHTML").await.as_str().unwrap().contains(OPERATOR));
    browser.value("document.querySelector('#forget').click()").await;
    browser.until(hidden).await;
    let asked = browser.requests().len();
    let looks = "(document.querySelector('#requests polyline')?.getAttribute('points') ?? null)";
    // Failures are read at the end of a refresh: the second one shows that the first has not read any.
    for _ in 0..2 {
        let before = browser.value(looks).await;
        browser.until(&format!("{looks} !== {before}")).await;
    }
    assert!(!browser.requests()[asked..].iter().any(|url| url.contains("/v2/")), "it is forgotten");
    browser.enter("#token", OPERATOR).await;
    browser.until("document.querySelector('#failures').checkVisibility()").await;
    browser.load("Page.reload", json!({})).await;
    browser.until("document.querySelector('#state')?.textContent === 'ready'").await;
    assert_eq!(browser.value(hidden).await, json!(true));

    // The browser itself reports the three refusals, and nothing else.
    let complaints = browser.complaints();
    assert_eq!(complaints.len(), 3, "{complaints:?}");
    assert!(
        complaints.iter().all(|line| line.contains("status of 40") && line.ends_with("/v2/storage/failures")),
        "{complaints:?}"
    );
    drop(browser);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_appears_by_itself() {
    let gateway = start().await;
    let server = Recorder::start().await;
    gateway.plan("http", json!({ "url": server.url("/r") })).await;
    let mut browser = open(&gateway).await;
    browser.enter("#token", OPERATOR).await;
    browser.until("document.querySelector('#failures-state').textContent.startsWith('Nothing has failed')").await;
    server.next(Method::PUT, 9, Answer::Status(403, "no"));
    assert_eq!(gateway.put("doc", "late.mp3", "", b"x").await.status, 502);
    browser.until("document.querySelector('#failures tbody').innerText.includes('late.mp3')").await;
    assert_eq!(browser.complaints(), Vec::<String>::new());
    drop(browser);
    gateway.stop().await;
}
