//! Many concurrent clients: one wins, the others get a conflict, and no client reads bytes under a wrong ETag.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use hyper::Method;
use md5::{Digest, Md5};
use serde_json::json;
use tokio::sync::Notify;
use tracing::Level;

use super::gate::{Act, End, answer};
use super::world::{BUCKET, World, bytes, soon};
use stowage_testing::gateway::{JSON, Running, Setup, authorization, rev};
use stowage_testing::log::Log;
use stowage_testing::raw::{RawClient, RawResponse};
use stowage_testing::recorder::{Answer, Recorder};
use stowage_testing::s3::Operation;

const CLIENTS: u8 = 20;

/// Checks that one response is a 201 and all others a 409; returns the winner.
fn one_winner(answers: &[RawResponse]) -> usize {
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), answers.len() - 1, "{statuses:?}");
    statuses.iter().position(|status| *status == 201).expect("a winner")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_clients_with_one_revision_one_stores_something() {
    let world = World::start().await;
    let bodies: Vec<Vec<u8>> = (0..CLIENTS).map(|seed| bytes(20_000, seed)).collect();
    let fresh = world.document("fresh").await;
    let overwritten = world.with_attachment("overwritten", b"old").await;
    for (id, rev) in [("fresh", fresh), ("overwritten", overwritten), ("unborn", String::new())] {
        let before = world.s3.count(Operation::Put);
        let answers = join_all(bodies.iter().map(|body| world.gateway.put(id, "call.mp3", &rev, body))).await;
        let winner = one_winner(&answers);
        assert_eq!(world.s3.count(Operation::Put) - before, 1, "{id}: no other client's bytes reach the storage");
        assert!(world.whole_or_nothing(id, "call.mp3", &bodies[winner]).await);
    }
    world.audit(&["fresh".to_owned(), "overwritten".to_owned(), "unborn".to_owned()]).await;
    assert_eq!(world.s3.objects(BUCKET).len(), 3);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_attachments_with_one_revision_one_stays() {
    let world = World::start().await;
    let rev = world.document("doc").await;
    let names: Vec<String> = (0..CLIENTS).map(|index| format!("{index:02}.mp3")).collect();
    let answers = join_all(names.iter().map(|name| world.gateway.put("doc", name, &rev, name.as_bytes()))).await;
    let winner = one_winner(&answers);
    world.gateway.settled().await;
    for (index, name) in names.iter().enumerate() {
        assert_eq!(world.whole_or_nothing("doc", name, name.as_bytes()).await, index == winner);
    }
    world.audit_and_stop(&["doc"]).await;
}

/// A web server creates no name exclusively, so that two gateways may both find it free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_save_leaves_the_object_that_another_gateways_save_names() {
    let world = World::unplanned(Setup::default()).await;
    let server = Recorder::start().await;
    world.gateway.plan("http", json!({ "url": server.url("/recordings") })).await;
    let other = world.gateway.beside(Setup::default()).await;
    let (single, batched) = (world.document("single").await, world.document("batched").await);
    server.next(Method::HEAD, 4, Answer::Status(404, ""));
    let entry = json!({ "data": STANDARD.encode("a recording") });
    let document = json!({ "_id": "batched", "_rev": batched, "_attachments": { "call.mp3": entry } });
    let batch = json!({ "docs": [document] }).to_string();
    let writes = [("single", "PUT", "/single "), ("batched", "POST", "/_bulk_docs")];
    for (index, (id, method, part)) in writes.into_iter().enumerate() {
        let gate = Arc::new(Notify::new());
        world.store.rule(method, part, 1, Act::Hold(Arc::clone(&gate)));
        let losing = async {
            match id {
                "single" => world.gateway.put(id, "call.mp3", &single, b"a recording").await,
                _ => world.gateway.ask("POST", "_bulk_docs", &[JSON], batch.as_bytes()).await,
            }
        };
        let winning = async {
            world.store.struck(index + 1).await;
            let rev = if id == "single" { &single } else { &batched };
            other.attach(id, "call.mp3", rev, b"a recording").await;
            gate.notify_one();
        };
        let (lost, ()) = tokio::join!(losing, winning);
        assert!(lost.text().contains("conflict"), "{id}: {lost:?}");
        world.gateway.settled().await;
        let got = other.get(&format!("{id}/call.mp3")).await;
        assert_eq!((got.status, &*got.body), (200, &b"a recording"[..]), "{id}");
        assert_eq!(server.stored().len(), index + 1, "{id}: {:?}", server.stored());
    }
    other.stop().await;
    world.stop().await;
}

/// The second upload has replaced the bytes of the first, and only one of them is saved.
#[tokio::test]
async fn two_uploads_of_one_name_with_different_bytes_are_an_error_in_the_log() {
    let world = World::unplanned(Setup::default()).await;
    let server = Recorder::start().await;
    world.gateway.plan("http", json!({ "url": server.url("/recordings") })).await;
    let other = world.gateway.beside(Setup::default()).await;
    let rev = world.document("doc").await;
    server.next(Method::HEAD, 2, Answer::Status(404, ""));
    let gate = Arc::new(Notify::new());
    world.store.rule("PUT", "/doc ", 1, Act::Hold(Arc::clone(&gate)));
    let log = Log::default();
    let _guard = log.begin(Level::ERROR);
    let winning = async {
        world.store.struck(1).await;
        other.attach("doc", "call.mp3", &rev, b"another recording").await;
        gate.notify_one();
    };
    let (lost, ()) = tokio::join!(world.gateway.put("doc", "call.mp3", &rev, b"a recording"), winning);
    assert!(lost.text().contains("conflict"), "{lost:?}");
    world.gateway.settled().await;
    let lines = log.lines("two uploads of an attachment had one name");
    assert!(lines.len() == 1 && lines[0].contains("attachment=call.mp3"), "{}", log.text());
    other.stop().await;
    world.stop().await;
}

/// Another gateway may have stored the object too, and be about to save its document.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forbidden_save_leaves_the_object_of_a_shared_name_to_a_job() {
    let world = World::unplanned(Setup::default()).await;
    let server = Recorder::start().await;
    world.gateway.plan("http", json!({ "url": server.url("/recordings") })).await;
    let (single, batched) = (world.document("single").await, world.document("batched").await);
    server.next(Method::HEAD, 2, Answer::Status(404, ""));
    let forbidden = || answer(403, r#"{"error":"forbidden","reason":"no"}"#);
    world.store.rule("PUT", "/single ", 1, forbidden());
    world.gateway.put("single", "call.mp3", &single, b"a recording").await.expect_status(403);
    world.store.rule("POST", "/_bulk_docs", 1, forbidden());
    let entry = json!({ "data": STANDARD.encode("a recording") });
    let document = json!({ "_id": "batched", "_rev": batched, "_attachments": { "call.mp3": entry } });
    let batch = json!({ "docs": [document] }).to_string();
    world.gateway.ask("POST", "_bulk_docs", &[JSON], batch.as_bytes()).await.expect_status(403);
    world.gateway.settled().await;
    assert_eq!(server.stored().len(), 2, "{:?}", server.stored());
    let jobs = format!("/{}/_all_docs", world.gateway.app.gateway.jobs.config().database);
    let jobs = world.gateway.couch.request("GET", &jobs, "", b"").await;
    assert_eq!(jobs.text().matches("\"id\":\"remove-").count(), 2, "{jobs:?}");
    world.stop().await;
}

/// A client that stalls during its upload does not block others, and gets a conflict in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_upload_is_passed() {
    let gateway = Setup::default().storing_in("calls").await;
    let (name, value) = authorization(&gateway.couch.admin);
    for id in ["put", "inline", "deleted"] {
        let current = gateway.attached(id, json!({}), "call.mp3", b"old").await;
        let target = format!("/{}/{id}/call.mp3?rev={current}", gateway.path());
        let mut stalled = RawClient::connect(gateway.address).await.expect("a connection");
        let head = format!("PUT {target} HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\nContent-Length: 10\r\n\r\nstal");
        stalled.send(head).await.expect("sent");
        // It has been admitted, with memory for its body.
        soon("memory for its body", || gateway.app.gateway.budget.held() > 0).await;
        let answer = match id {
            "put" => gateway.put(id, "call.mp3", &current, b"second").await,
            "inline" => {
                let entry = json!({ "data": STANDARD.encode("second") });
                let body = json!({ "_rev": current, "_attachments": { "call.mp3": entry } }).to_string();
                let target = format!("/{}/{id}", gateway.path());
                gateway.request("PUT", &target, &[JSON], body.as_bytes()).await
            }
            _ => gateway.request("DELETE", &target, &[], b"").await,
        };
        assert!(matches!(answer.status, 200 | 201), "{id}: {answer:?}");
        let late = stalled.exchange("led up").await.expect("an answer");
        assert_eq!(late.status, 409, "{id}: {late:?}");
        let got = gateway.get(&format!("{id}/call.mp3")).await;
        if id == "deleted" {
            assert_eq!(got.status, 404);
        } else {
            assert_eq!((got.status, got.body.as_slice()), (200, &b"second"[..]), "{id}");
            let now = rev(&answer);
            assert_eq!(gateway.delete(&format!("{id}/call.mp3?rev={now}")).await.status, 200);
        }
        gateway.settled().await;
        // A document written as a whole keeps the replaced object, as plans do by default.
        let kept: &[&str] = if id == "inline" { &["old"] } else { &[] };
        let files: Vec<String> = gateway.stored().iter().map(|file| read(&gateway, file)).collect();
        assert_eq!(files, kept, "{id}");
        for file in gateway.stored() {
            std::fs::remove_file(gateway.files().join(file)).expect("removed");
        }
    }
    gateway.stop().await;
}

fn read(gateway: &Running, file: &str) -> String {
    std::fs::read_to_string(gateway.files().join(file)).expect("a file")
}

fn tag(body: &[u8]) -> String {
    format!("\"{}\"", STANDARD.encode(Md5::digest(body)))
}

fn assert_own_bytes(got: &RawResponse) {
    assert_eq!(got.status, 200, "{got:?}");
    assert!(got.complete);
    assert_eq!(got.header("etag"), Some(tag(&got.body).as_str()), "bytes under a tag that is not theirs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_during_overwrites_see_old_or_new() {
    let gateway = Setup::default().storing_in("calls").await;
    let first = gateway.document("doc", json!({})).await;
    let mut current = rev(&gateway.put("doc", "call.mp3", &first, &bytes(300_000, 0)).await);
    let done = tokio_util::sync::CancellationToken::new();
    let reader = || async {
        let mut reads = 0;
        while !done.is_cancelled() {
            assert_own_bytes(&gateway.get("doc/call.mp3").await);
            reads += 1;
        }
        reads
    };
    let writer = async {
        for seed in 1..=25 {
            let put = gateway.attach("doc", "call.mp3", &current, &bytes(300_000 - usize::from(seed), seed)).await;
            current = rev(&put);
        }
        done.cancel();
    };
    let (first, second, third, ()) = tokio::join!(reader(), reader(), reader(), writer);
    assert!(first + second + third > 3, "nothing was read");
    gateway.settled().await;
    assert_eq!(gateway.stored().len(), 1);
    gateway.stop().await;
}

/// After the document was read, and before the storage is queried, the attachment is replaced and its old object removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_who_is_overtaken_gets_what_is_there_now() {
    let world = World::start().await;
    let rev = world.with_attachment("doc", b"the old recording").await;
    let gate = Arc::new(Notify::new());
    world.bucket.rule("GET", "doc_call", 1, Act::Hold(Arc::clone(&gate)));
    let (got, ()) = tokio::join!(world.gateway.get("doc/call.mp3"), async {
        world.bucket.struck(1).await;
        world.gateway.attach("doc", "call.mp3", &rev, b"the new recording").await;
        soon("the old object goes", || world.s3.objects(BUCKET).len() <= 1).await;
        gate.notify_one();
    });
    assert_own_bytes(&got);
    assert_eq!(got.body, b"the new recording");
    world.audit_and_stop(&["doc"]).await;
}

/// The same for documents with their attachments, whose answers have no ETag.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_documents_who_is_overtaken_gets_what_is_there_now() {
    for (method, rest, body) in [
        ("GET", "doc?open_revs=all&attachments=true", ""),
        ("POST", "_bulk_get?attachments=true", r#"{"docs":[{"id":"doc"}]}"#),
    ] {
        let world = World::start().await;
        let rev = world.with_attachment("doc", b"the old recording").await;
        let gate = Arc::new(Notify::new());
        world.bucket.rule("GET", "doc_call", 1, Act::Hold(Arc::clone(&gate)));
        let headers = [JSON, ("Accept", "application/json")];
        let (got, ()) = tokio::join!(world.gateway.ask(method, rest, &headers, body.as_bytes()), async {
            world.bucket.struck(1).await;
            world.gateway.attach("doc", "call.mp3", &rev, b"the new recording").await;
            soon("the old object goes", || world.s3.objects(BUCKET).len() <= 1).await;
            gate.notify_one();
        });
        assert!(got.status == 200 && got.complete, "{rest}: {got:?}");
        assert!(got.text().contains(&STANDARD.encode(b"the new recording")), "{rest}: {got:?}");
        world.audit_and_stop(&["doc"]).await;
    }
}

/// A reader of an object that is replaced and removed gets all of it, or notices that it does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_outlives_its_object_or_breaks() {
    let world = World::start().await;
    let old = bytes(4 << 20, 1);
    for fault in [None, Some(Act::CutAnswer(1 << 20, End::Reset)), Some(Act::CutAnswer((2 << 20) + 1, End::Fin))] {
        let id = if fault.is_some() { "broken" } else { "whole" };
        let document = world.stored(id).await;
        let rev = match document["_rev"].as_str() {
            None => world.with_attachment(id, &old).await,
            Some(rev) => {
                let put = world.gateway.put(id, "call.mp3", rev, &old).await;
                stowage_testing::gateway::rev(&put)
            }
        };
        let breaks = fault.is_some();
        if let Some(fault) = fault {
            world.bucket.rule("GET", &format!("{id}_call"), 1, fault);
        }
        let mut client = RawClient::connect(world.gateway.address).await.expect("a connection");
        let (name, value) = authorization(&world.gateway.couch.admin);
        let target = format!("/{}/{id}/call.mp3", world.gateway.path());
        client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\n\r\n")).await.expect("sent");
        let head = client.head().await.expect("a head");
        assert_eq!((head.status, head.header("etag")), (200, Some(tag(&old).as_str())));
        world.gateway.attach(id, "call.mp3", &rev, b"new").await;
        soon("the old object goes", || world.s3.objects(BUCKET).values().all(|size| *size != old.len() as u64)).await;
        // A truncated body also ends the connection, a complete one does not.
        client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("sent");
        let body = client.rest().await.unwrap_or_default();
        if body.len() >= old.len() {
            assert!(body.starts_with(&old), "other bytes were mixed in");
        } else {
            assert!(breaks && old.starts_with(&body), "{} bytes", body.len());
        }
    }
    world.audit_and_stop(&["whole".to_owned(), "broken".to_owned()]).await;
}
