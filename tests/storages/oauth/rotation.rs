//! Refresh tokens that change with each use (RFC 6749 section 6).

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use serde_json::json;
use stowage_base::tasks::Tasks;
use stowage_storage::steps::GrantedCalls;
use stowage_storage::{Budget, Kind};

use super::around::Around;
use super::world::World;
use stowage_testing::gateway::Couch;
use stowage_testing::serve::{Served, listen, serve};
use stowage_testing::tokens::papers::{change, load};
use stowage_testing::tokens::{GRANT, Instead, REFRESH};

#[tokio::test]
async fn the_newest_refresh_token_is_used_and_saved_where_the_old_one_was() {
    for once in [false, true] {
        let world = World::start().await;
        change(&world.couch, GRANT, |grant| grant["profile"] = json!({"email": "a@b", "big": 1})).await;
        let before = load(&world.couch, GRANT).await;
        world.tokens().rotate(once);
        for asked in 1..5 {
            assert_eq!(world.call().await.expect("an answer"), 200);
            assert_eq!(world.tokens().asked(), asked);
            let after = load(&world.couch, GRANT).await;
            let saved = after["pvt_refresh_token"].as_str().expect("a text").to_owned();
            assert!(saved != REFRESH && world.tokens().knows(&saved), "{saved}");
            let mut same = after;
            same["pvt_refresh_token"] = before["pvt_refresh_token"].clone();
            same["_rev"] = before["_rev"].clone();
            assert_eq!(same, before);
            world.tokens().expire();
        }
        // After a restart, only the document has the token.
        let calls = GrantedCalls::of_document(&world.again(), GRANT, None);
        assert_eq!(calls.get(&world.vendor.url()).await.expect("an answer").0, 200);
    }
}

#[tokio::test]
async fn two_gateways_with_one_grant_do_not_disturb_each_other() {
    let world = World::start().await;
    world.tokens().rotate(false);
    let mut around = Around::couch(&world.couch);
    around.looking_every = Some(std::time::Duration::ZERO);
    let other = around.context(&world.tasks, &Budget::new(1 << 20));
    let other = GrantedCalls::of_document(&other, GRANT, None);
    for _ in 0..5 {
        assert_eq!(world.call().await.expect("an answer"), 200);
        assert_eq!(other.get(&world.vendor.url()).await.expect("an answer").0, 200);
    }
    assert_eq!(world.tokens().asked(), 2, "one saves a new refresh token: the other goes on with its access token");
}

#[tokio::test]
async fn a_refresh_whose_answer_is_lost_is_not_a_revoked_grant() {
    let world = World::start().await;
    world.tokens().rotate(true);
    world.tokens().instead(Instead::LosesTheAnswer);
    let (kind, _) = world.failure().await;
    assert_eq!(kind, Kind::Passing);
    assert_eq!(world.tokens().asked(), 2);
    let (kind, text) = world.failure().await;
    assert_eq!(kind, Kind::Refused, "the refresh token is gone indeed");
    assert!(text.ends_with("invalid_grant"), "{text}");
}

/// A read-only CouchDB.
async fn read_only(couch: &Arc<Couch>) -> Served {
    let (listener, _) = listen().await;
    let couch = Arc::clone(couch);
    serve(listener, move |_| {
        let couch = Arc::clone(&couch);
        service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let couch = Arc::clone(&couch);
            async move {
                let (head, body) = request.into_parts();
                body.collect().await?;
                let mut response = Response::new(Full::from(Bytes::new()));
                if head.method == http::Method::GET {
                    let answer = couch.request("GET", &head.uri.to_string(), "", b"").await;
                    *response.status_mut() = StatusCode::from_u16(answer.status).expect("a status");
                    *response.body_mut() = Full::from(Bytes::from(answer.body));
                } else {
                    *response.status_mut() = StatusCode::FORBIDDEN;
                }
                Ok::<_, hyper::Error>(response)
            }
        })
    })
}

type Response = hyper::Response<Full<Bytes>>;

#[tokio::test]
async fn a_refresh_token_that_cannot_be_saved_is_kept_in_memory() {
    let world = World::start().await;
    world.tokens().rotate(true);
    let World { couch, provider, vendor, .. } = world;
    let couch = Arc::new(couch);
    let proxy = read_only(&couch).await;
    let mut around = Around::at(&format!("http://{}", proxy.address()), &couch.auth);
    around.looking_every = Some(std::time::Duration::ZERO);
    let context = around.context(&Tasks::default(), &Budget::new(1 << 20));
    let calls = GrantedCalls::of_document(&context, GRANT, None);
    for asked in 1..5 {
        assert_eq!(calls.get(&vendor.url()).await.expect("an answer").0, 200);
        assert_eq!(provider.tokens.asked(), asked);
        provider.tokens.expire();
    }
    assert_eq!(load(&couch, GRANT).await["pvt_refresh_token"], REFRESH);
    // After a new consent, the document's token is the newest.
    provider.tokens.consent("canary-consented");
    change(&couch, GRANT, |grant| grant["pvt_refresh_token"] = "canary-consented".into()).await;
    assert_eq!(calls.get(&vendor.url()).await.expect("an answer").0, 200);
}
