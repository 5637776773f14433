//! JSON logs: one flat object per line, and one access line per request.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Map, Value, json};

use super::program::{Serving, answer, head, request};

const MODB: &str = "account%2F4f%2F1c%2F0a5f6e3b4d7e8a9b0c1d2e3f4a5b-202411";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Starts a gateway that logs JSON and stores attachments in a directory.
fn serving(settings: &[(&str, &str)]) -> Serving {
    let serving = Serving::with(&[&[("LOG__FORMAT", "json")], settings].concat());
    for database in ["system_data", MODB] {
        serving.save(&format!("/{database}"), &json!({}));
    }
    let plan = json!({
        "pvt_type": "storage",
        "attachments": { "disk": { "handler": "file", "settings": { "directory": "d" } } },
        "plan": { "modb": { "attachments": { "handler": "disk" } } },
    });
    serving.save("/system_data/system", &plan);
    serving
}

/// Stops the gateway, and returns all of its lines.
fn lines(mut serving: Serving) -> Vec<Map<String, Value>> {
    serving.signal("TERM");
    assert_eq!(serving.ends().code(), Some(0));
    let mut all = serving.first.clone();
    all.extend(std::iter::from_fn(|| serving.line()));
    // The lines during the start are plain text.
    let plain = |line: &str| ["listening ", "admin.tokens is empty"].iter().any(|start| line.starts_with(start));
    all.iter().filter(|line| !plain(line)).map(|line| checked(line, true)).collect()
}

/// Parses a line, and checks it against the documentation.
pub fn checked(line: &str, is_new: bool) -> Map<String, Value> {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let Value::Object(line) = value else { panic!("no object: {line}") };
    assert!(line.values().all(|value| !value.is_object() && !value.is_array()), "not flat: {line:?}");
    let time = line["timestamp"].as_str().expect("a time");
    let parsed = humantime::parse_rfc3339(time).unwrap_or_else(|error| panic!("{error}: {time}"));
    let age = parsed.elapsed().expect("a time that is past");
    assert!(!is_new || age.as_secs() < 600, "{time}");
    assert!(["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&line["level"].as_str().expect("a level")));
    assert!(line["message"].is_string(), "{line:?}");
    line
}

/// Returns an access line with all members.
pub fn full_line() -> Map<String, Value> {
    let serving = serving(&[]);
    let attachment = format!("/{MODB}/doc/call.mp3");
    traced_put(&serving, &attachment);
    of(&lines(serving), "PUT", &attachment).clone()
}

/// Stores ten bytes within a trace; returns the response's body.
fn traced_put(serving: &Serving, attachment: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(serving.proxy).unwrap();
    let traceparent = format!("Traceparent: 00-{TRACE}-00f067aa0ba902b7-00\r\nHost:");
    let head = head("PUT", attachment, 10).replace("Host:", &traceparent);
    stream.write_all(&[head.as_bytes(), b"0123456789"].concat()).unwrap();
    let (status, stored) = answer(&mut stream);
    assert_eq!(status, 201);
    stored
}

fn access(lines: &[Map<String, Value>]) -> Vec<&Map<String, Value>> {
    lines.iter().filter(|line| line["message"] == "answered").collect()
}

/// Returns the only access line with this method and path.
fn of<'a>(lines: &'a [Map<String, Value>], method: &str, path: &str) -> &'a Map<String, Value> {
    let mut found = access(lines);
    found.retain(|line| line["method"] == method && line["path"] == path);
    assert_eq!(found.len(), 1, "{method} {path}: {found:?}");
    found[0]
}

#[test]
fn every_request_has_one_line_with_everything_in_it() {
    let serving = serving(&[]);
    let attachment = format!("/{MODB}/doc/call.mp3");
    let stored = traced_put(&serving, &attachment);
    assert_eq!(request(serving.proxy, "GET", &format!("{attachment}?token=canary"), b"").0, 200);
    assert_eq!(request(serving.proxy, "GET", "/_up", b"").0, 200);
    assert_eq!(request(serving.proxy, "GET", &format!("/{MODB}/nothing"), b"").0, 404);
    let lines = lines(serving);
    let put = of(&lines, "PUT", &attachment);
    for (key, value) in [
        ("level", json!("INFO")),
        ("route", json!("attachment_put")),
        ("status", json!(201)),
        ("bytes_in", json!(10)),
        ("bytes_out", json!(stored.len())),
        ("backend", json!("file")),
        ("storage", json!("disk")),
        ("outcome", json!("ok")),
        ("trace", json!(TRACE)),
    ] {
        assert_eq!(put[key], value, "{key}: {put:?}");
    }
    assert!(put["milliseconds"].as_f64().expect("a number") > 0.0);
    assert!(put["client"].as_str().expect("an address").starts_with("127.0.0.1:"));
    assert_eq!(put["request"].as_str().expect("an id").len(), 10);
    let get = of(&lines, "GET", &attachment);
    assert_eq!((&get["bytes_in"], &get["bytes_out"], &get["backend"]), (&json!(0), &json!(10), &json!("file")));
    assert!(!format!("{lines:?}").contains("canary"), "a query is in the log");
    let up = of(&lines, "GET", "/_up");
    assert_eq!(
        (&up["route"], &up["outcome"], up.get("backend"), up.get("trace")),
        (&json!("forward"), &json!("ok"), None, None)
    );
    assert_eq!(of(&lines, "GET", &format!("/{MODB}/nothing"))["outcome"], "refused");
    let requests = access(&lines).len();
    assert_eq!(requests, 3 + 4, "three saves and four requests");
    let ids: std::collections::HashSet<_> =
        access(&lines).into_iter().map(|line| line["request"].to_string()).collect();
    assert_eq!(ids.len(), requests, "each has its own id");
}

#[test]
fn a_failure_says_where_and_how() {
    let serving = serving(&[]);
    let (gone, short) = (format!("/{MODB}/doc/gone.mp3"), format!("/{MODB}/doc2/short.mp3"));
    for attachment in [&gone, &short] {
        assert_eq!(request(serving.proxy, "PUT", attachment, b"0123456789").0, 201);
    }
    let folder = serving.folder.path().join("attachments/d/4f1c0a5f6e3b4d7e8a9b0c1d2e3f4a5b");
    std::fs::remove_file(folder.join("doc/gone.mp3")).unwrap();
    std::fs::write(folder.join("doc2/short.mp3"), b"01234").unwrap();
    assert_eq!(request(serving.proxy, "GET", &gone, b"").0, 404);
    let refused = request(serving.proxy, "GET", &short, b"").0;
    let cut = format!("/{MODB}/doc3/cut.mp3");
    let mut stream = TcpStream::connect(serving.proxy).unwrap();
    stream.write_all(head("PUT", &cut, 10).as_bytes()).unwrap();
    stream.write_all(b"01234").unwrap();
    while !super::program::text(&request(serving.admin, "GET", "/metrics", b"").1).contains("stowage_in_flight 1") {
        std::thread::yield_now();
    }
    drop(stream);
    while !super::program::text(&request(serving.admin, "GET", "/metrics", b"").1).contains("stowage_in_flight 0") {
        std::thread::yield_now();
    }
    let lines = lines(serving);
    let get = |path: &str| of(&lines, "GET", path);
    assert_eq!((&get(&gone)["outcome"], &get(&gone)["storage"]), (&json!("missing"), &json!("disk")));
    assert_eq!((&get(&short)["outcome"], &get(&short)["status"]), (&json!("refused"), &json!(refused)));
    let cut = of(&lines, "PUT", &cut);
    assert_eq!(
        (&cut["outcome"], &cut["backend"], &cut["storage"]),
        (&json!("interrupted"), &json!("file"), &json!("disk"))
    );
    assert_eq!(cut["bytes_in"], 5);
}

#[test]
fn lines_of_forwarded_requests_can_be_left_out() {
    for (mode, forwarded, attachments) in [("all", 1, 1), ("attachments", 0, 1), ("off", 0, 0)] {
        let serving = serving(&[("LOG__ACCESS", mode)]);
        request(serving.proxy, "GET", "/_up", b"");
        request(serving.proxy, "GET", &format!("/{MODB}/doc/call.mp3"), b"");
        let lines = lines(serving);
        let count = |path: &str| access(&lines).iter().filter(|line| line["path"] == path).count();
        assert_eq!((count("/_up"), count(&format!("/{MODB}/doc/call.mp3"))), (forwarded, attachments), "{mode}");
    }
}

#[test]
fn a_level_above_info_has_no_access_lines() {
    let serving = serving(&[("LOG__LEVEL", "warn")]);
    request(serving.proxy, "GET", "/_up", b"");
    assert!(access(&lines(serving)).is_empty());
}
