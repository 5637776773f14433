//! The picture of the page in the documents: made when `STOWAGE_TEST_PICTURE` names a file.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use serde_json::{Value, json};

use super::{Browser, OPERATOR, open, plan, start};
use stowage_testing::gateway::Running;
use stowage_testing::recorder::{Answer, Recorder};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_painted() {
    let gateway = start().await;
    let server = Recorder::start().await;
    plan(&gateway, &server.url("/faxes")).await;
    let mut browser = open(&gateway).await;
    browser.enter("#token", OPERATOR).await;
    let file = std::env::var_os("STOWAGE_TEST_PICTURE").map(PathBuf::from);
    let turns = if file.is_some() { 1000 } else { 3 };
    for turn in 0..turns {
        traffic(&gateway, &server, turn).await;
        if file.is_some() {
            // By day there is more than by night.
            tokio::time::sleep(Duration::from_millis(30 + (turn % 450).abs_diff(225) / 2 + turn * 7919 % 60)).await;
        }
    }
    browser.until("document.querySelectorAll('.storage').length === 2").await;
    let picture = painted(&mut browser).await;
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000, "{} bytes", picture.len());
    if let Some(file) = file {
        assert!(picture.len() < 200_000, "{} bytes", picture.len());
        std::fs::write(file, picture).unwrap();
    }
    drop(browser);
    gateway.stop().await;
}

/// A recording is stored and heard, now and then a fax, and sometimes the faxes' server is in trouble.
async fn traffic(gateway: &Running, server: &Recorder, turn: u64) {
    let document = format!("202611-{turn:04}");
    let rev = gateway.document(&document, json!({})).await;
    let bytes = vec![7; usize::try_from(3000 + 40 * (turn % 97) * (turn % 13)).unwrap()];
    gateway.attach(&document, "call.mp3", &rev, &bytes).await;
    for _ in 0..turn % 4 {
        assert_eq!(gateway.get(&format!("{document}/call.mp3")).await.status, 200);
    }
    if turn % 3 == 1 {
        if turn % 150 == 61 {
            server.next(Method::PUT, 1, Answer::Status(507, "the disk is full"));
        }
        let fax = format!("202611-fax-{turn:04}");
        let rev = gateway.document(&fax, json!({ "pvt_type": "fax" })).await;
        let put = gateway.put(&fax, "fax.tiff", &rev, &bytes).await;
        assert!(matches!(put.status, 201 | 502 | 503 | 504), "{put:?}");
    }
}

/// The whole page as PNG.
async fn painted(browser: &mut Browser) -> Vec<u8> {
    // At this width first: the height follows from it.
    let mut size = json!({ "width": 1100, "height": 600, "deviceScaleFactor": 1, "mobile": false });
    browser.call("Emulation.setDeviceMetricsOverride", size.clone()).await;
    size["height"] = browser.value("document.documentElement.scrollHeight").await;
    browser.call("Emulation.setDeviceMetricsOverride", size).await;
    let mut taken: Value = browser.call("Page.captureScreenshot", json!({ "format": "png" })).await;
    STANDARD.decode(taken["data"].take().as_str().unwrap()).unwrap()
}
