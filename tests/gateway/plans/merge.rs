//! How plan documents merge: system < the plan that the account names < account < owner.

use serde_json::{Value, json};

use crate::plans::{file, goes_to, save, start, storage, within_a_second};
use stowage_testing::gateway::Setup;

const USER: &str = "deadbeefdeadbeefdeadbeefdeadbeef";

/// Sets only the directory of the storage `a`.
fn directory(name: &str) -> Value {
    json!({ "a": { "settings": { "directory": name } } })
}

#[tokio::test]
async fn each_plan_is_put_over_the_one_before() {
    let (gateway, path) = start(Setup::default()).await;
    let account = gateway.account.clone();
    let owner = format!("user_{account}");
    let reseller = format!("plan_{account}");
    let modb = json!({ "modb": { "attachments": { "handler": "a" } } });
    gateway.save_plan("system", storage(json!({ "a": file("of_system") }), modb)).await;
    let owned = json!({ "owner_id": owner });
    assert_eq!(goes_to(&gateway, &path, owned.clone()).await.as_deref(), Some("of_system"));

    let plan = json!({ "pvt_type": "storage_plan", "attachments": directory("of_reseller") });
    gateway.save_plan(&reseller, plan).await;
    assert_eq!(goes_to(&gateway, &path, owned.clone()).await.as_deref(), Some("of_system"), "no plan names it yet");
    let mut own = storage(json!({}), json!({}));
    own["pvt_plan_id"] = json!(reseller);
    gateway.save_plan(&account, own.clone()).await;
    assert_eq!(goes_to(&gateway, &path, owned.clone()).await.as_deref(), Some("of_reseller"));

    own["attachments"] = directory("of_account");
    gateway.save_plan(&account, own).await;
    assert_eq!(goes_to(&gateway, &path, owned.clone()).await.as_deref(), Some("of_account"));

    let mut users = storage(directory("of_owner"), json!({}));
    users["pvt_account_id"] = json!(account);
    gateway.save_plan(&owner, users).await;
    assert_eq!(goes_to(&gateway, &path, owned).await.as_deref(), Some("of_owner"));
    assert_eq!(goes_to(&gateway, &path, json!({ "owner_id": "someone else" })).await.as_deref(), Some("of_account"));
    assert_eq!(goes_to(&gateway, &path, json!({})).await.as_deref(), Some("of_account"));
    gateway.stop().await;
}

#[tokio::test]
async fn a_user_may_have_a_plan_where_the_account_has_none() {
    let (gateway, path) = start(Setup::default()).await;
    let modb = json!({ "modb": { "attachments": { "handler": "a" } } });
    let mut plan = storage(json!({ "a": file("of_owner") }), modb);
    plan["pvt_account_id"] = json!(gateway.account);
    save(&gateway, USER, plan).await;
    within_a_second("a user's plan", async || {
        goes_to(&gateway, &path, json!({ "owner_id": USER })).await.as_deref() == Some("of_owner")
    })
    .await;
    assert_eq!(goes_to(&gateway, &path, json!({ "owner_id": "another" })).await, None);
    assert_eq!(goes_to(&gateway, &path, json!({})).await, None);
    gateway.stop().await;
}

#[tokio::test]
async fn documents_that_are_no_plans_count_as_absent() {
    let (gateway, path) = start(Setup::default()).await;
    let account = gateway.account.clone();
    let modb = json!({ "modb": { "attachments": { "handler": "a" } } });
    let sound = storage(json!({ "a": file("a") }), modb);
    let with = |key: &str, value: Value| {
        let mut plan = sound.clone();
        plan[key] = value;
        plan
    };
    for (plan, folder) in [
        (sound.clone(), Some("a")),
        (with("pvt_deleted", json!(true)), None),
        (with("pvt_type", json!("user")), None),
        (with("pvt_type", json!("storage_plan")), None),
        (with("pvt_account_id", json!(USER)), None),
        (with("pvt_account_id", json!(account)), Some("a")),
    ] {
        gateway.save_plan(&account, plan.clone()).await;
        assert_eq!(goes_to(&gateway, &path, json!({})).await.as_deref(), folder, "{plan}");
    }
    // A user of another account does not contribute a plan, nor does a document chosen by a client.
    gateway.save_plan(&account, storage(json!({}), json!({}))).await;
    let mut foreign = sound.clone();
    foreign["pvt_account_id"] = json!("00000000000000000000000000000000");
    gateway.save_plan(USER, foreign).await;
    assert_eq!(goes_to(&gateway, &path, json!({ "owner_id": USER })).await, None);
    gateway.stop().await;
}

#[tokio::test]
async fn another_accounts_plan_is_not_ours() {
    let (gateway, path) = start(Setup::default()).await;
    let modb = json!({ "modb": { "attachments": { "handler": "a" } } });
    gateway.save_plan("0123456789abcdef0123456789abcdee", storage(json!({ "a": file("a") }), modb)).await;
    assert_eq!(goes_to(&gateway, &path, json!({})).await, None);
    gateway.stop().await;
}
