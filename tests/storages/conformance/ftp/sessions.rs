//! Control connections are pooled, few logins run concurrently, and a connection that breaks while idle affects no operation.

use crate::conformance::prelude::*;
use futures_util::future::join_all;

use super::{Gated, gated, verbs};
use stowage_testing::ftp::gate::{Act, Form, Gate};

fn logins(gate: &Gate) -> usize {
    verbs(gate).iter().filter(|verb| *verb == "USER").count()
}

async fn twelve(target: &Target) {
    let puts = (0..12_u8).map(|number| async move {
        let stored = target.put(&object(&format!("{number}")), Body::full(vec![number; 1000])).await.expect("stored");
        assert_eq!(target.read(&stored.location, 1000).await, vec![number; 1000]);
    });
    join_all(puts).await;
}

#[tokio::test]
async fn operations_after_one_another_share_a_login() {
    let Gated { gate, target } = gated().await;
    for name in ["a", "b", "c/d"] {
        let stored = target.put(&object(name), Body::full(bytes(1000))).await.expect("stored");
        assert!(target.read(&stored.location, 1000).await == bytes(1000));
        let range = Some(ByteRange { first: 10, last: 19 });
        let part = target.get(&stored.location, range, 1000).await.expect("an object");
        assert!(collect(part.body, LIMIT).await.expect("bytes") == bytes(1000)[10..20]);
        target.idle().await;
        // The offset of that transfer does not affect the next one.
        assert!(target.read(&stored.location, 1000).await == bytes(1000));
        assert_eq!(kind(target.get(&location(&stored.location, "none"), None, 1).await), Some(Kind::Missing));
        target.backend.delete(&stored.location).await.expect("removed");
    }
    assert_eq!(logins(&gate), 1, "{:?}", gate.asked());
    assert_eq!(verbs(&gate).iter().filter(|verb| *verb == "TYPE").count(), 1);
}

fn location(of: &Location, name: &str) -> Location {
    let mut location = of.clone();
    location.insert("path".to_owned(), format!("/recordings/{name}").into());
    location
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twelve_uploads_at_once_are_few_logins() {
    let Gated { gate, target } = gated().await;
    gate.plan("PASS", Act::Late(Duration::from_millis(700)), 99);
    twelve(&target).await;
    assert!(logins(&gate) <= 6, "{}", logins(&gate));
}

/// A server that accepts no more sessions: 421, or ProFTPD's 530.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_full_is_waited_for() {
    for full in
        ["421 Too many connections (2) from this IP", "530 Sorry, the maximum number of clients (2) for this user"]
    {
        let Gated { gate, target } = gated().await;
        gate.plan("USER", Act::Pass, 2);
        gate.plan("USER", Act::Answer(full), 999);
        twelve(&target).await;
    }
}

/// The server may send another reply to the transfer, which the waiting operation would take for its own.
#[tokio::test]
async fn a_session_whose_transfer_was_closed_halfway_is_checked_before_it_is_handed_over() {
    let Gated { gate, target } = gated().await;
    gate.plan("USER", Act::Pass, 1);
    gate.plan("USER", Act::Answer("421 Too many connections (1) from this IP"), 999);
    let stored = target.put(&object("x"), Body::full(bytes(1000))).await.expect("stored");
    let range = Some(ByteRange { first: 10, last: 19 });
    let download = target.get(&stored.location, range, 1000).await.expect("an object");
    let ending = async {
        while logins(&gate) < 2 {
            tokio::task::yield_now().await;
        }
        drop(download);
    };
    let (removed, ()) = tokio::join!(target.backend.delete(&stored.location), ending);
    removed.expect("removed");
    let all = verbs(&gate);
    assert!(all.windows(2).any(|pair| pair == ["NOOP", "DELE"]), "{all:?}");
}

/// Any failure of an idle session does not affect the next operation.
#[tokio::test]
async fn a_session_that_broke_is_replaced() {
    for act in [Act::Close, Act::Lose, Act::Answer("421 Timeout - try typing a little faster next time")] {
        let Gated { gate, target } = gated().await;
        target.put(&object("a"), Body::full("x")).await.expect("stored");
        gate.plan("MKD", act, 1);
        let stored = target.put(&object("b"), Body::full(bytes(super::LARGE))).await.expect("stored");
        gate.plan("SIZE", act, 1);
        assert!(target.read(&stored.location, super::LARGE).await == bytes(super::LARGE));
        gate.plan("DELE", act, 1);
        let removed = target.backend.delete(&stored.location).await;
        // Without an answer, it is not repeated: another object may have the name meanwhile.
        if matches!(act, Act::Close | Act::Lose) {
            assert_eq!(removed.expect_err("no answer").kind(), Kind::Passing);
            target.backend.delete(&stored.location).await.expect("removed");
        }
        assert_eq!(target.world.objects(), ["a"]);
    }
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_however_many_wait() {
    let Gated { gate, target } = gated().await;
    gate.plan("USER", Act::Answer("530 no"), 999);
    let puts = (0..12).map(|number| {
        let target = &target;
        async move { kind(target.put(&object(&number.to_string()), Body::full("x")).await) }
    });
    assert_eq!(join_all(puts).await, [Some(Kind::Refused); 12]);
    assert!(logins(&gate) <= 3, "{}", logins(&gate));
}

/// RFC 1123 section 4.1.2.6, and replies to EPSV.
#[tokio::test]
async fn odd_answers_say_where_a_data_connection_goes() {
    let forms: [Form; 6] = [
        |port| format!("227 Entering Passive Mode 10,0,0,1,{},{}", port / 256, port % 256),
        |port| format!("227 Entering Passive Mode =10,0,0,1,{},{}.", port / 256, port % 256),
        |port| format!("227 Entering Passive Mode ( 10, 0, 0, 1, {}, {} )", port / 256, port % 256),
        |port| format!("229 Entering Extended Passive Mode |||{port}|"),
        |port| format!("229 ok (!!!{port}!)"),
        |port| format!("229 ok (|1|10.0.0.1|{port}|)"),
    ];
    for form in forms {
        let Gated { gate, target } = gated().await;
        gate.say_port(form);
        if form(1).starts_with("227") {
            gate.plan("EPSV", Act::Answer("500 what"), 999);
        }
        let stored = target
            .put(&object("x"), Body::full(bytes(1000)))
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", form(1025)));
        assert!(target.read(&stored.location, 1000).await == bytes(1000), "{}", form(1025));
    }
}

/// A firewall that only opens the ports of PASV.
#[tokio::test]
async fn where_epsv_leads_nowhere_pasv_is_asked() {
    for answer in ["229 ok (|||1|)", "229 nonsense", "550 no", "202 superfluous"] {
        let Gated { gate, target } = gated().await;
        gate.plan("EPSV", Act::Answer(answer), 999);
        let stored = target.put(&object("x"), Body::full(bytes(1000))).await.expect(answer);
        assert!(target.read(&stored.location, 1000).await == bytes(1000), "{answer}");
    }
}
