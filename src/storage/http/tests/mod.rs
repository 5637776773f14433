//! The `http` storage against real sockets.

#![allow(clippy::disallowed_methods, reason = "the gateway's rules for tasks do not bind its tests")]
#![allow(clippy::result_large_err, reason = "the error of proptest's own closures")]

mod cleanup;
mod codec;
mod deliver;
mod fetching;
mod folders;
mod links;
mod resuming;
mod secrets;
mod server;
mod settings;
mod storing;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::{Map, Value, json};

use super::Http;
use crate::config;
use crate::couch::Couch;
use crate::http::body::{Body, BoxError, collect};
use crate::http::client::Client;
use crate::http::connect::{Connector, Reach};
use crate::http::egress::Egress;
use crate::http::range::{ByteRange, Exact};
use crate::http::target::Origin;
use crate::settings::Settings;
use crate::storage::{
    Backend, Budget, Context, Download, Error, Fetch, Location, OAuth, Object, Result, Stored, Upload,
};
use crate::tasks::Tasks;

const BIG: usize = (5 << 20) + 100_000;

fn context(networks: &[&str]) -> Context {
    let second = Duration::from_secs(1);
    let timeouts = config::Timeouts {
        connect: second * 5,
        tls_handshake: second * 5,
        request_head: second * 5,
        response_head: second * 5,
        idle_body: second * 5,
        answer: second * 5,
        drain: second * 5,
    };
    let allow = networks.iter().map(|network| network.parse().unwrap()).collect();
    let egress = Egress::from_config(&config::Egress { allow, ..config::Egress::default() });
    let tasks = Tasks::default();
    let client = Client::new(Connector::new(egress, timeouts).unwrap(), tasks.clone(), 64 << 10);
    let endpoints = config::Endpoints {
        google_api: String::new(),
        google_oauth: String::new(),
        dropbox_content: String::new(),
        dropbox_api: String::new(),
        graph: String::new(),
    };
    let config = Arc::new(config::Storage { file_root: None, endpoints });
    let nobody = Origin { tls: false, host: "127.0.0.1".to_owned(), port: 9 };
    let couch = Couch::new(client.server(nobody, Reach::Operator), "/", None, client.patience(), 1 << 20).unwrap();
    let oauth = OAuth::new(couch, "system_auth", client.clone(), tasks.clone());
    Context { client, tasks, budget: Budget::new(64 << 20), config, oauth }
}

/// A storage with these settings.
fn open(settings: Value) -> Http {
    try_open(settings).unwrap()
}

fn try_open(settings: Value) -> Result<Http> {
    Http::open(&Settings::new("store1", "http", settings.as_object().unwrap().clone()), &context(&["127.0.0.0/8"]))
}

fn object(name: &str) -> Object {
    let document = json!({"id": "doc1", "name": "mailbox 1010", "metadata": {"to": "1010@a.b"}});
    Object {
        name: name.to_owned(),
        spare: format!("{name}.spare"),
        taken: false,
        content_type: "audio/mp3".to_owned(),
        document: document.as_object().unwrap().clone(),
    }
}

/// Bytes that do not look like text.
fn recording(length: usize) -> Bytes {
    (0..length).map(|index| u8::try_from((index * 31 + index / 251) % 256).unwrap()).collect()
}

fn upload(storage: &Http, body: impl Into<Bytes>) -> Upload {
    Upload::new(Body::full(body), 1 << 40, storage.budget.clone())
}

/// A body in frames, without a length; a fault ends it.
fn framed(storage: &Http, frames: Vec<Bytes>, fault: Option<BoxError>) -> Upload {
    let frames = frames.into_iter().map(|frame| Ok(Frame::data(frame))).chain(fault.map(Err));
    Upload::new(Body::boxed(StreamBody::new(stream::iter(frames))), 1 << 40, storage.budget.clone())
}

/// A body in frames that ends in a fault before it is as long as announced.
fn breaking(storage: &Http, frames: Vec<Bytes>, fault: BoxError) -> Upload {
    let length = frames.iter().map(|frame| frame.len() as u64).sum::<u64>() + 1;
    let frames = frames.into_iter().map(|frame| Ok(Frame::data(frame))).chain([Err(fault)]);
    let body = Exact::new(Body::boxed(StreamBody::new(stream::iter(frames))), length);
    Upload::new(Body::boxed(body), 1 << 40, storage.budget.clone())
}

async fn store(storage: &Http, name: &str, body: impl Into<Bytes>) -> Result<Stored> {
    storage.put(&object(name), upload(storage, body)).await
}

fn at(url: &str) -> Location {
    json!({"url": url}).as_object().unwrap().clone()
}

async fn open_whole(storage: &Http, location: &Location, length: usize) -> Result<Download> {
    let fetch = Fetch { range: None, length: Some(length as u64), metadata: &Map::new() };
    storage.get(location, fetch).await
}

async fn open_range(storage: &Http, location: &Location, range: (u64, u64), length: usize) -> Result<Download> {
    let range = Some(ByteRange { first: range.0, last: range.1 });
    storage.get(location, Fetch { range, length: Some(length as u64), metadata: &Map::new() }).await
}

async fn read(storage: &Http, location: &Location, length: usize) -> std::result::Result<Bytes, BoxError> {
    let download = open_whole(storage, location, length).await?;
    collect(download.body, 1 << 40).await
}

fn status(error: &Error) -> Option<u16> {
    error.status().map(|status| status.as_u16())
}
