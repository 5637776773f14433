//! Bodies: small ones without attachments, long ones that are streamed, and compressed ones.

use std::io::Write as _;

use serde_json::json;

use super::world::{JSON, audit_and_stop, both, inline, plan, stored};
use stowage_testing::gateway::{Running, STORAGE, Setup, json as parsed};
use stowage_testing::gzip;
use stowage_testing::raw::RawResponse;

async fn small() -> Running {
    Setup::default().set("limits.document_bytes", "64 KiB").storing_in("r").await
}

/// Returns a document that exceeds the gateway's limit; `member` follows the padding.
fn long(member: &str) -> Vec<u8> {
    let padding = "x \\\" _attachments ".repeat(10_000);
    format!("{{\"nested\":{{\"_attachments\":{{}}}},\"text\":\"{padding}\"{member}}}").into_bytes()
}

async fn send(gateway: &Running, method: &str, rest: &str, body: &[u8]) -> RawResponse {
    gateway.request(method, &format!("/{}{rest}", gateway.path()), &[JSON], body).await
}

#[tokio::test]
async fn a_long_document_without_attachments_passes() {
    let gateway = small().await;
    both(&gateway, "PUT", "/long", &[JSON], &long("")).await;
    both(&gateway, "POST", "", &[JSON], &long(r#","_id":"posted""#)).await;
    let bulk = [b"{\"docs\":[{\"_id\":\"b\"},", long(r#","_id":"bulk""#).as_slice(), b"]}"].concat();
    both(&gateway, "POST", "/_bulk_docs", &[JSON], &bulk).await;
    for id in ["long", "posted", "bulk", "b"] {
        assert!(stored(&gateway, id).await["_rev"].is_string(), "{id}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_long_document_with_attachments_is_refused_and_not_saved() {
    let gateway = small().await;
    for member in [r#","_attachments":{"a":{"data":""}}"#, r#","\u005fattachments":{}"#] {
        let body = long(member);
        for (method, rest, body) in [
            ("PUT", "/long", body.clone()),
            ("POST", "", body.clone()),
            ("POST", "/_bulk_docs", [b"{\"docs\":[", body.as_slice(), b"]}"].concat()),
        ] {
            let refused = send(&gateway, method, rest, &body).await;
            assert_eq!(refused.status, 413, "{method} {rest}: {refused:?}");
            assert_eq!(parsed(&refused)["error"], "document_too_large");
        }
    }
    assert_eq!(stored(&gateway, "long").await, json!(null));
    audit_and_stop(gateway, &[]).await;
}

/// Their objects would stay.
#[tokio::test]
async fn tombstones_that_are_too_long_to_read_are_refused_where_objects_go() {
    let gateway = small().await;
    plan(&gateway, json!({ "attachments": { "handler": STORAGE, "on_delete": "delete" } })).await;
    let bulk = [b"{\"docs\":[", long(r#","_id":"bulk","_deleted":true"#).as_slice(), b"]}"].concat();
    let refused = send(&gateway, "POST", "/_bulk_docs", &bulk).await;
    assert_eq!((refused.status, &parsed(&refused)["error"]), (413, &json!("document_too_large")), "{refused:?}");
    audit_and_stop(gateway, &[]).await;
}

#[tokio::test]
async fn without_a_length_it_is_the_same() {
    let gateway = small().await;
    for (body, status) in [(long(""), 201), (long(r#","_attachments":{}"#), 413)] {
        let (name, login) = stowage_testing::gateway::authorization(&gateway.couch.admin);
        let head = format!(
            "PUT /{}/chunked HTTP/1.1\r\nHost: x\r\n{name}: {login}\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n",
            gateway.path()
        );
        let mut bytes = head.into_bytes();
        for piece in body.chunks(5000) {
            write!(bytes, "{:x}\r\n", piece.len()).unwrap();
            bytes.extend_from_slice(piece);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        let mut client = stowage_testing::raw::RawClient::connect(gateway.address).await.unwrap();
        let answer = client.exchange(&bytes).await.unwrap();
        assert_eq!(answer.status, status, "{answer:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_gzipped_document_is_looked_into() {
    let gateway = small().await;
    let headers = [JSON, ("Content-Encoding", "gzip")];
    let document = json!({ "_attachments": { "a": inline("x/y", b"packed") } }).to_string();
    let target = |id: &str| format!("/{}/{id}", gateway.path());
    gateway.request("PUT", &target("doc"), &headers, &gzip(document.as_bytes())).await.expect_status(201);
    assert_eq!(gateway.get("doc/a").await.body, b"packed");
    gateway.request("PUT", &target("long"), &headers, &gzip(&long(""))).await.expect_status(201);
    gateway.request("PUT", &target("other"), &headers, &gzip(&long(r#","_attachments":{}"#))).await.expect_status(413);
    let refused = gateway.request("PUT", &target("other"), &headers, b"no gzip at all").await;
    assert_eq!(
        (refused.status, parsed(&refused)["reason"].as_str()),
        (400, Some("Request body is not properly gzipped."))
    );
    audit_and_stop(gateway, &["doc"]).await;
}

/// Bodies that do not concern the gateway are forwarded byte for byte.
#[tokio::test]
async fn what_carries_nothing_goes_on_as_it_came() {
    use hyper::Method;
    use stowage_testing::recorder::Recorder;

    let recorder = Recorder::start().await;
    let gateway = Setup::default().upstream(&recorder.url("")).start().await;
    let account = gateway.account.clone();
    let plan = json!({
        "_id": account, "_rev": "1-a", "pvt_type": "storage",
        "attachments": { "0123456789abcdef0123456789abcdef": { "handler": "file", "settings": { "directory": "r" } } },
        "plan": { "modb": { "attachments": { "handler": "0123456789abcdef0123456789abcdef" } } },
    });
    recorder.store(&format!("/{}/{account}", gateway.couch.plans), plan.to_string());
    let text = r#" { "b" : 1.0, "a":"_attachments", "c":{"_attachments":[]}, "pvt_attachments":{ "x" : 1 } } "#;
    send(&gateway, "PUT", "/doc?batch=ok", text.as_bytes()).await;
    let bulk = format!(r#"{{ "new_edits" :false,"docs":[{text}] , "more":1}}"#);
    send(&gateway, "POST", "/_bulk_docs", bulk.as_bytes()).await;
    let requests = recorder.requests();
    let ours: Vec<_> = requests.iter().filter(|request| request.target.contains(&gateway.path())).collect();
    let bodies: Vec<_> = ours
        .iter()
        .map(|request| (request.method.clone(), String::from_utf8(request.body.to_vec()).unwrap()))
        .collect();
    assert_eq!(bodies, [(Method::PUT, text.to_owned()), (Method::POST, bulk)], "and no document was read");
    assert!(ours[0].target.ends_with("/doc?batch=ok"), "{}", ours[0].target);
    gateway.stop().await;
}
