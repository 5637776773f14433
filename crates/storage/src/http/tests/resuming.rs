//! Downloads with broken connections, and digests announced by the server.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use md5::{Digest, Md5};
use serde_json::json;
use stowage_http::body::collect;

use super::server::{Reply, Server};
use super::{at, open, open_range, read, recording};
use crate::Served;

const LENGTH: usize = 100_000;

/// A server whose first response breaks off after `first` bytes of the object; `rest` gives the later responses.
async fn breaking(
    first: usize,
    headers: &'static [(&'static str, &'static str)],
    rest: impl Fn(usize) -> Reply + Send + Sync + 'static,
) -> Server {
    Server::start(move |_, _, index| match index {
        0 => {
            let mut headers: Vec<_> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
            headers.push(("content-length", LENGTH.to_string()));
            Reply::Breaks(200, recording(LENGTH).slice(..first), headers)
        }
        index => rest(index),
    })
    .await
}

fn part(from: usize, to: usize, tag: &str) -> Reply {
    let range = format!("bytes {from}-{}/{LENGTH}", LENGTH - 1);
    let headers =
        vec![("etag", tag.to_owned()), ("content-range", range), ("content-length", (LENGTH - from).to_string())];
    Reply::Breaks(206, recording(LENGTH).slice(from..to), headers)
}

#[tokio::test]
async fn a_broken_download_goes_on_as_a_range_of_the_same_version() {
    let server = breaking(40_000, &[("etag", "\"v1\"")], |index| match index {
        1 => part(40_000, 70_000, "\"v1\""),
        _ => part(70_000, LENGTH, "\"v1\""),
    })
    .await;
    let storage = open(json!({"url": server.url("/p")}));
    assert_eq!(read(&storage, &at(&server.url("/p/n")), LENGTH).await.unwrap(), recording(LENGTH));
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!((seen[1].header("range"), seen[1].header("if-match")), (Some("bytes=40000-99999"), Some("\"v1\"")));
    assert_eq!((seen[2].header("range"), seen[2].header("if-match")), (Some("bytes=70000-99999"), Some("\"v1\"")));
}

#[tokio::test]
async fn a_range_goes_on_too() {
    let server = Server::start(|_, _, index| match index {
        0 => {
            let headers = [("etag", "\"v1\""), ("content-range", "bytes 10-99/100000"), ("content-length", "90")];
            let headers = headers.map(|(name, value)| (name, value.to_owned())).to_vec();
            Reply::Breaks(206, recording(LENGTH).slice(10..50), headers)
        }
        _ => {
            let headers = [("etag", "\"v1\""), ("content-range", "bytes 50-99/100000")];
            let headers = headers.map(|(name, value)| (name, value.to_owned())).to_vec();
            Reply::Plain(206, recording(LENGTH).slice(50..100), headers)
        }
    })
    .await;
    let storage = open(json!({"url": server.url("/p")}));
    let download = open_range(&storage, &at(&server.url("/p/n")), (10, 99), LENGTH).await.unwrap();
    assert!(matches!(download.served, Served::Part(_)));
    assert_eq!(collect(download.body, 1 << 20).await.unwrap(), recording(LENGTH).slice(10..100));
    assert_eq!(server.seen()[1].header("range"), Some("bytes=50-99"));
}

#[tokio::test]
async fn another_version_is_never_joined_to_the_first() {
    let rests: [fn(usize) -> Reply; 6] = [
        |_| part(40_000, LENGTH, "\"v2\""),
        |_| part(40_000, LENGTH, "W/\"v1\""),
        |_| part(39_999, LENGTH, "\"v1\""),
        |_| Reply::Status(412),
        |_| Reply::Body(recording(LENGTH), vec![("etag", "\"v1\"".to_owned())], false),
        |_| Reply::Status(404),
    ];
    for rest in rests {
        let server = breaking(40_000, &[("etag", "\"v1\"")], rest).await;
        let storage = open(json!({"url": server.url("/p")}));
        assert!(read(&storage, &at(&server.url("/p/n")), LENGTH).await.is_err());
        assert_eq!(server.seen().len(), 2);
    }
}

#[tokio::test]
async fn without_a_strong_tag_a_break_is_a_break() {
    let heads: [&'static [(&str, &str)]; 3] =
        [&[], &[("etag", "W/\"v1\"")], &[("etag", "\"v1\""), ("accept-ranges", "none")]];
    for headers in heads {
        let server = breaking(40_000, headers, |_| part(40_000, LENGTH, "\"v1\"")).await;
        let storage = open(json!({"url": server.url("/p")}));
        assert!(read(&storage, &at(&server.url("/p/n")), LENGTH).await.is_err(), "{headers:?}");
        assert_eq!(server.seen().len(), 1, "{headers:?}");
    }
}

#[tokio::test]
async fn an_announced_digest_has_to_fit() {
    let digest = |body: &Bytes| vec![("content-md5", STANDARD.encode(Md5::digest(body)))];
    for (said, fits) in [(recording(LENGTH), true), (recording(LENGTH - 1), false)] {
        let headers = digest(&said);
        let server = Server::start(move |_, _, _| Reply::Body(recording(LENGTH), headers.clone(), false)).await;
        let storage = open(json!({"url": server.url("/p")}));
        let read = read(&storage, &at(&server.url("/p/n")), LENGTH).await;
        assert_eq!(read.is_ok_and(|read| read == recording(LENGTH)), fits);
    }
    // The digest covers the base64, so it cannot be compared.
    let text = STANDARD.encode(recording(LENGTH));
    let headers = digest(&Bytes::from(text.clone()));
    let server = Server::start(move |_, _, _| Reply::Body(text.clone().into(), headers.clone(), false)).await;
    let storage = open(json!({"url": server.url("/p")}));
    assert_eq!(read(&storage, &at(&server.url("/p/n")), LENGTH).await.unwrap(), recording(LENGTH));
}
