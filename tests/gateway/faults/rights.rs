//! Unauthorized clients get CouchDB's own refusal, and no storage receives any byte.

use serde_json::json;

use super::world::World;
use stowage_testing::gateway::{Setup, authorization, exchange};
use stowage_testing::raw::RawResponse;

/// Invalid credentials of clients. CouchDB locks an account at the fifth wrong password, so no other test uses this one's.
async fn strangers(world: &World) -> Vec<(&'static str, Vec<(String, String)>)> {
    let user = world.gateway.couch.user().await;
    let forgetful = (world.gateway.couch.user().await.0, "wrong".to_owned());
    vec![
        ("nobody", Vec::new()),
        ("a wrong password", vec![authorization(&forgetful)]),
        ("an unknown name", vec![authorization(&("stranger".to_owned(), "x".to_owned()))]),
        ("a made-up cookie", vec![("Cookie".to_owned(), "AuthSession=YWRtaW46NjU0MzIxOmFiY2RlZg".to_owned())]),
        ("a trusted proxy's headers", vec![("X-Auth-CouchDB-UserName".to_owned(), "admin".to_owned())]),
        ("an account that is no member", vec![authorization(&user)]),
    ]
}

/// Uses the default deadlines: CouchDB is slow to verify a password for the first time.
async fn unhurried() -> World {
    World::with(Setup::default()).await
}

fn words(answer: &RawResponse) -> (u16, String) {
    (answer.status, answer.text())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_hears_it_from_couchdb_and_no_storage_is_asked() {
    let world = unhurried().await;
    let rev = world.with_attachment("doc", b"a recording").await;
    let before = world.s3.answered().len();
    for (method, target, body) in [
        ("GET", "doc/call.mp3".to_owned(), &b""[..]),
        ("HEAD", "doc/call.mp3".to_owned(), &b""[..]),
        ("PUT", format!("doc/call.mp3?rev={rev}"), &b"mine"[..]),
        ("PUT", "doc/call.mp3".to_owned(), &b"mine"[..]),
        ("PUT", "new/call.mp3".to_owned(), &b"mine"[..]),
        ("DELETE", format!("doc/call.mp3?rev={rev}"), &b""[..]),
        ("DELETE", "doc/call.mp3".to_owned(), &b""[..]),
    ] {
        let target = format!("/{}/{target}", world.gateway.path());
        for (who, headers) in strangers(&world).await {
            let got = exchange(world.gateway.address, method, &target, &headers, body).await;
            assert!(matches!(got.status, 401 | 403), "{who}, {method} {target}: {got:?}");
            let own = exchange(world.gateway.couch.address(), method, &target, &headers, body).await;
            assert_eq!(words(&got), words(&own), "{who}, {method} {target}");
        }
    }
    assert_eq!(world.s3.answered().len(), before, "a storage was asked");
    assert!(world.whole_or_nothing("doc", "call.mp3", b"a recording").await);
    world.audit_and_stop(&["doc"]).await;
}

/// The refusal of a large body is received while the client is still sending.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_heard_in_the_middle_of_a_large_body() {
    let world = World::start().await;
    let rev = world.document("doc").await;
    let before = world.s3.answered().len();
    let target = format!("/{}/doc/call.mp3?rev={rev}", world.gateway.path());
    exchange(world.gateway.address, "PUT", &target, &[], &vec![7; 8 << 20]).await.expect_status(401);
    let old = format!("/{}/doc/call.mp3?rev=1-00000000000000000000000000000000", world.gateway.path());
    world.gateway.request("PUT", &old, &[], &vec![7; 8 << 20]).await.expect_status(409);
    assert_eq!(world.s3.answered().len(), before, "a storage was asked");
    world.stop().await;
}

/// A member of the database who is not an admin can do everything with an attachment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_may() {
    let world = unhurried().await;
    let user = world.gateway.couch.user().await;
    let rev = world.document("doc").await;
    let security = json!({ "admins": {}, "members": { "names": [user.0], "roles": [] } }).to_string();
    let target = format!("/{}/_security", world.gateway.path());
    world.gateway.couch.request("PUT", &target, "application/json", security.as_bytes()).await.expect_status(200);
    let headers = [authorization(&user)];
    let target = format!("/{}/doc/call.mp3", world.gateway.path());
    let put = exchange(world.gateway.address, "PUT", &format!("{target}?rev={rev}"), &headers, b"mine")
        .await
        .expect_status(201);
    let got = exchange(world.gateway.address, "GET", &target, &headers, b"").await;
    assert_eq!((got.status, got.body.as_slice()), (200, &b"mine"[..]));
    let rev = stowage_testing::gateway::rev(&put);
    exchange(world.gateway.address, "DELETE", &format!("{target}?rev={rev}"), &headers, b"").await.expect_status(200);
    world.audit_and_stop(&["doc"]).await;
}
