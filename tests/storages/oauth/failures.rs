//! A token endpoint that is slow, busy, broken, or unreachable.

use std::time::{Duration, Instant};

use stowage_storage::steps::GrantedCalls;
use stowage_storage::{Budget, Kind};

use super::around::Around;
use super::world::World;
use stowage_testing::gateway::Couch;
use stowage_testing::log::Log;
use stowage_testing::tokens::papers::change;
use stowage_testing::tokens::{APP, GRANT, Instead, PROVIDER};

const BUSY: Instead = Instead::Answers(503, None, "");

#[tokio::test]
async fn a_busy_provider_is_asked_again() {
    let world = World::start().await;
    world.tokens().instead(BUSY);
    world.tokens().instead(Instead::Answers(400, None, r#"{"error":"temporarily_unavailable"}"#));
    assert_eq!(world.call().await.expect("an answer"), 200);
    assert_eq!(world.tokens().asked(), 3);
}

#[tokio::test]
async fn retry_after_is_respected() {
    let world = World::start().await;
    world.tokens().instead(Instead::Answers(429, Some("1"), r#"{"error":"rate_limit_exceeded"}"#));
    let start = Instant::now();
    assert_eq!(world.call().await.expect("an answer"), 200);
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(world.tokens().asked(), 2);
}

#[tokio::test]
async fn a_long_retry_after_holds_for_everybody() {
    let world = World::start().await;
    world.tokens().instead(Instead::Answers(503, Some("100"), ""));
    for _ in 0..5 {
        let error = world.call().await.expect_err("busy");
        assert_eq!(error.kind(), Kind::Passing);
        assert_eq!(error.status().map(|status| status.as_u16()), Some(503));
        assert!(error.retry_after().is_some_and(|pause| pause > Duration::from_secs(90)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(GRANT) && text.contains("the OAuth provider refused to give a token"), "{text}");
    }
    assert_eq!(world.tokens().asked(), 1);
}

#[tokio::test]
async fn a_provider_that_stays_busy_is_asked_three_times() {
    let world = World::start().await;
    for _ in 0..3 {
        world.tokens().instead(BUSY);
    }
    assert_eq!(world.failure().await.0, Kind::Passing);
    assert_eq!(world.tokens().asked(), 3);
    assert_eq!(world.call().await.expect("an answer"), 200);
}

#[tokio::test]
async fn a_token_that_is_still_good_is_used_while_the_provider_is_busy() {
    let world = World::start().await;
    world.call().await.expect("an answer");
    change(&world.couch, APP, |app| app["name"] = "renamed".into()).await;
    world.tokens().instead(Instead::Answers(503, Some("100"), ""));
    assert_eq!(world.call().await.expect("the old token"), 200);
    assert_eq!(world.tokens().asked(), 2);
}

#[tokio::test]
async fn nonsense_is_told_as_such() {
    for (status, text) in [(200, "<html>"), (200, "{}"), (200, r#"{"access_token":""}"#), (302, ""), (400, "<html>")] {
        let world = World::start().await;
        world.tokens().instead(Instead::Answers(status, None, text));
        let (kind, message) = world.failure().await;
        assert_eq!(kind, Kind::Refused, "{status} {text}: {message}");
        assert!(!message.contains("html"), "{message}");
        assert_eq!(world.call().await.expect("an answer"), 200, "{status} {text}: it was no refusal of the grant");
    }
}

/// A single invalid response from a middlebox does not discard a valid token.
#[tokio::test]
async fn nonsense_does_not_take_a_good_token_away() {
    for (status, text) in [(200, "<html>"), (200, "{}"), (404, "<html>"), (403, "<html>")] {
        let world = World::start().await;
        world.call().await.expect("an answer");
        change(&world.couch, APP, |app| app["name"] = "renamed".into()).await;
        world.tokens().instead(Instead::Answers(status, None, text));
        assert_eq!(world.call().await.expect("the old token"), 200, "{status} {text}");
    }
}

/// The grant's document names another user, whose token is not available yet: the first user's is not used.
#[tokio::test]
async fn a_busy_provider_does_not_give_anothers_token() {
    let world = World::start().await;
    world.call().await.expect("an answer");
    change(&world.couch, GRANT, |grant| grant["profile"] = serde_json::json!({"email": "other@company.example"})).await;
    world.tokens().instead(Instead::Answers(503, Some("100"), ""));
    assert_eq!(world.failure().await.0, Kind::Passing);
}

/// Microsoft reports some transient faults as a refusal of the grant, and marks them by a number.
#[tokio::test]
async fn a_refusal_that_microsoft_calls_transient_is_asked_again() {
    let world = World::start().await;
    let busy = r#"{"error":"invalid_grant","error_description":"AADSTS50196: a loop","error_codes":[50196]}"#;
    world.tokens().instead(Instead::Answers(400, None, busy));
    assert_eq!(world.call().await.expect("an answer"), 200);
    let over = r#"{"error":"invalid_grant","error_description":"AADSTS700082: over","error_codes":[700082]}"#;
    let world = World::start().await;
    world.tokens().instead(Instead::Answers(400, None, over));
    let (kind, text) = world.failure().await;
    assert_eq!(kind, Kind::Refused);
    assert!(text.contains("invalid_grant/AADSTS700082"), "{text}");
}

#[tokio::test]
async fn couchdb_is_not_needed_while_a_token_is_good() {
    // A CouchDB that ends when it is dropped.
    let couch = Couch::embedded(("admin".to_owned(), "admin".to_owned())).await;
    let world = World::over(couch, Duration::ZERO).await;
    let calls = world.calls();
    calls.get(&world.vendor.url()).await.expect("an answer");
    let World { couch, provider, vendor, .. } = world;
    drop(couch);
    assert_eq!(calls.get(&vendor.url()).await.expect("an answer").0, 200);
    provider.tokens.expire();
    let error = calls.get(&vendor.url()).await.expect_err("no documents");
    assert_eq!(error.kind(), Kind::Passing);
    assert!(error.to_string().contains(GRANT), "{error}");
}

#[tokio::test]
async fn a_document_cannot_send_the_gateway_into_the_operators_network() {
    let world = World::start().await;
    let mut around = Around::couch(&world.couch);
    around.allow.clear();
    let context = around.context(&world.tasks, &Budget::new(1 << 20));
    let calls = GrantedCalls::of_document(&context, GRANT, None);
    let error = calls.get(&world.vendor.url()).await.expect_err("refused");
    assert_eq!(error.kind(), Kind::Settings);
    assert!(error.to_string().contains("egress"), "{error}");
    assert_eq!(world.tokens().asked(), 0);
    // The configuration may name an endpoint, with or without its path, which overrides the documents.
    change(&world.couch, PROVIDER, |provider| provider["auth_url"] = "https://provider.example/token".into()).await;
    for endpoint in [world.provider.url(), world.provider.url().trim_end_matches("/token").to_owned()] {
        let context = around.context(&world.tasks, &Budget::new(1 << 20));
        let calls = GrantedCalls::of_document(&context, GRANT, Some(endpoint));
        let error = calls.get(&world.vendor.url()).await.expect_err("the vendor is out of reach");
        assert!(error.to_string().contains("egress"), "{error}");
    }
    assert_eq!(world.tokens().asked(), 2);
}

#[tokio::test]
async fn nothing_shows_a_secret() {
    let log = Log::default();
    let guard = log.begin(tracing::Level::TRACE);
    let world = World::start().await;
    let calls = world.calls();
    world.tokens().rotate(true);
    calls.get(&world.vendor.url()).await.expect("an answer");
    world.tokens().expire();
    calls.get(&world.vendor.url()).await.expect("an answer");
    world.tokens().revoke();
    let error = calls.get(&world.vendor.url()).await.expect_err("revoked");
    drop(guard);
    let shown = format!("{:?} {calls:?} {error:?} {error} {}", world.context, log.text());
    assert!(!shown.contains("canary"), "{shown}");
}
