//! The page's script: parsing of metrics, formatting of figures.

use serde_json::{Value, json};

use super::{open, start};

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_read_as_prometheus_reads_them() {
    let gateway = start().await;
    let mut browser = open(&gateway).await;
    let text = concat!(
        "# HELP a text 1\n# TYPE a counter\n\na 1\na{} 2\na{l=\"x\"} 3\na{l=\"x\",m=\"y\",} 4.5e-3 1700000000000\n",
        "a{l=\"q\\\"} 9 {\\\\,\\n\"} 5\nb_bucket{le=\"+Inf\"} 6\nb +Inf\nb -Inf\nb NaN\nnonsense\na{l=\"open} 7\na\n",
    );
    let parsed = browser.value(&format!("parse({})", json!(text))).await;
    let sample = |name: &str, labels: Value, value: Value| json!({ "name": name, "labels": labels, "value": value });
    assert_eq!(
        parsed.as_array().unwrap()[..6],
        [
            sample("a", json!({}), json!(1)),
            sample("a", json!({}), json!(2)),
            sample("a", json!({ "l": "x" }), json!(3)),
            sample("a", json!({ "l": "x", "m": "y" }), json!(0.0045)),
            sample("a", json!({ "l": "q\"} 9 {\\,\n" }), json!(5)),
            sample("b_bucket", json!({ "le": "+Inf" }), json!(6)),
        ]
    );
    assert_eq!(parsed.as_array().unwrap().len(), 9);
    let sums = format!(
        "(() => {{ const all = parse({}); return [sum(all, 'a'), sum(all, 'b'), sum(all, 'none')]; }})()",
        json!(text)
    );
    assert_eq!(browser.value(&sums).await, json!([11.0045, 0, 0]));
    // Every line of the gateway's own metrics is parsed.
    let missed = "fetch('/metrics').then((answer) => answer.text()).then((text) =>
        [parse(text).length, text.split('\\n').filter((line) => line && !line.startsWith('#')).length])";
    let counts = browser.value(missed).await;
    assert!(counts[0].as_u64().unwrap() > 100 && counts[0] == counts[1], "{counts}");
    drop(browser);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_short() {
    let gateway = start().await;
    let mut browser = open(&gateway).await;
    let figures = "[UNITS.rate(0), UNITS.rate(0.5), UNITS.rate(12.34), UNITS.bytes(999.6), UNITS.bytes(123456789), UNITS.bytes(7),
        UNITS.time(0.0012), UNITS.time(0.9996), UNITS.time(75), UNITS.count(1000000), duration(59.9), duration(61), duration(3600), duration(90000)]";
    let expected = json!([
        "0 /s",
        "0.50 /s",
        "12.3 /s",
        "1.00 kB/s",
        "123 MB/s",
        "7 B/s",
        "1.20 ms",
        "1.00 s",
        "75 s",
        "1 M",
        "59 s",
        "1 min 1 s",
        "1 h 0 min",
        "1 d 1 h"
    ]);
    assert_eq!(browser.value(figures).await, expected);
    drop(browser);
    gateway.stop().await;
}
