//! The changes feed of the plans database: saved plans apply within a second.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::service::service_fn;
use serde_json::json;

use stowage::database::AccountId;

use crate::plans::{database, file, goes_to, modb_plan, save, start, within_a_second};
use stowage_testing::gateway::{Couch, Setup, json as parsed};
use stowage_testing::serve::{listen, serve};
use stowage_testing::spy::Spy;
use stowage_testing::upstream::soon;

#[tokio::test]
async fn plans_are_used_changed_and_gone_within_a_second() {
    let (gateway, path) = start(Setup::default()).await;
    let account = gateway.account.clone();
    assert_eq!(goes_to(&gateway, &path, json!({})).await, None);
    for directory in ["first", "second", "third"] {
        save(&gateway, &account, modb_plan(directory)).await;
        within_a_second(directory, async || goes_to(&gateway, &path, json!({})).await.as_deref() == Some(directory))
            .await;
    }
    let target = format!("/{}/{account}", gateway.couch.plans);
    let rev = parsed(&gateway.couch.request("GET", &target, "", b"").await)["_rev"].clone();
    let deleted = format!("{target}?rev={}", rev.as_str().unwrap());
    assert_eq!(gateway.couch.request("DELETE", &deleted, "", b"").await.status, 200);
    within_a_second("deleted", async || goes_to(&gateway, &path, json!({})).await.is_none()).await;
    gateway.stop().await;
}

#[tokio::test]
async fn the_systems_and_a_resellers_plan_too() {
    let (gateway, path) = start(Setup::default()).await;
    assert_eq!(goes_to(&gateway, &path, json!({})).await, None);
    save(&gateway, "system", modb_plan("system")).await;
    within_a_second("system", async || goes_to(&gateway, &path, json!({})).await.as_deref() == Some("system")).await;
    let own = json!({ "pvt_type": "storage", "pvt_plan_id": "reseller" });
    save(&gateway, &gateway.account, own).await;
    let reseller = json!({ "pvt_type": "storage_plan", "attachments": { "a": file("reseller") } });
    save(&gateway, "reseller", reseller).await;
    within_a_second("reseller", async || goes_to(&gateway, &path, json!({})).await.as_deref() == Some("reseller"))
        .await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_users_plan_that_changes_is_used_and_one_that_is_gone_is_not() {
    let (gateway, path) = start(Setup::default()).await;
    let user = format!("user_{}", gateway.account);
    let mut plan = modb_plan("first");
    plan["pvt_account_id"] = json!(gateway.account);
    let owned = json!({ "owner_id": user });
    for directory in ["first", "second"] {
        plan["attachments"]["a"] = file(directory);
        save(&gateway, &user, plan.clone()).await;
        within_a_second(directory, async || {
            goes_to(&gateway, &path, owned.clone()).await.as_deref() == Some(directory)
        })
        .await;
    }
    plan["pvt_deleted"] = json!(true);
    save(&gateway, &user, plan).await;
    within_a_second("gone", async || goes_to(&gateway, &path, owned.clone()).await.is_none()).await;
    gateway.stop().await;
}

/// A gateway has to ask for the plan of a document's owner as long as the feed has not reported every plan.
#[tokio::test]
async fn a_users_plan_is_used_before_the_feed_has_reported_it() {
    let couch = Couch::start().await;
    let spy = Spy::start(&couch.url).await;
    spy.hold(&format!("/{}/_changes", couch.plans));
    let gateway = Setup::default().upstream(&spy.url()).start_over(couch).await;
    let path = database(&gateway, &gateway.database()).await;
    let user = format!("user_{}", gateway.account);
    let mut plan = modb_plan("first");
    plan["pvt_account_id"] = json!(gateway.account);
    save(&gateway, &user, plan).await;
    assert_eq!(goes_to(&gateway, &path, json!({ "owner_id": user })).await.as_deref(), Some("first"));
    assert_eq!(goes_to(&gateway, &path, json!({})).await, None);
    spy.release();
    gateway.followed().await;
    assert_eq!(goes_to(&gateway, &path, json!({ "owner_id": user })).await.as_deref(), Some("first"));
    gateway.stop().await;
}

#[tokio::test]
async fn a_gateway_without_plans_serves_and_finds_them_when_they_appear() {
    let plans = format!("plans_{}", uuid::Uuid::new_v4().simple());
    let (mut gateway, path) = start(Setup::default().set("plans.database", &plans)).await;
    assert_eq!(goes_to(&gateway, &path, json!({})).await, None, "up and serving without a plans database");
    gateway.couch.plans = database(&gateway, &plans).await;
    save(&gateway, &gateway.account, modb_plan("a")).await;
    within_a_second("the plans", async || goes_to(&gateway, &path, json!({})).await.as_deref() == Some("a")).await;
    gateway.stop().await;
}

/// A CouchDB that was restored from a backup accepts a sequence that it has not reached again, and would hide the plans saved until then.
#[tokio::test]
async fn every_feed_reads_all_plans_to_their_end_and_continues_from_there() {
    let (listener, address) = listen().await;
    let (sender, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let _served = serve(listener, move |_| {
        let sender = sender.clone();
        service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let body: &'static [u8] = if query.starts_with("feed=normal") {
                b"{\"results\":[\n\n{\"seq\":\"7-x\",\"id\":\"a\",\"deleted\":true}\n],\n\"last_seq\":\"7-x\",\"pending\":0}\n"
            } else {
                b"\n"
            };
            if request.uri().path().ends_with("/_changes") {
                let _ = sender.send(query);
            }
            async move { Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::from_static(body)))) }
        })
    });
    let gateway = Setup::default().upstream(&format!("http://{address}")).start().await;
    for (feed, since) in [("normal", "0"), ("continuous", "7-x"), ("normal", "0"), ("continuous", "7-x")] {
        let query = soon("the feed to be asked for", asked.recv()).await.expect("the gateway runs");
        let is_asked = query.starts_with(&format!("feed={feed}&")) && query.ends_with(&format!("&since={since}"));
        assert!(is_asked, "{feed} {since}: {query}");
    }
    drop(gateway);
}

/// If a middlebox ends the feed as soon as it begins, it is retried with growing pauses.
#[tokio::test]
async fn a_feed_that_is_ended_at_once_is_asked_for_at_growing_pauses() {
    let (listener, address) = listen().await;
    let (sender, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let _served = serve(listener, move |_| {
        let sender = sender.clone();
        service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            if request.uri().path().ends_with("/_changes") {
                let _ = sender.send(Instant::now());
            }
            async { Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::from_static(b"\n")))) }
        })
    });
    let gateway = Setup::default().upstream(&format!("http://{address}")).start().await;
    let mut times = Vec::new();
    for _ in 0..6 {
        times.push(soon("the feed to be asked for", asked.recv()).await.expect("the gateway runs"));
    }
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses[4] > Duration::from_millis(1200) && pauses[4] > pauses[1] * 2, "{pauses:?}");
    drop(gateway);
}

/// A proxy in front of CouchDB may answer 404 for a moment: there may be plans all the same.
#[tokio::test]
async fn a_404_that_is_not_couchdbs_does_not_say_that_there_are_no_plans() {
    let (listener, address) = listen().await;
    let (sender, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let _served = serve(listener, move |_| {
        let sender = sender.clone();
        service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            if request.uri().path().ends_with("/_changes") {
                let _ = sender.send(());
            }
            let mut answer = hyper::Response::new(Full::new(Bytes::from_static(b"not here")));
            *answer.status_mut() = hyper::StatusCode::NOT_FOUND;
            async { Ok::<_, Infallible>(answer) }
        })
    });
    let gateway = Setup::default().upstream(&format!("http://{address}")).start().await;
    // By the second request, the first answer was understood.
    for _ in 0..2 {
        soon("the feed to be asked for", asked.recv()).await.expect("the gateway runs");
    }
    assert!(!gateway.app.gateway.plans.all_is_local());
    drop(gateway);
}

/// CouchDB sends null where it cannot read a document: its plan is not gone, and the gateway reads all plans again.
#[tokio::test]
async fn a_change_without_its_document_ends_the_feed_and_no_plan() {
    const PLANS: &str = concat!(
        "{\"results\":[\n",
        r#"{"seq":"1-x","id":"user","doc":{"pvt_type":"storage","pvt_account_id":"4f1c0a5f6e3b4d7e8a9b0c1d2e3f4a5b","#,
        r#""plan":{"modb":{"connection":"c"}}}}"#,
        "\n],\n\"last_seq\":\"1-x\",\"pending\":0}\n"
    );
    let account = AccountId::parse("4f1c0a5f6e3b4d7e8a9b0c1d2e3f4a5b");
    for id in ["user", "system"] {
        let live = Bytes::from(format!("\n{{\"seq\":\"2-x\",\"id\":\"{id}\",\"doc\":null}}\n"));
        let (listener, address) = listen().await;
        let (sender, mut asked) = tokio::sync::mpsc::unbounded_channel();
        let was_told = Arc::new(AtomicBool::new(false));
        let _served = serve(listener, move |_| {
            let (sender, live, was_told) = (sender.clone(), live.clone(), Arc::clone(&was_told));
            service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let query = request.uri().query().unwrap_or_default();
                let is_continuous = query.starts_with("feed=continuous");
                let mut answer = hyper::Response::new(BoxBody::new(Full::new(Bytes::from_static(PLANS.as_bytes()))));
                if is_continuous {
                    // It stays open: the gateway has to end it.
                    let frame = Ok::<_, Infallible>(Frame::data(live.clone()));
                    *answer.body_mut() = BoxBody::new(StreamBody::new(stream::iter([frame]).chain(stream::pending())));
                } else if !query.starts_with("feed=normal") || was_told.swap(true, Ordering::Relaxed) {
                    *answer.status_mut() = hyper::StatusCode::NOT_FOUND;
                }
                if request.uri().path().ends_with("/_changes") {
                    let _ = sender.send(is_continuous);
                }
                async move { Ok::<_, Infallible>(answer) }
            })
        });
        let gateway = Setup::default().upstream(&format!("http://{address}")).start().await;
        for expected in [false, true, false] {
            let is_continuous = soon("the feed to be asked for", asked.recv()).await.expect("the gateway runs");
            assert_eq!(is_continuous, expected, "{id}");
        }
        let plans = &gateway.app.gateway.plans;
        assert_eq!(plans.users_with_connections(account.as_ref()), ["user"], "{id}");
        assert!(!plans.all_is_local(), "{id}");
        // A plan that exists and cannot be read is not absent.
        assert_eq!(plans.effective(None, None).await.is_err(), id == "system", "{id}");
        drop(gateway);
    }
}
