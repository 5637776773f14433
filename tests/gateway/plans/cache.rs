//! Requests to CouchDB for a plan, and their number.

use serde_json::json;

use crate::plans::{database, goes_to, modb_plan, save};
use stowage_testing::gateway::{Couch, Running, Setup};
use stowage_testing::spy::Spy;
use stowage_testing::upstream::until;

/// Starts a gateway whose CouchDB is behind a spy; also returns the path of its month database.
async fn spied(setup: Setup) -> (Spy, Running, String) {
    let couch = Couch::start().await;
    let spy = Spy::start(&couch.url).await;
    let gateway = setup.upstream(&spy.url()).start_over(couch).await;
    gateway.followed().await;
    let path = database(&gateway, &gateway.database()).await;
    (spy, gateway, path)
}

#[tokio::test]
async fn without_a_plan_no_document_is_read() {
    let (spy, gateway, path) = spied(Setup::default()).await;
    let target = format!("/{path}/doc/call.mp3");
    for method in ["PUT", "GET", "HEAD"] {
        let answer = gateway.request(method, &target, &[("Content-Type", "audio/mpeg")], b"").await;
        assert!(answer.status < 300, "{answer:?}");
    }
    let asked: Vec<String> = spy.seen().into_iter().filter(|line| line.contains(&path)).collect();
    assert_eq!(asked, [format!("PUT {target}"), format!("GET {target}"), format!("HEAD {target}")]);
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_asked_for_once() {
    let (spy, gateway, path) = spied(Setup::default()).await;
    for _ in 0..20 {
        assert_eq!(goes_to(&gateway, &path, json!({})).await, None);
    }
    let plans = &gateway.couch.plans;
    assert_eq!(spy.count(&format!("GET /{plans}/system")), 1, "{:?}", spy.seen());
    assert_eq!(spy.count(&format!("GET /{plans}/{}", gateway.account)), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn a_plan_is_loaded_once_however_many_wait() {
    let (spy, gateway, path) = spied(Setup::default()).await;
    let (plans, account) = (gateway.couch.plans.clone(), gateway.account.clone());
    let mut own = modb_plan("a");
    own["pvt_plan_id"] = json!("reseller");
    save(&gateway, &account, own).await;
    save(&gateway, "reseller", json!({ "pvt_type": "storage_plan" })).await;
    spy.hold(&format!("/{plans}/system"));
    let all = (0..50).map(|index| {
        let (gateway, target) = (&gateway, format!("/{path}/doc{index}/call.mp3"));
        async move { gateway.request("PUT", &target, &[], b"bytes").await.status }
    });
    let waiting = async {
        until("all wait", async || gateway.app.admission.in_flight() >= 50).await;
        spy.release();
    };
    let (statuses, ()) = tokio::join!(futures_util::future::join_all(all), waiting);
    assert_eq!(statuses, [201; 50]);
    for id in ["system", &account, "reseller"] {
        assert_eq!(spy.count(&format!("GET /{plans}/{id}")), 1, "{id}");
    }
    gateway.settled().await;
    assert_eq!(gateway.stored().len(), 50);
    gateway.stop().await;
}

#[tokio::test]
async fn a_known_plan_serves_while_the_plans_cannot_be_asked() {
    let (spy, gateway, path) = spied(Setup::default().set("plans.refresh", "1ms")).await;
    save(&gateway, &gateway.account, modb_plan("a")).await;
    crate::plans::within_a_second("the plan", async || goes_to(&gateway, &path, json!({})).await.is_some()).await;
    let plans = format!("/{}/", gateway.couch.plans);
    let before = spy.count(&format!("GET {plans}{}", gateway.account));
    spy.close(&plans);
    for _ in 0..5 {
        assert_eq!(goes_to(&gateway, &path, json!({})).await.as_deref(), Some("a"));
    }
    assert!(spy.count(&format!("GET {plans}{}", gateway.account)) > before, "its age has made it ask");
    spy.open();
    gateway.stop().await;
}

/// It accepts requests for plans and does not answer them within any limit.
#[tokio::test]
async fn a_known_plan_serves_while_couchdb_is_silent_about_plans() {
    let setup = Setup::default().set("plans.refresh", "1ms").set("timeouts.response_head", "60s");
    let (spy, gateway, path) = spied(setup).await;
    save(&gateway, &gateway.account, modb_plan("a")).await;
    // The feed has told of the plan once it tells of a later one.
    let mut later = modb_plan("b");
    later["pvt_account_id"] = json!(gateway.account);
    save(&gateway, "later", later).await;
    let account = stowage::database::AccountId::parse(&gateway.account);
    let plans = &gateway.app.gateway.plans;
    until("the feed has told of both", async || plans.has_user_plans(account.as_ref())).await;
    assert_eq!(goes_to(&gateway, &path, json!({})).await.as_deref(), Some("a"));
    gateway.settled().await;
    let read = format!("GET /{}/{}", gateway.couch.plans, gateway.account);
    let before = spy.count(&read);
    spy.hold(&format!("/{}/", gateway.couch.plans));
    for _ in 0..3 {
        assert_eq!(goes_to(&gateway, &path, json!({})).await.as_deref(), Some("a"));
    }
    assert_eq!(spy.count(&read) - before, 1, "one reading for all requests");
    spy.release();
    gateway.stop().await;
}

/// Merging a large plan takes a while.
#[tokio::test]
async fn requests_share_a_merged_plan_while_couchdb_is_silent_about_plans() {
    let setup = Setup::default().set("plans.refresh", "1s").set("timeouts.response_head", "60s");
    let (spy, gateway, path) = spied(setup).await;
    save(&gateway, &gateway.account, modb_plan("a")).await;
    crate::plans::within_a_second("the plan", async || goes_to(&gateway, &path, json!({})).await.is_some()).await;
    gateway.settled().await;
    let account = stowage::database::AccountId::parse(&gateway.account);
    let effective = async || gateway.app.gateway.plans.effective(account.as_ref(), None).await.unwrap();
    let read = format!("GET /{}/{}", gateway.couch.plans, gateway.account);
    let before = spy.count(&read);
    spy.hold(&format!("/{}/", gateway.couch.plans));
    until("its age makes it be read again", async || {
        effective().await;
        spy.count(&read) > before
    })
    .await;
    let is_shared = async || std::sync::Arc::ptr_eq(&effective().await, &effective().await);
    until("one merged plan serves two requests", async || is_shared().await).await;
    spy.release();
    gateway.stop().await;
}

#[tokio::test]
async fn a_plan_that_is_too_old_is_not_guessed() {
    let (spy, gateway, path) = spied(Setup::default().set("plans.refresh", "1ms").set("plans.stale", "1ms")).await;
    save(&gateway, &gateway.account, modb_plan("a")).await;
    crate::plans::within_a_second("the plan", async || goes_to(&gateway, &path, json!({})).await.is_some()).await;
    spy.close(&format!("/{}/", gateway.couch.plans));
    let answer = gateway.put("doc", "call.mp3", "", b"bytes").await.expect_status(504);
    assert!(answer.text().contains("plans"), "{answer:?}");
    assert_eq!(gateway.get("doc").await.status, 404, "nothing is stored in CouchDB instead");
    spy.open();
    gateway.stop().await;
}

#[tokio::test]
async fn a_plan_that_is_too_old_is_not_read_again_by_every_request() {
    let (spy, gateway, path) = spied(Setup::default().set("plans.refresh", "1ms").set("plans.stale", "1ms")).await;
    save(&gateway, &gateway.account, modb_plan("a")).await;
    crate::plans::within_a_second("the plan", async || goes_to(&gateway, &path, json!({})).await.is_some()).await;
    let plans = format!("/{}/", gateway.couch.plans);
    spy.close(&plans);
    let account = stowage::database::AccountId::parse(&gateway.account);
    let is_refused = async || gateway.app.gateway.plans.effective(account.as_ref(), None).await.is_err();
    until("the plan is too old", async || is_refused().await).await;
    let read = format!("GET {plans}{}", gateway.account);
    let before = spy.count(&read);
    for _ in 0..100 {
        assert!(is_refused().await);
    }
    assert!(spy.count(&read) - before < 50, "once a second: {}", spy.count(&read) - before);
    spy.open();
    gateway.stop().await;
}

#[tokio::test]
async fn owners_without_a_plan_share_that_of_the_account() {
    let (_spy, gateway, _) = spied(Setup::default()).await;
    save(&gateway, &gateway.account, modb_plan("a")).await;
    let account = stowage::database::AccountId::parse(&gateway.account);
    let plans = &gateway.app.gateway.plans;
    // The feed may tell of the plan in between: then the next owner shares it.
    let owners = std::sync::atomic::AtomicUsize::new(0);
    let is_shared = async || {
        let owner = owners.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
        let plan = plans.effective(account.as_ref(), None).await.unwrap();
        let owned = plans.effective(account.as_ref(), Some(&owner)).await.unwrap();
        std::sync::Arc::ptr_eq(&plan, &owned)
    };
    until("one plan for both", async || is_shared().await).await;
    gateway.stop().await;
}
