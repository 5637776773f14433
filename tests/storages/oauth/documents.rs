//! Required members of the documents, and static tokens.

use serde_json::{Value, json};
use stowage_storage::Kind;
use stowage_storage::steps::GrantedCalls;

use super::world::World;
use stowage_testing::tokens::papers::change;
use stowage_testing::tokens::{APP, GRANT, PROVIDER};

#[tokio::test]
async fn what_is_missing_is_named() {
    let table: [(&str, &str, Value, &str); 8] = [
        (GRANT, "pvt_app_id", Value::Null, "OAuth document oauth-grant has no pvt_app_id"),
        (GRANT, "pvt_app_id", json!("nowhere"), "OAuth document nowhere does not exist"),
        (GRANT, "pvt_deleted", json!(true), "OAuth document oauth-grant does not exist"),
        (
            GRANT,
            "pvt_refresh_token",
            Value::Null,
            "OAuth document oauth-grant has no pvt_refresh_token, and its app no private key",
        ),
        (APP, "pvt_secret", json!(5), "OAuth document oauth-app has no pvt_secret"),
        (APP, "pvt_auth_provider", Value::Null, "OAuth document oauth-app has no pvt_auth_provider"),
        (PROVIDER, "auth_url", Value::Null, "OAuth document oauth-provider has no auth_url"),
        (PROVIDER, "auth_url", json!("nonsense"), "its token endpoint is no http or https URL"),
    ];
    for (id, member, value, expected) in table {
        let world = World::start().await;
        change(&world.couch, id, |document| document[member] = value.clone()).await;
        let (kind, text) = world.failure().await;
        assert_eq!(kind, Kind::Settings, "{text}");
        assert!(text.ends_with(expected), "{text}");
        assert_eq!(world.tokens().asked(), 0);
    }
    let world = World::start().await;
    let calls = GrantedCalls::of_document(&world.context, "odd/id ü", None);
    let error = calls.get(&world.vendor.url()).await.expect_err("nothing there");
    assert_eq!(error.to_string(), "OAuth document odd/id ü does not exist");
}

#[tokio::test]
async fn what_was_missing_is_noticed() {
    let world = World::start().await;
    change(&world.couch, APP, |app| app["pvt_auth_provider"] = "later".into()).await;
    assert_eq!(world.failure().await.0, Kind::Settings);
    change(&world.couch, APP, |app| app["pvt_auth_provider"] = PROVIDER.into()).await;
    assert_eq!(world.call().await.expect("an answer"), 200);
}

#[tokio::test]
async fn a_static_token_is_sent_as_it_is() {
    let world = World::start().await;
    let fixed = |token: &str| json!({"token_type": "bearer", "access_token": token});
    let token = world.tokens().give();
    change(&world.couch, GRANT, |grant| grant["pvt_static_token"] = fixed(&token)).await;
    for _ in 0..3 {
        assert_eq!(world.call().await.expect("an answer"), 200);
    }
    // A static token cannot be replaced: one call for each request.
    world.tokens().expire();
    let seen = world.vendor.seen();
    for _ in 0..3 {
        assert_eq!(world.call().await.expect("an answer"), 401);
    }
    assert_eq!(world.vendor.seen(), seen + 3);
    let token = world.tokens().give();
    change(&world.couch, GRANT, |grant| grant["pvt_static_token"] = fixed(&token)).await;
    assert_eq!(world.call().await.expect("an answer"), 200);
    assert_eq!(world.tokens().asked(), 0);
}

#[tokio::test]
async fn a_static_token_that_cannot_be_sent_is_refused() {
    let world = World::start().await;
    for (token, expected) in [
        (json!({"access_token": "a\r\nX: y"}), "the static token of OAuth document oauth-grant cannot be sent"),
        (json!({"token_type": "Bearer"}), "OAuth document oauth-grant has no pvt_static_token.access_token"),
        (json!("a"), "OAuth document oauth-grant has no pvt_static_token.access_token"),
    ] {
        change(&world.couch, GRANT, |grant| grant["pvt_static_token"] = token.clone()).await;
        assert_eq!(world.failure().await, (Kind::Settings, expected.to_owned()));
    }
}
