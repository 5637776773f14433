//! The document: only its pointers change.

use serde_json::{Value, json};

use stowage_testing::gateway::{Running, STORAGE, Setup, json as parsed, planned, rev};

/// Puts an attachment directly into CouchDB.
async fn put_native(gateway: &Running, id: &str, name: &str, rev_before: &str, body: &[u8]) -> String {
    let query = if rev_before.is_empty() { String::new() } else { format!("?rev={rev_before}") };
    let target = format!("/{}/{id}/{name}{query}", gateway.path());
    let put = gateway.couch.request("PUT", &target, "audio/mpeg", body).await.expect_status(201);
    rev(&put)
}

#[tokio::test]
async fn members_keep_their_order_and_numbers_their_digits() {
    // Uses a recorder, which shows what the gateway sends rather than what a store makes of it.
    use hyper::Method;
    use stowage_testing::recorder::{Answer, Recorder};

    let recorder = Recorder::start().await;
    let gateway = planned().await;
    let path = gateway.path();
    let document = r#"{"_id":"doc","_rev":"1-967a00dff5e02add41819138abb3284d","z":1.0,"big":12345678901234567890123,"e":1E5,"a":{"y":-0.0,"b":[ 1 ,2]},"text":"\u00fc\/"}"#;
    let account = gateway.account.clone();
    let plan = json!({
        "_id": account, "_rev": "1-a", "pvt_type": "storage",
        "attachments": { STORAGE: { "handler": "file", "settings": { "directory": "r" } } },
        "plan": { "modb": { "attachments": { "handler": STORAGE } } },
    });
    recorder.store(&format!("/{path}/doc"), document);
    recorder.store(&format!("/{}/{account}", gateway.couch.plans), plan.to_string());
    recorder.next(Method::PUT, 1, Answer::Status(201, r#"{"ok":true,"id":"doc","rev":"2-b"}"#));
    let front = Setup::default().upstream(&recorder.url("")).start_over(stowage_testing::gateway::Couch::start().await);
    // The second gateway has another plans database, which needs the plan, too.
    let front = front.await;
    recorder.store(&format!("/{}/{account}", front.couch.plans), plan.to_string());
    let target = format!("/{path}/doc/call.mp3?rev=1-967a00dff5e02add41819138abb3284d");
    front.request("PUT", &target, &[("Content-Type", "audio/mpeg")], b"bytes").await.expect_status(201);
    let requests = recorder.requests();
    let saved = requests.iter().find(|request| request.method == Method::PUT).unwrap();
    let text = String::from_utf8(saved.body.to_vec()).unwrap();
    let kept = document.trim_end_matches('}');
    assert!(text.starts_with(&format!("{kept},\"pvt_attachments\":{{\"call.mp3\":{{")), "{text}");
    gateway.stop().await;
    front.stop().await;
}

#[tokio::test]
async fn attachments_of_couchdb_under_other_names_stay() {
    let gateway = planned().await;
    let first = put_native(&gateway, "doc", "native.mp3", "", b"native").await;
    let put = gateway.attach("doc", "call.mp3", &first, b"outside").await;
    let document = parsed(&gateway.get("doc").await);
    assert_eq!(document["_attachments"]["native.mp3"]["length"], 6);
    assert_eq!(document["_attachments"]["native.mp3"]["revpos"], 1);
    assert_eq!(gateway.get("doc/native.mp3").await.body, b"native");
    assert_eq!(gateway.get("doc/call.mp3").await.body, b"outside");
    let removed = gateway.delete(&format!("doc/call.mp3?rev={}", rev(&put))).await.expect_status(200);
    assert_eq!(gateway.get("doc/native.mp3").await.body, b"native");
    assert_eq!(
        gateway.delete(&format!("doc/native.mp3?rev={}", rev(&removed))).await.status,
        200,
        "CouchDB's own goes as well"
    );
    assert_eq!(gateway.get("doc/native.mp3").await.status, 404);
    gateway.stop().await;
}

#[tokio::test]
async fn an_attachment_of_couchdb_under_the_same_name_is_replaced() {
    let gateway = planned().await;
    let first = put_native(&gateway, "doc", "call.mp3", "", b"native").await;
    assert_eq!(gateway.get("doc/call.mp3").await.body, b"native", "what was there before the plan is served");
    let put = gateway.attach("doc", "call.mp3", &first, b"outside").await;
    let target = format!("/{}/doc", gateway.path());
    let document = parsed(&gateway.couch.request("GET", &target, "", b"").await);
    assert_eq!(document.get("_attachments"), None);
    assert_eq!(gateway.get("doc/call.mp3").await.body, b"outside");
    let past = put_native(&gateway, "doc", "call.mp3", &rev(&put), b"past the gateway").await;
    assert_eq!(gateway.get("doc/call.mp3").await.body, b"past the gateway", "the newer one counts");
    gateway.attach("doc", "call.mp3", &past, b"outside again").await;
    assert_eq!(gateway.get("doc/call.mp3").await.body, b"outside again");
    gateway.settled().await;
    assert_eq!(gateway.stored().len(), 1, "no object stays that no document names");
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_deleted_does_not_give_way_to_what_it_had_replaced() {
    let gateway = planned().await;
    let put = gateway.put("doc", "call.mp3", "", b"old").await;
    let past = put_native(&gateway, "doc", "call.mp3", &rev(&put), b"new, past the gateway").await;
    assert_eq!(gateway.delete(&format!("doc/call.mp3?rev={past}")).await.status, 200);
    assert_eq!(gateway.get("doc/call.mp3").await.status, 404, "the older bytes do not come back");
    gateway.settled().await;
    assert!(gateway.stored().is_empty(), "{:?}", gateway.stored());
    gateway.stop().await;
}

#[tokio::test]
async fn nor_where_the_plan_sends_nothing_outside_any_more() {
    let gateway = planned().await;
    let put = gateway.put("doc", "call.mp3", "", b"old").await;
    gateway.plan_as("file", json!({ "directory": "recordings" }), json!({})).await;
    let native = gateway.put("doc", "call.mp3", &rev(&put), b"new, in CouchDB").await;
    assert_eq!(gateway.get("doc/call.mp3").await.body, b"new, in CouchDB");
    assert_eq!(gateway.delete(&format!("doc/call.mp3?rev={}", rev(&native))).await.status, 200);
    assert_eq!(gateway.get("doc/call.mp3").await.status, 404);
    gateway.settled().await;
    assert!(gateway.stored().is_empty());
    gateway.stop().await;
}

#[tokio::test]
async fn nor_where_no_plan_is_left() {
    let gateway = planned().await;
    let put = gateway.put("doc", "call.mp3", "", b"old").await;
    let none = json!({ "pvt_type": "storage", "attachments": {}, "plan": {} });
    gateway.save_plan(&gateway.account.clone(), none).await;
    let native = gateway.put("doc", "call.mp3", &rev(&put), b"new, in CouchDB").await;
    assert_eq!(gateway.get("doc/call.mp3").await.body, b"new, in CouchDB");
    let gone = gateway.delete(&format!("doc/call.mp3?rev={}", rev(&native))).await.expect_status(200);
    assert_eq!(gateway.get("doc/call.mp3").await.status, 404);
    let inside = gateway.inside("doc").await;
    assert_eq!((&inside["_rev"], &inside["pvt_attachments"]), (&json!(rev(&gone)), &Value::Null), "{inside}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_copy_is_readable_and_its_deletion_leaves_the_original() {
    let gateway = planned().await;
    let put = gateway.put("doc", "call.mp3", "", b"recording").await;
    let copied = gateway.copy("doc", "copy").await.expect_status(201);
    assert_eq!(gateway.get("copy/call.mp3").await.body, b"recording");
    assert_eq!(gateway.delete(&format!("copy/call.mp3?rev={}", rev(&copied))).await.status, 200);
    gateway.settled().await;
    assert_eq!(gateway.get("copy/call.mp3").await.status, 404);
    assert_eq!(gateway.get("doc/call.mp3").await.body, b"recording");

    let copied = gateway.copy("doc", "second").await;
    gateway.attach("second", "call.mp3", &rev(&copied), b"another recording").await;
    gateway.settled().await;
    assert_eq!(gateway.get("doc/call.mp3").await.body, b"recording", "replacing in a copy leaves the original");
    assert_eq!(gateway.get("second/call.mp3").await.body, b"another recording");
    assert_eq!(gateway.delete(&format!("doc/call.mp3?rev={}", rev(&put))).await.status, 200);
    gateway.settled().await;
    assert_eq!(gateway.stored().len(), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn entries_of_others_are_left_alone() {
    let gateway = planned().await;
    let text = r#"{"pvt_attachments":{"theirs.mp3":{"content_type":"audio/mpeg","length":5,"handler":{"kz_att_future":{"x":1.0}}},"plain.mp3":{"length":1}}}"#;
    let first = gateway.save("doc", text).await;
    gateway.attach("doc", "call.mp3", &first, b"ours").await;
    let document = gateway.inside("doc").await.to_string();
    assert!(
        document
            .contains(r#""theirs.mp3":{"content_type":"audio/mpeg","length":5,"handler":{"kz_att_future":{"x":1.0}}}"#),
        "{document}"
    );
    assert_eq!(gateway.get("doc/theirs.mp3").await.status, 502, "an entry that the gateway cannot read");
    assert_eq!(gateway.get("doc/plain.mp3").await.status, 404, "no place is named: CouchDB is asked");
    gateway.stop().await;
}

#[tokio::test]
async fn after_a_plan_is_gone_its_storage_is_named_and_comes_back_with_it() {
    let gateway = planned().await;
    let put = gateway.put("doc", "call.mp3", "", b"recording").await;
    let plan_of = |plan: Value| json!({ "pvt_type": "storage", "attachments": {}, "plan": plan });
    gateway.save_plan(&gateway.account.clone(), plan_of(json!({}))).await;
    let target = format!("/{}/doc/call.mp3", gateway.path());
    for (method, query) in [("GET", String::new()), ("DELETE", format!("?rev={}", rev(&put)))] {
        let answer = gateway.request(method, &format!("{target}{query}"), &[], b"").await;
        assert_eq!(answer.status, 502, "{method}: {answer:?}");
        assert!(parsed(&answer)["reason"].as_str().unwrap().contains(STORAGE), "{answer:?}");
    }
    assert_eq!(gateway.request("HEAD", &target, &[], b"").await.status, 200, "a HEAD asks no storage");
    gateway.attach("new", "call.mp3", "", b"in CouchDB").await;
    assert_eq!(gateway.get("new/call.mp3").await.body, b"in CouchDB");
    assert_eq!(gateway.stored().len(), 1);

    gateway.plan("file", json!({ "directory": "recordings" })).await;
    assert_eq!(gateway.get("doc/call.mp3").await.body, b"recording");
    assert_eq!(gateway.get("new/call.mp3").await.body, b"in CouchDB");

    // The storage is still defined, but new attachments do not go there.
    gateway.plan_as("file", json!({ "directory": "recordings" }), json!({})).await;
    assert_eq!(gateway.get("doc/call.mp3").await.body, b"recording");
    gateway.request("DELETE", &format!("{target}?rev={}", rev(&put)), &[], b"").await.expect_status(200);
    gateway.settled().await;
    assert!(gateway.stored().is_empty());
    gateway.stop().await;
}
