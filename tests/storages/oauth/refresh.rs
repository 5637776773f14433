//! One token for all callers.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use super::world::World;
use stowage_testing::tokens::{APP, Instead, REFRESH, SECRET};

#[tokio::test]
async fn a_token_is_asked_for_once_and_kept() {
    for pause in [Duration::ZERO, Duration::from_secs(60)] {
        let world = World::looking_every(pause).await;
        for _ in 0..5 {
            assert_eq!(world.call().await.expect("an answer"), 200);
        }
        assert_eq!((world.tokens().asked(), world.vendor.seen()), (1, 5));
        let mut form = world.tokens().forms().remove(0);
        form.sort();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [
            pair("client_id", APP),
            pair("client_secret", SECRET),
            pair("grant_type", "refresh_token"),
            pair("refresh_token", REFRESH),
        ];
        assert_eq!(form, expected);
    }
}

#[tokio::test]
async fn however_many_wait_one_asks() {
    let world = Arc::new(World::start().await);
    world.tokens().hold();
    let mut waiting = JoinSet::new();
    for _ in 0..20 {
        let world = Arc::clone(&world);
        waiting.spawn(async move { world.call().await.expect("an answer") });
    }
    world.until("a client asks", |world| world.tokens().asked() > 0).await;
    world.tokens().release();
    assert_eq!(waiting.join_all().await, [200; 20]);
    assert_eq!(world.tokens().asked(), 1);
}

#[tokio::test]
async fn who_gives_up_does_not_take_the_token_from_the_others() {
    let world = Arc::new(World::start().await);
    // The refresh token is valid once: an aborted refresh could not be repeated.
    world.tokens().rotate(true);
    world.tokens().hold();
    let call = |world: &Arc<World>| {
        let world = Arc::clone(world);
        tokio::spawn(async move { world.call().await.expect("an answer") })
    };
    let first = call(&world);
    world.until("the first asks", |world| world.tokens().asked() > 0).await;
    let others: Vec<_> = (0..3).map(|_| call(&world)).collect();
    first.abort();
    assert!(first.await.expect_err("gone").is_cancelled());
    world.tokens().release();
    for other in others {
        assert_eq!(other.await.expect("no panic"), 200);
    }
    assert_eq!(world.tokens().asked(), 1);
}

#[tokio::test]
async fn where_all_give_up_nothing_is_stuck_or_lost() {
    let world = World::start().await;
    world.tokens().rotate(true);
    world.tokens().hold();
    tokio::select! {
        outcome = world.call() => panic!("{outcome:?}"),
        () = world.until("it is asked", |world| world.tokens().asked() > 0) => {}
    }
    world.tokens().release();
    assert_eq!(world.call().await.expect("an answer"), 200);
    assert_eq!(world.tokens().asked(), 1);
    assert_eq!(world.tasks.drain(Duration::from_secs(10)).await, 0);
}

#[tokio::test]
async fn a_token_that_has_expired_is_replaced_and_the_call_repeated() {
    for pause in [Duration::ZERO, Duration::from_secs(60)] {
        let world = Arc::new(World::looking_every(pause).await);
        assert_eq!(world.call().await.expect("an answer"), 200);
        world.tokens().expire();
        let mut calls = JoinSet::new();
        for _ in 0..10 {
            let world = Arc::clone(&world);
            calls.spawn(async move { world.call().await.expect("an answer") });
        }
        assert_eq!(calls.join_all().await, [200; 10]);
        assert_eq!(world.tokens().asked(), 2);
    }
}

#[tokio::test]
async fn a_vendor_that_refuses_every_token_does_not_cost_the_provider_much() {
    let world = World::start().await;
    world.vendor.refuse();
    for _ in 0..30 {
        assert_eq!(world.call().await.expect("an answer"), 401);
    }
    assert!(world.tokens().asked() <= 7, "{}", world.tokens().asked());
    assert!(world.vendor.seen() >= 30);
}

#[tokio::test]
async fn a_token_is_used_as_long_as_the_provider_says() {
    let lifetimes = [(json!(3600), 1), (json!("3600"), 1), (json!(null), 1), (json!(0), 3)];
    for (lifetime, asked) in lifetimes {
        let world = World::start().await;
        world.tokens().lifetime(lifetime.clone());
        for _ in 0..3 {
            assert_eq!(world.call().await.expect("an answer"), 200, "{lifetime}");
        }
        assert_eq!(world.tokens().asked(), asked, "{lifetime}");
    }
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again() {
    let world = World::start().await;
    world.tokens().instead(Instead::LosesTheAnswer);
    assert_eq!(world.call().await.expect("an answer"), 200);
    assert_eq!(world.tokens().asked(), 2);
    let forms = world.tokens().forms();
    assert_eq!(forms[0], forms[1]);
}
