//! Lost replies, broken connections, silence: what is left behind, and which errors are reported.

use super::{Gated, LARGE, Place, gated, verbs, with};
use crate::conformance::prelude::*;
use stowage_http::body::cause;
use stowage_http::client;
use stowage_storage::Leftovers;
use stowage_testing::fault::{Fault, What};
use stowage_testing::ftp::FtpServer;
use stowage_testing::ftp::gate::{Act, Gate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// For every command, its reply or the command itself is lost once: nothing is left, and nothing is overwritten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_break_at_any_command_lose_and_leave_nothing() {
    let all = ["USER", "PASS", "TYPE", "MKD", "EPSV", "STOR", "SIZE", "MDTM", "MLST", "RNFR", "RNTO"];
    together(all.into_iter().flat_map(|verb| [(verb, Act::Lose), (verb, Act::Close)]), async |(verb, act)| {
        for length in [1000, LARGE] {
            let what = format!("{verb} {act:?} {length}");
            let Gated { gate, target } = gated().await;
            gate.plan(verb, act, 1);
            match target.put(&object("a/x"), Body::full(bytes(length))).await {
                Ok(stored) => {
                    assert_eq!(stored.location["path"], json!("/recordings/a/x"), "{what}");
                    assert!(target.read(&stored.location, length).await == bytes(length), "{what}");
                    target.assert_clean(&what).await;
                    assert_eq!(target.world.objects(), ["a/x"], "{what}");
                }
                Err(error) => {
                    assert_eq!((error.kind(), length), (Kind::Passing, LARGE), "{what}: {error}");
                    target.assert_empty(&what).await;
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_lost_answer_to_the_rename_is_found_out() {
    let Gated { gate, target } = gated().await;
    gate.plan("RNTO", Act::Lose, 1);
    let stored = target.put(&object("x"), Body::full(bytes(LARGE))).await.expect("stored");
    assert_eq!(stored.location["path"], json!("/recordings/x"));
    assert!(target.read(&stored.location, LARGE).await == bytes(LARGE));
    assert_eq!(verbs(&gate).iter().filter(|verb| *verb == "STOR").count(), 1);
    // The server is gone: the renamed file is removed once it is back.
    gate.plan("RNTO", Act::Lose, 1);
    gate.plan("USER", Act::Close, 2);
    assert_eq!(kind(target.put(&object("y"), Body::full(bytes(LARGE))).await), Some(Kind::Passing));
    target.assert_clean("asked").await;
    assert_eq!(target.world.objects(), ["x"]);
}

/// The client of a broken upload repeats it through another gateway, while the removal of the broken one has no answer.
#[tokio::test]
async fn what_another_gateway_stores_meanwhile_stays_and_the_rest_is_reported() {
    let server = FtpServer::start().await;
    let folder = server.root().join("recordings");
    let gate = Gate::start(server.address()).await;
    let settings = json!({"url": super::url("ftp", gate.address().port())});
    let target = super::target(settings, &Around::default(), Place { server, _gate: None });
    gate.plan("RNTO", Act::Close, 1);
    gate.plan("DELE", Act::Lose, 1);
    let (sender, mut reported) = mpsc::unbounded_channel();
    let mut broken = object("x");
    broken.leftovers = Leftovers::new(move |left| sender.send(left).expect("a receiver"));
    assert_eq!(kind(target.put(&broken, Body::full(bytes(LARGE))).await), Some(Kind::Passing));
    std::fs::write(folder.join("x"), "another's").expect("written");
    target.assert_clean("removed").await;
    assert_eq!(target.world.objects(), ["x"]);
    let left = reported.try_recv().expect("reported");
    assert_eq!((&left.location["path"], left.etag.is_some()), (&json!("/recordings/x"), true));
}

/// The client is gone by the time that the file has its name, and the server does not remove it.
#[tokio::test]
async fn an_object_that_no_client_waits_for_is_reported_if_it_cannot_be_removed() {
    let Gated { gate, target } = gated().await;
    gate.plan("RNTO", Act::Late(Duration::from_millis(200)), 1);
    gate.plan("DELE", Act::Lose, 1);
    let (sender, mut reported) = mpsc::unbounded_channel();
    let mut left = object("x");
    left.leftovers = Leftovers::new(move |left| sender.send(left).expect("a receiver"));
    let renaming = async {
        while !verbs(&gate).iter().any(|verb| verb == "RNTO") {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = target.put(&left, Body::full(bytes(1000))) => panic!("it has to wait"),
        () = renaming => {}
    }
    target.assert_clean("removed").await;
    let left = reported.try_recv().expect("reported");
    assert_eq!((&left.location["path"], left.etag.is_some()), (&json!("/recordings/x"), true));
}

/// The server's end of a data connection looks the same for complete and truncated uploads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_breaks_is_an_error_whatever_the_server_says() {
    together([0, 1, 100_000, CHUNK_BYTES as u64, LARGE as u64 - 1], async |after| {
        for what in [What::Cut, What::Reset, What::Truncate] {
            let shown = format!("{what:?} after {after}");
            let Gated { gate, target } = with(|_| {}, Around::impatient(Duration::from_secs(3))).await;
            gate.fault(Fault::to_server(after, what));
            gate.plan("STOR", Act::Say("226 fine"), 1);
            match target.put(&object("x"), Body::full(bytes(LARGE))).await {
                Err(error) => assert_eq!(error.kind(), Kind::Passing, "{shown}: {error}"),
                // It was reset before any transfer, so another one was opened.
                Ok(stored) => {
                    assert_eq!((after, what), (0, What::Reset));
                    assert!(target.read(&stored.location, LARGE).await == bytes(LARGE));
                    target.backend.delete(&stored.location).await.expect("removed");
                }
            }
            target.assert_empty(&shown).await;
            // Bodies in memory are sent again, but libunftp may never reply for a connection that is reset immediately.
            if what == What::Reset {
                continue;
            }
            gate.forget();
            gate.fault(Fault::to_server(after.min(999), what));
            let stored = target.put(&object("x"), Body::full(bytes(1000))).await.expect(&shown);
            assert!(target.read(&stored.location, 1000).await == bytes(1000), "{shown}");
            target.assert_clean(&shown).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_breaks_goes_on_or_is_an_error() {
    let length = 3 << 20;
    together([What::Cut, What::Reset, What::Truncate], async |what| {
        let Gated { gate, target } = gated().await;
        let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
        for (first, last) in [(0, length - 1), (100, length - 1), (100, length - 100)] {
            for after in [0, 1, 1_000_000, length as u64 - 200] {
                gate.fault(Fault::to_client(after, what));
                gate.plan("RETR", Act::Say("226 fine"), 1);
                gate.fault(Fault::to_client(after / 4, what));
                let range = Some(ByteRange { first: first as u64, last: last as u64 });
                let download = target.get(&stored.location, range, length as u64).await.expect("an object");
                let read = collect(download.body, LIMIT).await.expect("bytes");
                assert!(read == bytes(length)[first..=last], "{what:?} after {after}");
                gate.forget();
            }
        }
        // A third break fails the download.
        for after in [1000, 2000, 3000] {
            gate.fault(Fault::to_client(after, what));
        }
        let download = target.get(&stored.location, None, length as u64).await.expect("an object");
        assert!(collect(download.body, LIMIT).await.is_err(), "{what:?}");
        // Without a version to compare, the first break fails the download.
        gate.plan("MDTM", Act::Answer("502 no"), 1);
        gate.plan("RETR", Act::Say("226 fine"), 1);
        gate.fault(Fault::to_client(1_000_000, what));
        let download = target.get(&stored.location, None, length as u64).await.expect("an object");
        assert!(collect(download.body, LIMIT).await.is_err(), "{what:?}");
    })
    .await;
}

#[tokio::test]
async fn a_completion_reply_is_read_after_all_the_bytes() {
    let Gated { gate, target } = gated().await;
    let stored = target.put(&object("x"), Body::full(bytes(1000))).await.expect("stored");
    for act in [Act::Say("426 aborted"), Act::Say("451 disk"), Act::Say("550 no"), Act::Lose] {
        gate.plan("RETR", act, 3);
        let download = target.get(&stored.location, None, 1000).await.expect("an object");
        assert!(collect(download.body, LIMIT).await.is_err(), "{act:?}");
        gate.forget();
        gate.plan("RETR", act, 1);
        assert!(target.read(&stored.location, 1000).await == bytes(1000), "{act:?}: the next try is fine");
        gate.forget();
    }
}

#[tokio::test]
async fn another_version_is_never_mixed_in() {
    let Gated { gate, target } = gated().await;
    let length = 3 << 20;
    let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
    gate.fault(Fault::to_client(100_000, What::Cut));
    let download = target.get(&stored.location, None, length as u64).await.expect("an object");
    target.backend.delete(&stored.location).await.expect("removed");
    target.put(&object("x"), Body::full(vec![9; length + 1])).await.expect("stored");
    let error = collect(download.body, LIMIT).await.map(|bytes| bytes.len()).expect_err("a mixture");
    assert!(error.to_string().contains("changed in the middle"), "{error}");
}

/// Silence is limited, and its remains are removed.
#[tokio::test]
async fn a_silent_server_is_given_up() {
    let impatient = || Around::impatient(Duration::from_millis(400));
    together(["USER", "MKD", "STOR", "SIZE", "RNFR", "RNTO"], async |verb| {
        let Gated { gate, target } = with(|_| {}, impatient()).await;
        gate.plan(verb, Act::Hold, 1);
        let error = target.put(&object("x"), Body::full(bytes(LARGE))).await.expect_err("silence");
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Passing, "the server says nothing"), "{verb}");
        target.assert_empty(verb).await;
    })
    .await;
    for fault in [Fault::to_server(100_000, What::Stall), Fault::to_server(0, What::Stall)] {
        let Gated { gate, target } = with(|_| {}, impatient()).await;
        gate.fault(fault);
        let error = target.put(&object("x"), Body::full(bytes(LARGE + (20 << 20)))).await.expect_err("silence");
        assert_eq!(error.to_string(), "the server says nothing");
        target.assert_empty("stalled").await;
    }
    let Gated { gate, target } = with(|_| {}, impatient()).await;
    let stored = target.put(&object("x"), Body::full(bytes(LARGE))).await.expect("stored");
    gate.fault(Fault::to_client(1_000_000, What::Stall));
    let download = target.get(&stored.location, None, LARGE as u64).await.expect("an object");
    assert_eq!(collect(download.body, LIMIT).await.expect_err("silence").to_string(), "the server says nothing");
}

/// A breaker opens at once after three of these.
#[tokio::test]
async fn a_server_without_a_connection_is_not_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closing = listener.local_addr().expect("an address").port();
    // Port 9 has no listener.
    for (scheme, port) in [("ftp", 9), ("ftpes", 9), ("ftps", 9), ("ftps", closing)] {
        let url = super::url(scheme, port);
        let Gated { target, .. } = with(|settings| settings["url"] = json!(url), Around::default()).await;
        let object = object("x");
        let error = tokio::select! {
            stored = target.put(&object, Body::full("x")) => stored.expect_err("no connection"),
            () = async { while listener.accept().await.is_ok() {} } => unreachable!(),
        };
        let lost = cause::<client::Error>(&error).map(client::Error::kind);
        assert_eq!((error.kind(), lost), (Kind::Passing, Some(client::Kind::Connect)), "{scheme} {port}: {error}");
    }
}

/// The server's process hangs, and its kernel still takes connections.
#[tokio::test]
async fn a_server_that_does_not_answer_the_handshake_is_not_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = super::url("ftpes", listener.local_addr().expect("an address").port());
    let around = Around::hasty(Duration::from_millis(200));
    let Gated { target, .. } = with(|settings| settings["url"] = json!(url), around).await;
    let hanging = async {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"220 ready\r\n").await.expect("a client");
            let mut command = [0; b"AUTH TLS\r\n".len()];
            stream.read_exact(&mut command).await.expect("a command");
            stream.write_all(b"234 begin\r\n").await.expect("a client");
            open.push(stream);
        }
    };
    let object = object("x");
    let error = tokio::select! {
        stored = target.put(&object, Body::full("x")) => stored.expect_err("no answer"),
        () = hanging => unreachable!(),
    };
    let lost = cause::<client::Error>(&error).map(client::Error::kind);
    assert_eq!((error.kind(), lost), (Kind::Passing, Some(client::Kind::Connect)), "{error}");
}
