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
use futures_util::future::BoxFuture;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::{Map, Value, json};
use stowage_base::secret::Secret;
use stowage_base::settings::Settings;
use stowage_base::tasks::Tasks;
use stowage_http::body::{Body, BoxError, collect};
use stowage_http::client::Client;
use stowage_http::connect::{Connector, Timeouts};
use stowage_http::egress::Egress;
use stowage_http::range::{ByteRange, Exact};

use super::Http;
use crate::{
    Backend, Budget, Context, Download, Endpoints, Error, Fetch, Leftovers, Location, OAuth, OAuthDocument,
    OAuthDocuments, Object, Options, Result, Stored, Upload,
};

const BIG: usize = (5 << 20) + 100_000;

/// No grant is requested in these tests.
#[derive(Debug)]
struct NoDocuments;

impl OAuthDocuments for NoDocuments {
    fn read<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<OAuthDocument>>> {
        Box::pin(async { Ok(None) })
    }

    fn attachment<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>>> {
        Box::pin(async { Ok(None) })
    }

    fn set<'a>(&'a self, _: &'a str, _: &'a str, _: &'a str, _: &'a Secret) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

fn context(networks: &[&str]) -> Context {
    let second = Duration::from_secs(1);
    let timeouts =
        Timeouts { connect: second * 5, tls_handshake: second * 5, response_head: second * 5, idle_body: second * 5 };
    let allow = networks.iter().map(|network| network.parse().unwrap()).collect();
    let egress = Egress::new(allow, Vec::new());
    let tasks = Tasks::default();
    let client = Client::new(Connector::new(egress, timeouts).unwrap(), tasks.clone(), 64 << 10);
    let options = Arc::new(Options { file_root: None, endpoints: Endpoints::default() });
    let oauth = OAuth::new(Arc::new(NoDocuments), client.clone(), tasks.clone());
    Context { client, tasks, budget: Budget::new(64 << 20), options, oauth }
}

/// Opens a storage with these settings.
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
        leftovers: Leftovers::default(),
    }
}

/// Returns bytes that do not look like text.
fn recording(length: usize) -> Bytes {
    (0..length).map(|index| u8::try_from((index * 31 + index / 251) % 256).unwrap()).collect()
}

fn upload(storage: &Http, body: impl Into<Bytes>) -> Upload {
    Upload::new(Body::full(body), 1 << 40, storage.budget.clone())
}

/// Builds an upload of unknown length from frames; a fault ends it.
fn framed(storage: &Http, frames: Vec<Bytes>, fault: Option<BoxError>) -> Upload {
    let frames = frames.into_iter().map(|frame| Ok(Frame::data(frame))).chain(fault.map(Err));
    Upload::new(Body::boxed(StreamBody::new(stream::iter(frames))), 1 << 40, storage.budget.clone())
}

/// Builds an upload that ends in a fault before its announced length.
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
