//! Many documents in one response.

use serde_json::{Value, json};

use crate::present::twins::{Twins, plain};
use hyper::Method;
use stowage_testing::gateway::{JSON, Setup, exchange, json as parsed};
use stowage_testing::raw::RawResponse;
use stowage_testing::recorder::{Answer, Recorder};

async fn three() -> (Twins, [(String, String); 3]) {
    let twins = Twins::start().await;
    let one = twins.make("one", &json!({"n": 1}), &[("a.mp3", b"first"), ("b.mp3", b"")]).await;
    let two = twins.make("two", &json!({"n": 2}), &[]).await;
    let three = twins.make("three", &json!({"n": 3}), &[("c.mp3", b"third")]).await;
    (twins, [one, two, three])
}

/// Checks that both responses match except for their length, which the gateway does not know in advance.
fn alike(shown: &RawResponse, native: &RawResponse) {
    assert_eq!((shown.status, plain(&shown.body)), (native.status, plain(&native.body)));
    assert!(shown.complete && !shown.text().contains("pvt_attachments"));
    let (shown, native) = (shown.header("content-type"), native.header("content-type"));
    assert_eq!(shown.map(|text| plain(text.as_bytes())), native.map(|text| plain(text.as_bytes())));
}

#[tokio::test]
async fn open_revs_in_both_forms() {
    let (twins, [one, ..]) = three().await;
    // A second branch with its own attachment.
    let body = |rev: &str| {
        json!({"new_edits": false, "docs": [{"_id": "one", "_rev": "2-0123456789abcdef0123456789abcdef",
        "n": 5, "_revisions": {"start": 2, "ids": ["0123456789abcdef0123456789abcdef", rev]}}]})
        .to_string()
    };
    for (database, rev) in [(twins.gateway.path(), &one.0), (twins.native.clone(), &one.1)] {
        let target = format!("/{database}/_bulk_docs");
        twins.couch("POST", &target, &[JSON], body(rev).as_bytes()).await.expect_status(201);
    }
    for accept in ["application/json", "multipart/mixed", "*/*"] {
        for query in ["open_revs=all", "open_revs=all&attachments=true&revs=true", "open_revs=all&latest=true"] {
            twins.same("GET", &format!("one?{query}"), &[("Accept", accept)], b"").await;
        }
        for revs in [vec![&one], vec![&one, &one]] {
            let rest = |pick: fn(&(String, String)) -> &String| {
                let list: Vec<_> = revs.iter().map(|rev| format!("%22{}%22", pick(rev))).collect();
                format!("one?attachments=true&open_revs=%5B{},%227-abc%22%5D", list.join(","))
            };
            let rests = (rest(|rev| &rev.0), rest(|rev| &rev.1));
            twins.same_with("GET", (&rests.0, &rests.1), &[("Accept", accept)], (b"", b"")).await;
        }
        twins.same("GET", "nobody?open_revs=all", &[("Accept", accept)], b"").await;
        twins.same("HEAD", "one?open_revs=all", &[("Accept", accept)], b"").await;
    }
    twins.stop().await;
}

#[tokio::test]
async fn a_bulk_get_in_each_form() {
    let (twins, [one, two, three]) = three().await;
    let body = |one: &str, two: &str, three: &str| {
        json!({"docs": [{"id": "one", "rev": one}, {"id": "two", "rev": two}, {"id": "nobody", "rev": "1-a"},
            {"id": "three", "rev": three}, {"id": "one"}, {"rev": "1-a"}]})
        .to_string()
    };
    let bodies = (body(&one.0, &two.0, &three.0), body(&one.1, &two.1, &three.1));
    let empty = (r#"{"docs":[]}"#.to_owned(), r#"{"docs":[]}"#.to_owned());
    for bodies in [&bodies, &empty] {
        for accept in ["application/json", "*/*", "multipart/mixed", "multipart/related"] {
            for query in ["", "?attachments=true", "?revs=true&latest=true&attachments=true"] {
                let headers = [JSON, ("Accept", accept)];
                let target = |database: &str| format!("/{database}/_bulk_get{query}");
                let shown =
                    twins.gateway.request("POST", &target(&twins.gateway.path()), &headers, bodies.0.as_bytes()).await;
                let native = twins.couch("POST", &target(&twins.native), &headers, bodies.1.as_bytes()).await;
                alike(&shown, &native);
            }
        }
    }
    for wrong in ["{}", "[]", "no json"] {
        twins.same("POST", "_bulk_get", &[JSON], wrong.as_bytes()).await;
    }
    twins.stop().await;
}

#[tokio::test]
async fn all_documents() {
    let (twins, _) = three().await;
    for query in [
        "include_docs=true",
        "include_docs=true&attachments=true",
        "include_docs=true&attachments=true&att_encoding_info=true&descending=true",
        "include_docs=true&key=%22one%22",
        "limit=1",
        "attachments=true",
        "include_docs=true&limit=0&attachments=true",
    ] {
        twins.same("GET", &format!("_all_docs?{query}"), &[], b"").await;
    }
    let keys = br#"{"keys":["three","nobody","one"]}"#;
    for query in ["?include_docs=true", "?include_docs=true&attachments=true", ""] {
        twins.same("POST", &format!("_all_docs{query}"), &[JSON], keys).await;
    }
    twins.stop().await;
}

/// Starts a gateway in front of a scripted server, with one attachment in a storage.
async fn scripted() -> (Recorder, stowage_testing::gateway::Running, Value) {
    let server = Recorder::start().await;
    let gateway = Setup::default().set("couchdb.present_stubs", "true").upstream(&server.url("")).start().await;
    server.store("/objects/c.mp3", "sound");
    let document = json!({"_id": "x", "_rev": "1-a", "pvt_attachments": {"c.mp3": {"content_type": "audio/mpeg",
        "length": 5, "handler": {"kz_att_http": {"url": server.url("/objects/c.mp3")}}}}});
    (server, gateway, document)
}

#[tokio::test]
async fn views_found_documents_and_queries_of_views() {
    let (server, gateway, document) = scripted().await;
    let stub = r#"{"_id":"x","_rev":"1-a","_attachments":{"c.mp3":{"content_type":"audio/mpeg","revpos":1,"length":5,"stub":true}}}"#;
    let data = r#"{"_id":"x","_rev":"1-a","_attachments":{"c.mp3":{"content_type":"audio/mpeg","revpos":1,"data":"c291bmQ="}}}"#;
    let rows = |doc: &str| {
        format!(
            "{{\"total_rows\":1,\"offset\":0,\"rows\":[\r\n{{\"id\":\"x\",\"key\":1,\"value\":null,\"doc\":{doc}}}\r\n]}}\n"
        )
    };
    let results = |one: &str, two: &str| format!("{{\"results\":[\n{},\r\n{}]}}\n", rows(one).trim(), rows(two).trim());
    let found = |doc: &str| format!("{{\"docs\":[\r\n{doc}\r\n],\r\n\"bookmark\":\"nil\"}}\n");
    let view = format!("/{}/_design/d/_view/v", gateway.path());
    let document = document.to_string();
    let cases = [
        ("GET", format!("{view}?include_docs=true"), "", rows(&document), rows(stub)),
        ("GET", format!("{view}?include_docs=true&attachments=true"), "", rows(&document), rows(data)),
        ("POST", view.clone(), r#"{"keys":[1],"include_docs":true,"attachments":true}"#, rows(&document), rows(data)),
        (
            "POST",
            format!("{view}/queries"),
            r#"{"queries":[{"include_docs":true},{"include_docs":true,"attachments":true}]}"#,
            results(&document, &document),
            results(stub, data),
        ),
        (
            "POST",
            format!("/{}/_all_docs/queries", gateway.path()),
            r#"{"queries":[{},{}]}"#,
            results(&document, &document),
            results(stub, stub),
        ),
        ("POST", format!("/{}/_find", gateway.path()), r#"{"selector":{}}"#, found(&document), found(stub)),
        (
            "POST",
            format!("/{}/_partition/p/_find", gateway.path()),
            r#"{"selector":{}}"#,
            found(&document),
            found(stub),
        ),
        (
            "GET",
            format!("/{}/_partition/p/_all_docs?include_docs=true", gateway.path()),
            "",
            rows(&document),
            rows(stub),
        ),
    ];
    for (method, target, body, stored, expected) in cases {
        if method == "GET" {
            server.store(target.split('?').next().unwrap(), &stored);
        } else {
            server.next(Method::POST, 1, Answer::Status(200, stored.leak()));
        }
        let shown = gateway.request(method, &target, &[JSON], body.as_bytes()).await;
        assert_eq!(shown.text(), expected, "{method} {target}");
        let asked = server.requests().into_iter().rev().find(|request| request.target.starts_with(&target)).unwrap();
        assert_eq!(asked.body, body.as_bytes(), "what the client asks goes on as it is");
    }
    gateway.stop().await;
}

/// Returns a response without sequences, which a CouchDB with several shards encodes differently each time; their order is not fixed, either.
fn without_seqs(answer: &RawResponse) -> (u16, Vec<String>, Vec<String>) {
    let mut names: Vec<_> = answer.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    let body = parsed(answer);
    let rows = body["rows"].as_array().or_else(|| body["results"].as_array()).expect("rows");
    let mut rows: Vec<_> =
        rows.iter().map(|row| [&row["id"], &row["changes"], &row["value"]].map(Value::to_string).join(" ")).collect();
    rows.sort();
    (answer.status, names, rows)
}

#[tokio::test]
async fn rows_without_documents_are_only_passed_on() {
    let (twins, _) = three().await;
    for rest in ["_all_docs", "_changes"] {
        let target = format!("/{}/{rest}", twins.gateway.path());
        let shown = twins.gateway.request("GET", &target, &[], b"").await;
        let [shown, native] = [shown, twins.couch("GET", &target, &[], b"").await].map(|answer| without_seqs(&answer));
        assert_eq!(shown, native);
    }
    let admin = twins.gateway.app.admin.unwrap();
    let text = exchange(admin, "GET", "/metrics", &[], b"").await.text();
    assert!(text.contains(r#"stowage_requests_total{method="GET",route="forward",status="200"} 2"#), "{text}");
    assert_eq!(parsed(&twins.gateway.get("one").await)["n"], 1);
    twins.stop().await;
}
