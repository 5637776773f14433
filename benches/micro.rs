//! Microbenchmarks with criterion: the cost of a request before any I/O.
//!
//! `cargo bench --bench micro` measures everything, `-- NAME` only names that contain NAME.

#![allow(clippy::panic, reason = "a bench stops where something is wrong")]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use futures_util::FutureExt;
use http::{HeaderMap, Method, Uri};
use http_body::Body as _;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use stowage::database::{self, Class};
use stowage::plan::{Documents, Merged, NameSource, Placement, Subject, compose};
use stowage::router;
use stowage_couch::Document;
use stowage_http::base64;
use stowage_http::body::Body;
use stowage_http::target::Origin;
use stowage_storage::steps::{self, Signing};
use stowage_storage::{Leftovers, Object};

const ACCOUNT: &str = "1234567890abcdef1234567890abcdef";
const DATABASE: &str = "account/12/34/567890abcdef1234567890abcdef-202011";
const DOCUMENT: &str = "/account%2F12%2F34%2F567890abcdef1234567890abcdef-202011/202011-recording";
const ATTACHMENT: &str = "/account%2F12%2F34%2F567890abcdef1234567890abcdef-202011/202011-recording/call.mp3?rev=1-0";

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    route(&mut criterion);
    plan(&mut criterion);
    sign(&mut criterion);
    forms(&mut criterion);
    criterion.final_summary();
}

/// Signs one S3 request, without hashing its body.
fn sign(criterion: &mut Criterion) {
    let signing = Signing::new("AKIDBENCH", "a-secret-of-the-bench");
    let origin = Origin { tls: true, host: "s3.us-east-1.amazonaws.com".to_owned(), port: 443 };
    criterion.bench_function("sign a PUT", |bencher| {
        bencher.iter(|| signing.put(black_box(&origin), black_box("/bucket/account/doc_call.mp3"), [7; 32]));
    });
}

/// Encodes a 1 MiB recording in memory, as the `http` storage does.
fn forms(criterion: &mut Criterion) {
    let data = Bytes::from(vec![7; MIB]);
    let mut group = criterion.benchmark_group("1 MiB");
    group.throughput(Throughput::Bytes(MIB as u64));
    // A body that waits or fails would end early and look fast.
    assert_eq!(drained(base64::encoded(Body::full(data.clone()))), MIB.div_ceil(3) * 4);
    group.bench_function("base64", |bencher| {
        bencher.iter(|| drained(base64::encoded(Body::full(data.clone()))));
    });
    let object = Object {
        name: "account/doc/call.mp3".to_owned(),
        spare: "account/doc/call.1f6c2a9e.mp3".to_owned(),
        taken: false,
        content_type: "audio/mpeg".to_owned(),
        document: recording().public_fields("doc"),
        leftovers: Leftovers::default(),
    };
    let multipart = steps::multipart(&object, Body::full(data.clone()));
    let announced = multipart.size_hint().exact();
    assert_eq!(Some(drained(multipart) as u64), announced);
    group.bench_function("multipart", |bencher| {
        bencher.iter(|| drained(steps::multipart(black_box(&object), Body::full(data.clone()))));
    });
    group.finish();
}

/// Reads a body that never has to wait; returns its length.
fn drained(mut body: Body) -> usize {
    let mut length = 0;
    while let Some(Some(Ok(frame))) = body.frame().now_or_never() {
        length += frame.data_ref().map_or(0, Bytes::len);
    }
    length
}

const MIB: usize = 1 << 20;

/// Routes a request by its head, and classifies a database by its name.
fn route(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    let headers = HeaderMap::new();
    for (name, method, target) in [("document", Method::GET, DOCUMENT), ("attachment", Method::PUT, ATTACHMENT)] {
        let uri = Uri::from_static(target);
        group.bench_function(name, |bencher| {
            bencher.iter(|| router::route(black_box(&method), black_box(&uri), black_box(&headers)));
        });
    }
    for (name, database) in [
        ("classify month database", DATABASE),
        ("classify system database", "system_media"),
        ("classify unknown database", "somebody-elses-database"),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| database::classify(black_box(database)));
        });
    }
    group.finish();
}

/// Merges plan documents, decides, and composes an object's name.
fn plan(criterion: &mut Criterion) {
    let (system, account) = (system_plan(), account_plan());
    let documents =
        Documents { account_id: Some(ACCOUNT), system: Some(&system), account: Some(&account), ..Documents::default() };
    let merged = Merged::from_documents(&documents);
    let subject = Subject { class: Class::Modb, database: DATABASE, document_type: Some("call_recording") };
    let mut group = criterion.benchmark_group("plan");
    group.bench_function("merge two documents", |bencher| {
        bencher.iter(|| Merged::from_documents(black_box(&documents)));
    });
    group.bench_function("decide", |bencher| {
        bencher.iter(|| merged.decide(black_box(&subject)));
    });
    group.bench_function("decide pass-through", |bencher| {
        let subject = Subject { document_type: Some("fax"), ..subject };
        bencher.iter(|| merged.decide(black_box(&subject)));
    });
    let Ok(Placement::Store(decision)) = merged.decide(&subject) else {
        panic!("the plan does not store recordings");
    };
    let document = recording();
    let source = NameSource {
        account: Some(ACCOUNT),
        database: DATABASE,
        document_id: "202011-5e0f6c2a9d1b4c3f8a7e6d5c4b3a2910",
        attachment: "call recording.mp3",
        document: &document,
    };
    group.bench_function("compose a name", |bencher| {
        bencher.iter(|| compose(black_box(&decision.settings), black_box(&source)));
    });
    group.finish();
}

/// The system's plan: only recordings leave CouchDB, for an HTTP server.
fn system_plan() -> Value {
    json!({
        "_id": "system",
        "pvt_type": "storage",
        "attachments": {"00000000000000000000000000000001": {
            "handler": "http",
            "name": "recordings",
            "settings": {"url": "https://recordings.example.com/store", "verb": "post"},
        }},
        "plan": {"modb": {"types": {"call_recording": {
            "attachments": {"handler": "00000000000000000000000000000001"},
        }}}},
    })
}

/// An account's plan: its recordings go to its own bucket, in folders by owner.
fn account_plan() -> Value {
    json!({
        "_id": ACCOUNT,
        "pvt_type": "storage",
        "pvt_account_id": ACCOUNT,
        "attachments": {"00000000000000000000000000000002": {
            "handler": "s3",
            "name": "the account's bucket",
            "settings": {
                "bucket": "recordings-of-an-account",
                "key": "AKIDBENCH",
                "secret": "a-secret-of-the-bench",
                "region": "eu-central-1",
                "folder_base_path": "telephony",
                "field_list": [
                    {"arg": "account_id"},
                    {"field": "owner_id"},
                    {"group": [{"arg": "id"}, "_", {"arg": "attachment"}]},
                ],
            },
        }},
        "plan": {"modb": {"types": {"call_recording": {"attachments": {
            "handler": "00000000000000000000000000000002",
            "params": {"folder_path": "recordings"},
        }}}}},
    })
}

/// A recording's document.
fn recording() -> Document {
    let members = json!({
        "pvt_type": "call_recording",
        "pvt_account_id": ACCOUNT,
        "owner_id": "fedcba9876543210fedcba9876543210",
        "name": "call recording.mp3",
        "duration": 17,
    });
    Document::parse(members.to_string().as_bytes()).unwrap_or_default()
}
