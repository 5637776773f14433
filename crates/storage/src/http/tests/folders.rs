//! Missing folders on a WebDAV server.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Method;
use serde_json::json;

use super::server::{Reply, Server};
use super::{BIG, object, open, recording, status, store, upload};
use crate::{Backend, Kind};

/// A server with these folders: `missing` is its response to a PUT into any other, sent before reading the body if `at_once`.
async fn dav(there: &[&str], missing: u16, at_once: bool, speaks: bool) -> Server {
    let folders: BTreeSet<String> = there.iter().map(|folder| (*folder).to_owned()).collect();
    let folders = Arc::new(Mutex::new(folders));
    Server::start(move |method, target, _| {
        let mut folders = folders.lock().unwrap();
        let parent = |path: &str| {
            path.trim_end_matches('/').rsplit_once('/').map_or(String::new(), |(parent, _)| format!("{parent}/"))
        };
        let has_parent = folders.contains(&parent(target));
        match method.as_str() {
            "OPTIONS" if speaks => Reply::Plain(200, Bytes::new(), vec![("dav", "1, 2".to_owned())]),
            "OPTIONS" => Reply::Status(405),
            "MKCOL" if folders.contains(target) => Reply::Status(405),
            "MKCOL" if has_parent => {
                folders.insert(target.to_owned());
                Reply::Status(201)
            }
            "MKCOL" => Reply::Status(409),
            "PUT" if !has_parent && at_once => Reply::AtOnce(missing),
            "PUT" if !has_parent => Reply::Status(missing),
            _ => Reply::Normal,
        }
    })
    .await
}

fn made(server: &Server) -> Vec<String> {
    server.targets(&Method::from_bytes(b"MKCOL").unwrap())
}

#[tokio::test]
async fn folders_that_are_missing_are_made() {
    for (missing, at_once) in [(409, false), (409, true), (404, false), (404, true), (500, false)] {
        for length in [10, BIG] {
            let server = dav(&["/"], missing, at_once, true).await;
            let storage = open(json!({"url": server.url("/p")}));
            let body = recording(length);
            store(&storage, "a%2Fb/c/n", body.clone()).await.unwrap();
            assert_eq!(server.object("/p/a%2Fb/c/n").unwrap(), body, "{missing} {at_once} {length}");
            let all = ["/p/a%2Fb/c/", "/p/a%2Fb/", "/p/", "/p/a%2Fb/", "/p/a%2Fb/c/"];
            assert_eq!(made(&server), all, "{missing} {at_once} {length}");
            // Another file in the folder needs no MKCOL, a sibling folder needs one.
            store(&storage, "a%2Fb/c/m", body.clone()).await.unwrap();
            store(&storage, "a%2Fb/d/n", body.clone()).await.unwrap();
            assert_eq!(server.object("/p/a%2Fb/d/n").unwrap(), body);
        }
    }
}

/// A body that was read cannot be sent again, but the client's next attempt finds the folders.
#[tokio::test]
async fn a_large_body_that_was_read_first_is_taken_the_second_time() {
    let server = dav(&["/"], 409, false, false).await;
    let storage = open(json!({"url": server.url("/p")}));
    let error = store(&storage, "a/n", recording(BIG)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Passing, "{error}");
    store(&storage, "a/n", recording(BIG)).await.unwrap();
    store(&storage, "b/n", recording(BIG)).await.expect("it is known now that there are folders");
}

/// A server that does not support folders, or refuses to create them, is not asked repeatedly.
#[tokio::test]
async fn a_refusal_stays_one() {
    for (mkcol, puts) in [(501, 1), (403, 1), (404, 1), (409, 1), (405, 2), (406, 2), (423, 2)] {
        for code in [404, 409, 507] {
            let puts = if code == 507 { 1 } else { puts };
            let server = Server::start(move |method, _, _| match method.as_str() {
                "MKCOL" => Reply::Status(mkcol),
                "PUT" => Reply::Status(code),
                _ => Reply::Normal,
            })
            .await;
            let storage = open(json!({"url": server.url("/p")}));
            let error = store(&storage, "a/n", "x").await.unwrap_err();
            assert_eq!((error.kind(), status(&error)), (Kind::Refused, Some(code)));
            assert_eq!(server.targets(&Method::PUT).len(), puts, "{mkcol}");
        }
    }
    // A name in a query has no folders, and POST does not store in folders.
    for (url, verb) in [("/p?name=", "put"), ("/p", "post")] {
        let server = Server::start(|method, _, _| match *method {
            Method::PUT | Method::POST => Reply::Status(409),
            _ => Reply::Normal,
        })
        .await;
        let storage = open(json!({"url": server.url(url), "verb": verb}));
        storage.put(&object("a/n"), upload(&storage, "x")).await.unwrap_err();
        assert_eq!(made(&server), Vec::<String>::new());
    }
}

/// Another upload creates the folder at the same time.
#[tokio::test]
async fn a_folder_that_is_there_or_just_created_is_used() {
    for answer in [405, 406, 423] {
        let server = Server::start(move |method, _, index| match method.as_str() {
            "MKCOL" => Reply::Status(answer),
            "PUT" if index == 1 => Reply::Status(409),
            _ => Reply::Normal,
        })
        .await;
        let storage = open(json!({"url": server.url("/p")}));
        store(&storage, "a/n", "x").await.expect("stored");
        assert_eq!(server.object("/p/a/n").unwrap(), "x", "{answer}");
    }
}
