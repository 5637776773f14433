//! Screenshots of the page for the documentation, saved if `STOWAGE_TEST_PICTURES` names a folder.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use serde_json::{Value, json};

use super::console::operate;
use super::{Browser, OPERATOR, open, plan, start};
use stowage_testing::gateway::{Running, Setup};
use stowage_testing::recorder::{Answer, Recorder};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_painted() {
    let gateway = start().await;
    let server = Recorder::start().await;
    plan(&gateway, &server.url("/faxes")).await;
    let mut browser = open(&gateway).await;
    browser.enter("#token", OPERATOR).await;
    let turns = if folder().is_some() { 1000 } else { 3 };
    for turn in 0..turns {
        traffic(&gateway, &server, turn).await;
        if folder().is_some() {
            // More traffic by day than by night.
            tokio::time::sleep(Duration::from_millis(30 + (turn % 450).abs_diff(225) / 2 + turn * 7919 % 60)).await;
        }
    }
    browser.until("document.querySelectorAll('.storage').length === 2").await;
    hide(&mut browser, &["operator", "health", "queue", "runs", "plan", "explain"]).await;
    let picture = painted(&mut browser, 960, "document.documentElement").await;
    keep("page.png", &picture);
    drop(browser);
    gateway.stop().await;
}

/// Stores and reads a recording, sometimes a fax, and sometimes lets the faxes' server fail.
async fn traffic(gateway: &Running, server: &Recorder, turn: u64) {
    let document = format!("202611-{turn:04}");
    let rev = gateway.document(&document, json!({})).await;
    let bytes = vec![7; usize::try_from(3000 + 40 * (turn % 97) * (turn % 13)).unwrap()];
    gateway.attach(&document, "call.mp3", &rev, &bytes).await;
    for _ in 0..turn % 4 {
        assert_eq!(gateway.get(&format!("{document}/call.mp3")).await.status, 200);
    }
    if turn % 3 == 1 {
        if turn % 300 == 61 {
            server.next(Method::PUT, 1, Answer::Status(507, "the disk is full"));
        }
        let fax = format!("202611-fax-{turn:04}");
        let rev = gateway.document(&fax, json!({ "pvt_type": "fax" })).await;
        let put = gateway.put(&fax, "fax.tiff", &rev, &bytes).await;
        assert!(matches!(put.status, 201 | 502 | 503 | 504), "{put:?}");
    }
}

/// Hides sections in a screenshot with a style sheet, so that the page does not show them again.
async fn hide(browser: &mut Browser, titles: &[&str]) {
    let rules = titles.iter().map(|title| format!("section[aria-labelledby={title}-title] {{ display: none; }} "));
    let rules = json!(rules.collect::<String>());
    browser.value(&format!("(() => {{ const sheet = new CSSStyleSheet(); sheet.replaceSync({rules}); document.adoptedStyleSheets.push(sheet); }})()")).await;
}

/// Returns a PNG of an element, in a window of this width.
async fn painted(browser: &mut Browser, width: u32, element: &str) -> Vec<u8> {
    // Set the width first, since the height depends on it.
    let mut size = json!({ "width": width, "height": 600, "deviceScaleFactor": 1, "mobile": false });
    browser.call("Emulation.setDeviceMetricsOverride", size.clone()).await;
    size["height"] = browser.value("document.documentElement.scrollHeight").await;
    browser.call("Emulation.setDeviceMetricsOverride", size).await;
    let place = format!(
        "(({{ x, y, width, height }}) => ({{ x, y: y + scrollY, width, height, scale: 1 }}))({element}.getBoundingClientRect())"
    );
    let clip = browser.value(&place).await;
    let mut taken: Value = browser.call("Page.captureScreenshot", json!({ "format": "png", "clip": clip })).await;
    STANDARD.decode(taken["data"].take().as_str().unwrap()).unwrap()
}

/// Returns the folder for screenshots, if any.
fn folder() -> Option<PathBuf> {
    std::env::var_os("STOWAGE_TEST_PICTURES").map(PathBuf::from)
}

fn keep(name: &str, picture: &[u8]) {
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000, "{name}: {} bytes", picture.len());
    if let Some(folder) = folder() {
        assert!(picture.len() < 150_000, "{name}: {} bytes", picture.len());
        std::fs::write(folder.join(name), picture).unwrap();
    }
}

/// A gateway whose archive for faxes is down, and a running migration.
#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_painted() {
    let setup = Setup::default().set("admin.tokens", &format!("[\"{OPERATOR}\"]"));
    let gateway = setup.set("fallback.on_unavailable", "couchdb").set("fallback.failures", "5").start().await;
    gateway.make_database().await;
    for index in 0..20 {
        let rev = gateway.document(&format!("202411-{index:02}"), json!({ "pvt_type": "call_recording" })).await;
        gateway.attach(&format!("202411-{index:02}"), "call.mp3", &rev, &vec![7; 1 << 20]).await;
    }
    plan(&gateway, "http://127.0.0.1:1/faxes").await;
    for index in 0..3 {
        gateway.attached(&format!("202411-fax-{index}"), json!({ "pvt_type": "fax" }), "fax.tiff", b"a fax").await;
    }
    let mut browser = operate(&gateway, 1100, "light").await;
    let account = gateway.account.clone();
    for (field, value) in
        [("#run-names", &*account), ("#run-types", "call_recording"), ("#run-jobs", "1"), ("#run-rate", "1")]
    {
        browser.set(field, value).await;
    }
    browser.click("#run-count").await;
    browser.until("!document.querySelector('#run-start').disabled").await;
    browser.click("#run-start").await;
    browser.until("document.querySelector('#runs .parts progress')?.value > 0.4").await;
    browser.until("document.querySelectorAll('#jobs tbody tr').length === 3").await;
    hide(&mut browser, &["gateway", "requests", "storages", "failures", "plan", "explain", "operator"]).await;
    let desk = painted(&mut browser, 1100, "document.querySelector('main')").await;
    keep("console.png", &desk);

    browser.load("Page.reload", json!({})).await;
    browser.until("document.querySelector('#token-form')?.checkVisibility()").await;
    browser.look(360, "dark").await;
    browser.enter("#token", OPERATOR).await;
    browser.until("document.querySelector('#plan-section').checkVisibility()").await;
    browser.enter("#plan-account", &account).await;
    browser.until("document.querySelector('[data-path=\"plan/modb/attachments\"]')").await;
    let phone = painted(&mut browser, 360, "document.querySelector('#plan-section')").await;
    keep("console-phone.png", &phone);
    drop(browser);
    gateway.stop().await;
}
