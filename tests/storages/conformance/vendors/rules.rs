//! Tokens, retries and refusals.

use super::{Vendor, length, routes, start};
use crate::conformance::prelude::*;
use crate::conformance::targets::try_open;

pub async fn a_grant_is_needed<V: Vendor>() {
    for (settings, what) in [(json!({}), "is required"), (json!({"oauth_doc_id": 7}), "must be a text")] {
        let opened = try_open(V::DRIVER, settings, &Around::default(), &Tasks::default(), &Budget::new(BUDGET));
        let error = opened.expect_err("an error");
        assert!(error.kind() == Kind::Settings && error.to_string().contains("oauth_doc_id"), "{error}");
        assert!(error.to_string().contains(what) && error.to_string().contains("storage1"), "{error}");
    }
}

pub async fn an_expired_token_is_renewed_once<V: Vendor>() {
    together([10, V::LARGE], async |length| {
        let (scene, target) = start::<V>().await;
        let tokens = &scene.provider.tokens;
        let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
        tokens.expire();
        assert!(target.read(&stored.location, length).await == bytes(length));
        tokens.expire();
        target.put(&object("y"), Body::full(bytes(length))).await.expect("stored");
        tokens.expire();
        target.backend.delete(&stored.location).await.expect("removed");
        assert_eq!(tokens.asked(), 4);
        tokens.revoke();
        let error = target.put(&object("z"), Body::full("x")).await.expect_err("revoked");
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains("invalid_grant"), "{error}");
        assert_eq!(scene.vendor.paths(), ["y"]);
    })
    .await;
}

pub async fn what_passes_is_tried_again<V: Vendor>() {
    let troubles = [vec![V::busy(), V::too_many(1), Trouble::Breaks], V::unavailable()].concat();
    together(troubles, async |trouble| {
        let (scene, target) = start::<V>().await;
        for length in [10, V::LARGE] {
            let name = format!("calls/{length}");
            routes::<V>(length).iter().for_each(|route| scene.plan(route, 2, trouble.clone()));
            let stored = target.put(&object(&name), Body::full(bytes(length))).await.expect("stored");
            assert_eq!(scene.vendor.paths(), [name], "{trouble:?}");
            scene.plan("download", 2, trouble.clone());
            assert!(target.read(&stored.location, length).await == bytes(length));
            scene.plan(V::DELETE, 2, trouble.clone());
            target.backend.delete(&stored.location).await.expect("removed");
        }
        target.assert_empty(&format!("{trouble:?}")).await;
    })
    .await;
}

pub async fn a_pause_is_respected<V: Vendor>() {
    let (scene, target) = start::<V>().await;
    let began = tokio::time::Instant::now();
    scene.plan(V::UPLOAD[0], 1, V::too_many(2));
    target.put(&object("x"), Body::full("x")).await.expect("stored");
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

pub async fn what_does_not_pass_in_time_is_told_as_passing<V: Vendor>() {
    together([10, V::LARGE], async |length| {
        for route in routes::<V>(length) {
            let (scene, target) = start::<V>().await;
            scene.plan(route, 3, V::busy());
            let error = target.put(&object("calls/x"), Body::full(bytes(length))).await.expect_err("an error");
            assert_eq!(error.kind(), Kind::Passing, "{route}: {error}");
            assert!(error.to_string().contains(V::BUSY), "{error}");
            let before = scene.count(route);
            assert_eq!(before, 3, "{route}");
            scene.plan(route, 1, V::too_many(300));
            let error = target.put(&object("calls/x"), Body::full(bytes(length))).await.expect_err("an error");
            assert_eq!((error.kind(), error.retry_after()), (Kind::Passing, Some(Duration::from_secs(300))));
            assert_eq!(scene.count(route) - before, 1, "a wait of 300 s");
            target.assert_empty(route).await;
        }
    })
    .await;
}

pub async fn a_real_refusal_is_not_repeated<V: Vendor>() {
    let cases = V::refusals().into_iter();
    let cases =
        cases.flat_map(|(trouble, routes, words)| routes.iter().map(move |route| (trouble.clone(), route, words)));
    together(cases, async |(trouble, route, words)| {
        let (scene, target) = start::<V>().await;
        scene.plan(route, 9, trouble);
        let refused = target.put(&object("x"), Body::full(bytes(length::<V>(route)))).await.expect_err("refused");
        assert_eq!(refused.kind(), Kind::Refused);
        assert!(refused.to_string().ends_with(words), "{refused}");
        assert_eq!(scene.count(route), 1);
        target.assert_empty("refused").await;
    })
    .await;
}
