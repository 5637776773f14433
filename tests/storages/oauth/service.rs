//! Service accounts: signed assertions (RFC 7523), verified with the public key.

use serde_json::{Value, json};
use stowage_storage::Kind;
use stowage_storage::steps::GrantedCalls;

use super::world::World;
use stowage_testing::gateway::Couch;
use stowage_testing::tokens::assertion::decode;
use stowage_testing::tokens::papers::{load, save};
use stowage_testing::tokens::{ISSUER, SERVICE, SUBJECT, ServiceKey};

async fn call(world: &World) -> Result<u16, stowage_storage::Error> {
    let calls = GrantedCalls::of_app(&world.context, SERVICE, None);
    calls.get(&world.vendor.url()).await.map(|(status, _)| status.as_u16())
}

/// Returns head and claims of the last assertion.
fn last(world: &World) -> (Value, Value) {
    let form = world.tokens().forms().pop().expect("a form");
    let (_, assertion) = form.iter().find(|(name, _)| name == "assertion").expect("an assertion").clone();
    decode(&assertion).expect("a JWT")
}

/// Attaches a key as KAZOO does.
async fn attach(couch: &Couch, pem: &str) {
    let target = format!("/{}/canary-key-id", couch.auth);
    let found = couch.request("GET", &target, "", b"").await;
    if found.status == 404 {
        save(couch, "canary-key-id", &json!({"pvt_type": "system_key"})).await;
    }
    let rev = load(couch, "canary-key-id").await["_rev"].as_str().expect("a revision").to_owned();
    let target = format!("{target}/private_key.pem?rev={rev}");
    couch.request("PUT", &target, "application/x-pem-file", pem.as_bytes()).await.expect_status(201);
}

#[tokio::test]
async fn a_service_account_gets_a_token_wherever_its_key_stands() {
    let key = ServiceKey::make();
    for (members, key_id) in [
        (json!({"pvt_private_key": key.pkcs8}), None),
        (json!({"pvt_private_key": key.pkcs1}), None),
        (
            json!({"private_key": key.pkcs8, "client_email": ISSUER, "private_key_id": "k1", "jwt_flow": null}),
            Some("k1"),
        ),
        (json!({"pvt_server_key": "canary-key-id"}), Some("canary-key-id")),
        (json!({"pvt_private_key": key.pkcs8, "jwt_algorithm": "RS384"}), None),
        (json!({"pvt_private_key": key.pkcs8, "jwt_algorithm": "RS512"}), None),
    ] {
        let world = World::start().await;
        attach(&world.couch, &key.pkcs1).await;
        world.provider.service_account(&world.couch, &key, members.clone()).await;
        for _ in 0..3 {
            assert_eq!(call(&world).await.expect("an answer"), 200, "{members}");
        }
        assert_eq!(world.tokens().asked(), 1);
        let (head, claims) = last(&world);
        assert_eq!(head["alg"], members.get("jwt_algorithm").cloned().unwrap_or_else(|| "RS256".into()));
        assert_eq!(head["kid"].as_str(), key_id);
        assert_eq!(claims["scope"], "files.read files.write");
        assert_eq!(claims.get("sub"), None);
    }
}

#[tokio::test]
async fn a_grant_without_a_refresh_token_is_on_somebodys_behalf() {
    let (world, key) = (World::start().await, ServiceKey::make());
    world.provider.service_account(&world.couch, &key, json!({"pvt_private_key": key.pkcs8})).await;
    world.provider.on_behalf(&world.couch).await;
    assert_eq!(world.call().await.expect("an answer"), 200);
    assert_eq!(last(&world).1["sub"], SUBJECT);
}

#[tokio::test]
async fn the_apps_own_words_win_over_the_providers() {
    let (world, key) = (World::start().await, ServiceKey::make());
    let flow = json!({"iss": ISSUER, "audience": "https://other.example/", "auth_url": world.provider.url()});
    let members = json!({"pvt_private_key": key.pkcs8, "jwt_flow": flow});
    world.provider.service_account(&world.couch, &key, members).await;
    let error = call(&world).await.expect_err("the audience is wrong");
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(last(&world).1["aud"], "https://other.example/");
}

#[tokio::test]
async fn an_app_with_googles_key_file_needs_no_provider() {
    let (world, key) = (World::start().await, ServiceKey::make());
    let file = json!({
        "type": "service_account", "private_key": key.pkcs8, "client_email": ISSUER, "token_uri": world.provider.url(),
        "jwt_flow": null, "pvt_auth_provider": null,
    });
    world.provider.service_account(&world.couch, &key, file).await;
    assert_eq!(call(&world).await.expect("an answer"), 200);
}

#[tokio::test]
async fn a_key_that_is_changed_is_noticed() {
    let (world, key, wrong) = (World::start().await, ServiceKey::make(), ServiceKey::make());
    attach(&world.couch, &wrong.pkcs1).await;
    world.provider.service_account(&world.couch, &key, json!({"pvt_server_key": "canary-key-id"})).await;
    for _ in 0..5 {
        let error = call(&world).await.expect_err("the wrong key");
        let text = "the provider refuses the grant of OAuth document oauth-service: invalid_grant";
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Refused, text));
    }
    assert_eq!(world.tokens().asked(), 1);
    attach(&world.couch, &key.pkcs1).await;
    assert_eq!(call(&world).await.expect("an answer"), 200);
}

#[tokio::test]
async fn keys_that_are_none_are_told_without_showing_them() {
    let key = ServiceKey::make();
    let missing = "OAuth document oauth-service has no pvt_server_key and no pvt_private_key";
    let unfit = "the private key of OAuth app oauth-service is no RSA key in PEM";
    for (members, expected) in [
        (json!({}), missing),
        (json!({"pvt_private_key": ""}), missing),
        (json!({"pvt_private_key": "canary"}), unfit),
        (json!({"pvt_private_key": "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n"}), unfit),
        (json!({"pvt_private_key": key.pkcs8.replace("PRIVATE KEY", "CERTIFICATE")}), unfit),
        (json!({"pvt_server_key": "canary-nowhere"}), "OAuth document canary-nowhere does not exist"),
        (
            json!({"pvt_private_key": key.pkcs8, "jwt_algorithm": "HS256"}),
            "jwt_algorithm must be RS256, RS384 or RS512",
        ),
    ] {
        let world = World::start().await;
        world.provider.service_account(&world.couch, &key, members.clone()).await;
        let error = call(&world).await.expect_err("no key");
        assert_eq!(error.kind(), Kind::Settings, "{members}");
        assert!(error.to_string().ends_with(expected), "{error}");
        assert_eq!(world.tokens().asked(), 0);
    }
    let world = World::start().await;
    save(&world.couch, "canary-key-id", &json!({})).await;
    world.provider.service_account(&world.couch, &key, json!({"pvt_server_key": "canary-key-id"})).await;
    let error = call(&world).await.expect_err("no attachment");
    assert_eq!(error.to_string(), "OAuth document canary-key-id has no attachment private_key.pem in CouchDB");
}
