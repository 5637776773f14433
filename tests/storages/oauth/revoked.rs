//! Invalid grants: reported once, left alone, and used again once they are valid.

use std::time::Duration;

use stowage_storage::Kind;

use super::world::World;
use stowage_testing::log::Log;
use stowage_testing::tokens::papers::change;
use stowage_testing::tokens::{APP, GRANT, PROVIDER};

#[tokio::test]
async fn a_revoked_grant_is_told_once_and_not_asked_for_again() {
    let log = Log::default();
    let guard = log.begin(tracing::Level::INFO);
    let world = World::start().await;
    assert_eq!(world.call().await.expect("an answer"), 200);
    world.tokens().revoke();
    for _ in 0..20 {
        let (kind, text) = world.failure().await;
        assert_eq!(kind, Kind::Refused);
        assert_eq!(text, "the provider refuses the grant of OAuth document oauth-grant: invalid_grant");
    }
    assert_eq!(world.tokens().asked(), 2);
    drop(guard);
    assert_eq!(log.text().lines().count(), 1, "{}", log.text());
    assert!(log.text().contains("oauth-grant") && log.text().contains("invalid_grant"), "{}", log.text());
}

#[tokio::test]
async fn a_new_refresh_token_in_the_document_ends_it() {
    let world = World::start().await;
    world.tokens().revoke();
    world.failure().await;
    world.tokens().consent("canary-new-refresh-token");
    // The document does not have the new token yet.
    world.failure().await;
    assert_eq!(world.tokens().asked(), 1);
    change(&world.couch, GRANT, |grant| grant["pvt_refresh_token"] = "canary-new-refresh-token".into()).await;
    assert_eq!(world.call().await.expect("an answer"), 200);
    assert_eq!(world.tokens().asked(), 2);
}

#[tokio::test]
async fn a_wrong_secret_is_told_and_the_right_one_noticed() {
    let world = World::start().await;
    world.tokens().secret("canary-other-secret");
    for _ in 0..5 {
        let (kind, text) = world.failure().await;
        assert_eq!(kind, Kind::Refused);
        assert!(text.ends_with("oauth-grant: invalid_client"), "{text}");
    }
    assert_eq!(world.tokens().asked(), 1);
    change(&world.couch, APP, |app| app["pvt_secret"] = "canary-other-secret".into()).await;
    assert_eq!(world.call().await.expect("an answer"), 200);
}

#[tokio::test]
async fn a_changed_document_gives_a_new_token_at_once() {
    let world = World::start().await;
    world.call().await.expect("an answer");
    change(&world.couch, APP, |app| app["name"] = "renamed".into()).await;
    world.call().await.expect("an answer");
    assert_eq!(world.tokens().asked(), 2);
    change(&world.couch, PROVIDER, |provider| provider["name"] = "renamed".into()).await;
    world.call().await.expect("an answer");
    assert_eq!(world.tokens().asked(), 3);
    change(&world.couch, GRANT, |grant| grant["profile"] = "another account".into()).await;
    world.call().await.expect("an answer");
    assert_eq!(world.tokens().asked(), 4);
}

#[tokio::test]
async fn a_changed_refresh_token_is_used_for_the_next_token() {
    let world = World::start().await;
    world.call().await.expect("an answer");
    world.tokens().consent("canary-new-refresh-token");
    change(&world.couch, GRANT, |grant| grant["pvt_refresh_token"] = "canary-new-refresh-token".into()).await;
    assert_eq!(world.call().await.expect("the token is still good"), 200);
    assert_eq!(world.tokens().asked(), 1);
    world.tokens().expire();
    assert_eq!(world.call().await.expect("an answer"), 200);
    assert_eq!(world.tokens().asked(), 2);
}

#[tokio::test]
async fn documents_are_not_read_for_every_request() {
    let world = World::looking_every(Duration::from_secs(60)).await;
    world.call().await.expect("an answer");
    change(&world.couch, APP, |app| app["name"] = "renamed".into()).await;
    world.call().await.expect("an answer");
    assert_eq!(world.tokens().asked(), 1);
}
