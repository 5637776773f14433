//! Removal of what a broken upload may have left.

use std::time::Duration;

use http::Method;
use serde_json::json;
use stowage_http::body::ClientGone;
use tokio::sync::mpsc;

use super::server::{Reply, Server};
use super::{BIG, Http, breaking, object, open, recording, store, upload};
use crate::{Backend, Leftovers};

#[tokio::test]
async fn half_an_object_is_removed() {
    let server = Server::answering(Method::PUT, || Reply::KeepPartAndClose(6 << 20)).await;
    let storage = open(json!({"url": server.url("/p")}));
    store(&storage, "n", recording(20 << 20)).await.unwrap_err();
    server.until(|seen| seen.iter().any(|seen| seen.method == Method::DELETE)).await;
    assert_eq!(server.targets(&Method::DELETE), ["/p/n"]);
    assert_eq!(server.object("/p/n"), None);
}

#[tokio::test]
async fn an_upload_that_its_client_breaks_is_removed() {
    let server = Server::normal().await;
    let storage = open(json!({"url": server.url("/p")}));
    let upload = breaking(&storage, vec![recording(100_000); 80], ClientGone::Silent.into());
    storage.put(&object("n"), upload).await.unwrap_err();
    server.until(|seen| seen.iter().any(|seen| seen.method == Method::DELETE)).await;
    ended(storage).await;
    assert_eq!(server.object("/p/n"), None);
}

#[tokio::test]
async fn the_name_is_not_given_away_while_it_is_cleaned() {
    let server = Server::start(|method, _, index| match *method {
        Method::PUT if index == 1 => Reply::Silence,
        _ => Reply::Normal,
    })
    .await;
    let storage = open(json!({"url": server.url("/p")}));
    let broken = object("n");
    tokio::select! {
        _ = storage.put(&broken, upload(&storage, "x")) => panic!("no answer was given"),
        () = server.until(|seen| seen.iter().any(|seen| seen.method == Method::PUT)) => {}
    }
    let stored = store(&storage, "n", "y").await.unwrap();
    assert_eq!(stored.location["url"], server.url("/p/n.spare"));
    ended(storage).await;
    assert_eq!(server.object("/p/n.spare").unwrap(), "y");
}

/// The client of a broken upload repeats it through another gateway, which finds the name free.
#[tokio::test]
async fn what_another_gateway_stores_meanwhile_stays_and_the_rest_is_reported() {
    let server = Server::start(|method, _, index| match *method {
        Method::PUT if index == 1 => Reply::Silence,
        _ => Reply::Normal,
    })
    .await;
    let (one, other) = (open(json!({"url": server.url("/p")})), open(json!({"url": server.url("/p")})));
    let (sender, mut reported) = mpsc::unbounded_channel();
    let mut broken = object("n");
    broken.leftovers = Leftovers::new(move |location| sender.send(location).unwrap());
    tokio::select! {
        _ = one.put(&broken, upload(&one, "x")) => panic!("no answer was given"),
        () = server.until(|seen| seen.iter().any(|seen| seen.method == Method::PUT)) => {}
    }
    server.until(|seen| seen.iter().any(|seen| seen.method == Method::DELETE)).await;
    let stored = store(&other, "n", "x").await.unwrap();
    assert_eq!(reported.recv().await.unwrap().location, stored.location);
    ended(one).await;
    assert_eq!(server.object("/p/n").unwrap(), "x");
    assert_eq!(server.targets(&Method::DELETE), ["/p/n"]);
}

/// A removal that is certain leaves nothing to report.
#[tokio::test]
async fn what_was_removed_is_not_reported() {
    let server = Server::answering(Method::PUT, || Reply::KeepPartAndClose(6 << 20)).await;
    let storage = open(json!({"url": server.url("/p")}));
    let mut broken = object("n");
    broken.leftovers = Leftovers::new(|left| panic!("{left:?}"));
    storage.put(&broken, upload(&storage, recording(20 << 20))).await.unwrap_err();
    ended(storage).await;
    assert_eq!(server.object("/p/n"), None);
}

#[tokio::test]
async fn a_name_that_may_be_anothers_is_left_alone() {
    let server = Server::start(|method, _, _| match *method {
        Method::HEAD => Reply::Status(405),
        Method::PUT => Reply::KeepPartAndClose(6 << 20),
        _ => Reply::Normal,
    })
    .await;
    let storage = open(json!({"url": server.url("/p")}));
    store(&storage, "n", recording(20 << 20)).await.unwrap_err();
    ended(storage).await;
    assert_eq!(server.targets(&Method::DELETE), ["/p/n.spare"]);
}

/// A server that timed out waiting for the rest may have kept the part it received.
#[tokio::test]
async fn what_a_timeout_of_the_server_may_have_left_is_removed() {
    let server = Server::answering(Method::PUT, || Reply::Status(408)).await;
    let storage = open(json!({"url": server.url("/p")}));
    store(&storage, "n", "x").await.unwrap_err();
    ended(storage).await;
    assert!(server.targets(&Method::DELETE).iter().all(|target| target == "/p/n"));
    assert!(!server.targets(&Method::DELETE).is_empty());
}

#[tokio::test]
async fn an_early_success_is_none() {
    let server = Server::answering(Method::PUT, || Reply::AtOnce(201)).await;
    let storage = open(json!({"url": server.url("/p")}));
    store(&storage, "n", recording(BIG)).await.unwrap_err();
    server.until(|seen| seen.iter().any(|seen| seen.method == Method::DELETE)).await;
}

/// Waits until the storage's background tasks have ended.
async fn ended(storage: Http) {
    let tasks = storage.tasks.clone();
    drop(storage);
    assert_eq!(tasks.drain(Duration::from_secs(20)).await, 0);
}
