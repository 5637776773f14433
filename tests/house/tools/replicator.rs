//! The stand-in for CouchDB's replicator rejects what CouchDB would reject.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use md5::{Digest as _, Md5};
use serde_json::{Value, json};

use stowage_testing::recorder::{Answer, Recorder};
use stowage_testing::replicator::{Fetched, Peer, parts, replicate};

const REV: &str = "2-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Returns a document with an attachment that follows.
fn document() -> Value {
    let digest = format!("md5-{}", STANDARD.encode(Md5::digest(b"bytes")));
    json!({
        "_id": "doc", "_rev": REV, "_revisions": { "start": 2, "ids": ["a".repeat(32), "b".repeat(32)] },
        "_attachments": { "a b.mp3": {
            "content_type": "audio/mpeg", "revpos": 1, "digest": digest, "length": 5, "follows": true,
        } },
    })
}

fn related(document: &Value) -> String {
    format!(
        "--x\r\nContent-Type: application/json\r\n\r\n{document}\r\n--x\r\n\
         Content-Disposition: attachment; filename=\"a b.mp3\"\r\nContent-Type: audio/mpeg\r\nContent-Length: 5\r\n\r\nbytes\r\n--x--"
    )
}

const KIND: &str = "multipart/related; boundary=\"x\"";

fn refusal(body: &str) -> Option<String> {
    Fetched::related(KIND, body.as_bytes()).err()
}

#[test]
fn a_document_as_couchdb_sends_it_is_read() {
    let read = Fetched::related(KIND, related(&document()).as_bytes()).unwrap();
    assert_eq!((read.id(), read.rev(), read.follows[0].encoded.as_slice()), ("doc", REV, &b"bytes"[..]));
    let gzip = "\u{1}\u{2}\u{3}";
    let digest = format!("md5-{}", STANDARD.encode(Md5::digest(gzip)));
    let mut packed = document();
    packed["_attachments"]["a b.mp3"] = json!({ "content_type": "text/plain", "revpos": 2, "digest": digest, "length": 900,
        "follows": true, "encoding": "gzip", "encoded_length": 3 });
    let body = related(&packed)
        .replace("audio/mpeg", "text/plain")
        .replace("Content-Length: 5", "Content-Encoding: gzip\r\nContent-Length: 3");
    assert_eq!(refusal(&body.replace("bytes\r\n", &format!("{gzip}\r\n"))), None);
}

#[test]
fn what_is_wrong_in_a_body_is_refused() {
    let right = related(&document());
    let wrong = [
        ("preamble", format!("hello\r\n{right}")),
        ("epilogue", format!("{right}\r\nbye")),
        ("no end", right.replace("--x--", "--x")),
        ("cut", right.replace("bytes\r\n--x--", "byt")),
        ("bytes", right.replace("\r\nbytes", "\r\nbytez")),
        ("length", right.replace("Content-Length: 5", "Content-Length: 6")),
        ("shorter", right.replace("\r\nbytes", "\r\nbyte")),
        ("no length", right.replace("Content-Length: 5\r\n", "")),
        ("name", right.replace("filename=\"a b.mp3\"", "filename=\"a%20b.mp3\"")),
        ("no name", right.replace("Content-Disposition: attachment; filename=\"a b.mp3\"\r\n", "")),
        ("type", right.replace("Content-Type: audio/mpeg", "Content-Type: audio/ogg")),
        ("encoding", right.replace("Content-Length: 5", "Content-Encoding: gzip\r\nContent-Length: 5")),
        ("twice", right.replace("Content-Length: 5", "Content-Length: 5\r\nContent-Length: 5")),
        ("document's type", right.replace("Content-Type: application/json", "Content-Type: text/plain")),
        ("document", right.replace("{\"_id\"", "{\"_id")),
        ("one too few", right.replacen("\"follows\":true", "\"stub\":true", 1)),
    ];
    for (what, body) in wrong {
        assert!(body != right && refusal(&body).is_some(), "{what}");
    }
    for kind in [
        "multipart/mixed; boundary=\"x\"",
        "multipart/related",
        "multipart/related; boundary=\"y\"",
        "multipart/related; boundary=\"x",
    ] {
        assert!(parts(kind, "multipart/related", right.as_bytes()).is_err(), "{kind}");
    }
}

#[test]
fn what_is_wrong_in_a_document_is_refused() {
    let wrong = [
        ("/_rev", json!("2-zz")),
        ("/_rev", json!("3-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")),
        ("/_id", Value::Null),
        ("/_revisions", Value::Null),
        ("/_revisions/start", json!(1)),
        ("/_revisions/ids", json!(["b".repeat(32)])),
        ("/_attachments", json!([1])),
        ("/_attachments/a b.mp3/revpos", json!(3)),
        ("/_attachments/a b.mp3/revpos", Value::Null),
        ("/_attachments/a b.mp3/digest", Value::Null),
        ("/_attachments/a b.mp3/digest", json!("md5-1B2M2Y8AsgTpgAmY7PhCfg==")),
        ("/_attachments/a b.mp3/length", json!("5")),
        ("/_attachments/a b.mp3/content_type", Value::Null),
        ("/_attachments/a b.mp3/follows", json!(false)),
    ];
    for (place, value) in wrong {
        let mut document = document();
        *document.pointer_mut(place).unwrap() = value;
        assert!(refusal(&related(&document)).is_some(), "{place}");
    }
    for (name, value) in [("_zzz", json!(1)), ("_revs_info", json!([]))] {
        let mut document = document();
        document[name] = value;
        assert!(refusal(&related(&document)).is_some(), "{name}");
    }
    let mut data = document();
    data["_attachments"]["a b.mp3"]["data"] = json!("Ynl0ZXM=");
    assert!(refusal(&related(&data)).is_some(), "data and bytes that follow");
    assert!(Fetched::alone(&document()).is_err(), "nothing follows");
}

/// Builds a complete JSON response.
fn answer(status: &str, body: &str) -> Answer {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    Answer::Bytes(head.into_bytes())
}

/// A server with scripted responses is both ends: an error in the last response ends the replication with a message about it.
#[tokio::test]
async fn what_is_wrong_in_an_answer_is_refused() {
    let info = r#"{"update_seq":"1-a","instance_start_time":"0"}"#;
    let table = [
        ("database", "{}", "", "no database"),
        ("checkpoint", info, r#"{"error":"bad"}"#, "instead of not_found"),
        ("last_seq", info, r#"{"results":[]}"#, "last_seq"),
        ("results", info, r#"{"last_seq":"1-a"}"#, "results"),
        ("revisions", info, r#"{"results":[{"seq":1,"id":"doc","changes":[]}],"last_seq":1}"#, "no revisions"),
        ("revision", info, r#"{"results":[{"seq":1,"id":"doc","changes":[{"rev":"x"}]}],"last_seq":1}"#, "no revision"),
        ("seq", info, r#"{"results":[{"id":"doc","changes":[{"rev":"x"}]}],"last_seq":1}"#, "no seq"),
        ("no object", info, "[]", "no object"),
        ("no JSON", info, "{", "EOF"),
    ];
    for (what, info, last, said) in table {
        let recorder = Recorder::start().await;
        recorder.next(Method::GET, 2, answer("200 OK", info));
        if what == "checkpoint" {
            recorder.next(Method::GET, 1, answer("404 Object Not Found", last));
        } else {
            recorder.next(
                Method::GET,
                2,
                answer("404 Object Not Found", r#"{"error":"not_found","reason":"missing"}"#),
            );
            recorder.next(Method::GET, 1, answer("200 OK", last));
        }
        let peer = Peer { address: recorder.address(), login: ("a".into(), "b".into()), database: "db".into() };
        let failure = replicate(&peer, &peer).await.unwrap_err();
        assert!(failure.contains(said), "{what}: {failure}");
    }
}
