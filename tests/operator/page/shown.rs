//! What the page shows without a token.

use hyper::Method;
use serde_json::json;

use super::{admin, open, plan, start};
use stowage_testing::gateway::Setup;
use stowage_testing::recorder::{Answer, Recorder};

/// Returns the points of every chart of a kind of storage.
fn points(kind: &str) -> String {
    format!(
        "[...document.querySelectorAll('[data-kind=\"{kind}\"] polyline')].map((line) => line.getAttribute('points'))"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_is_described_and_its_charts_move() {
    let gateway = start().await;
    let server = Recorder::start().await;
    plan(&gateway, &server.url("/r")).await;
    let mut browser = open(&gateway).await;
    let shown = browser.text("#gateway").await;
    for part in [&admin(&gateway, ""), &format!("http://{}", gateway.address), &gateway.couch.url] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.contains(env!("CARGO_PKG_VERSION")), "{shown}");
    assert!(shown.contains("plans held\n0\n"), "none was asked for: {shown}");
    assert_eq!(browser.text("#storages").await, "No storage has been used yet.");

    let rev = gateway.document("doc", json!({})).await;
    assert_eq!(gateway.put("doc", "a.mp3", &rev, &[7; 5000]).await.status, 201);
    for _ in 0..3 {
        assert_eq!(gateway.get("doc/a.mp3").await.status, 200);
    }
    server.next(Method::PUT, 9, Answer::Status(403, "no"));
    let rev = gateway.document("fax", json!({ "pvt_type": "fax" })).await;
    assert_eq!(gateway.put("fax", "a.pdf", &rev, b"x").await.status, 502);
    browser.until("document.querySelectorAll('.storage').length === 2").await;
    assert_eq!(browser.text("[data-kind=file] .total").await, "4 requests since the start, 0 errors");
    assert_eq!(browser.text("[data-kind=http] .total").await, "1 request since the start, 1 error");
    let titles =
        "[...document.querySelectorAll('[data-kind=file] figcaption span')].map((each) => each.firstChild.data)";
    assert_eq!(browser.value(titles).await, json!(["requests ", "errors ", "latency ", "bytes "]));
    browser.until("document.querySelector('#gateway').innerText.includes('plans held\\n1, the oldest read')").await;

    // After a refresh, every chart has one more point; the earlier ones are still shown, and have moved.
    let before = browser.value(&points("file")).await;
    browser.until(&format!("{}.every((each, index) => each !== {before}[index])", points("file"))).await;
    let peaks =
        "[...document.querySelectorAll('.storage small')].map((each) => each.textContent.replace(/[\\d.]+/, 'N'))";
    let file = ["most N /s", "", "most N ms", "most N kB/s"];
    let http = ["most N /s", "most N /s", "most N ms", ""];
    let peaks = browser.value(peaks).await;
    assert_eq!(peaks.as_array().unwrap()[..4], file.map(|peak| json!(peak)));
    assert_eq!(peaks.as_array().unwrap()[4..7], http[..3].iter().map(|peak| json!(peak)).collect::<Vec<_>>());
    assert!(browser.value("document.querySelectorAll('#requests polyline').length").await == 4);

    let origin = admin(&gateway, "/");
    let requests = browser.requests();
    assert!(
        requests.len() > 6 && requests.iter().all(|url| url.starts_with(&origin) || url == "data:,"),
        "{requests:?}"
    );
    assert!(!requests.iter().any(|url| url.contains("/v2/")), "nothing is asked for that needs a token: {requests:?}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    drop(browser);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_when_the_gateway_has_gone() {
    let gateway = start().await;
    let mut browser = open(&gateway).await;
    gateway.stop().await;
    browser.until("document.querySelector('#state').textContent === 'the gateway does not answer'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_when_there_is_no_token() {
    let gateway = Setup::default().start().await;
    let mut browser = open(&gateway).await;
    assert!(browser.text("#gateway").await.contains("closed: no token is configured"));
    assert!(browser.text("#closed").await.contains("none is configured"));
    assert_eq!(browser.value("document.querySelector('#token-form').checkVisibility()").await, json!(false));
    drop(browser);
    gateway.stop().await;
}

/// WCAG 2.2, success criterion 1.4.3: a contrast of 4.5 to 1.
const CONTRASTS: &str = "
    (() => {
        const light = (color) => {
            const parts = color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
            const [r, g, b] = parts.map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const style = (selector) => getComputedStyle(document.querySelector(selector));
        const ratio = (front, back) => (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
        const pairs = [['#state', 'body'], ['h1', 'body'], ['dt', 'section'], ['dd', 'section'], ['button', 'button']];
        return pairs.map(([front, back]) => ratio(light(style(front).color), light(style(back).backgroundColor)));
    })()";

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_read_by_day_by_night_and_aloud() {
    let gateway = start().await;
    let mut browser = open(&gateway).await;
    let mut backs = Vec::new();
    for scheme in ["light", "dark"] {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.call("Emulation.setEmulatedMedia", features).await;
        let contrasts = browser.value(CONTRASTS).await;
        let enough = contrasts.as_array().unwrap().iter().all(|ratio| ratio.as_f64().unwrap() >= 4.5);
        assert!(enough, "{scheme}: {contrasts}");
        backs.push(browser.value("getComputedStyle(document.body).backgroundColor").await);
    }
    assert_ne!(backs[0], backs[1]);
    let tree = browser.call("Accessibility.getFullAXTree", json!({})).await;
    let nodes = tree["nodes"].as_array().unwrap();
    let has = |role: &str, name: &str| {
        nodes.iter().any(|node| {
            let said = node["name"]["value"].as_str().unwrap_or_default();
            node["role"]["value"] == role && said.contains(name)
        })
    };
    for (role, name) in [
        ("heading", "Stowage"),
        ("region", "Gateway"),
        ("region", "Storages"),
        ("region", "Last failures"),
        ("textbox", "an operator's token"),
        ("button", "Show"),
        ("main", ""),
        ("banner", ""),
        ("status", ""),
    ] {
        assert!(has(role, name), "{role} {name}");
    }
    // At a phone's width, nothing overflows.
    let phone = json!({ "width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": true });
    browser.call("Emulation.setDeviceMetricsOverride", phone).await;
    assert_eq!(browser.value("document.documentElement.scrollWidth").await, json!(360));
    drop(browser);
    gateway.stop().await;
}
