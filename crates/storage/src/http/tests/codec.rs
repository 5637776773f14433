//! base64 and multipart with arbitrarily split bodies.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use http_body::Body as HttpBody;
use http_body_util::StreamBody;
use hyper::body::Frame;
use proptest::prelude::*;
use stowage_http::base64::{decoded, encoded, encoded_length, least_encoded_length};
use stowage_http::body::{Body, BoxError, collect};

use super::super::form::{Form, Subtype};
use super::object;

fn frames(pieces: &[Bytes]) -> Body {
    let frames: Vec<Result<_, BoxError>> = pieces.iter().map(|piece| Ok(Frame::data(piece.clone()))).collect();
    Body::boxed(StreamBody::new(stream::iter(frames)))
}

fn split(bytes: &[u8], sizes: &[usize]) -> Vec<Bytes> {
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut pieces = Vec::new();
    for size in sizes {
        pieces.push(rest.split_to((*size).min(rest.len())));
    }
    pieces.push(rest);
    pieces
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #[test]
    fn encoding_does_not_depend_on_frames(bytes: Vec<u8>, sizes in prop::collection::vec(0_usize..9, 0..20)) {
        let text = run(collect(encoded(frames(&split(&bytes, &sizes))), 1 << 30)).unwrap();
        prop_assert_eq!(&text, &STANDARD.encode(&bytes));
        prop_assert_eq!(text.len() as u64, encoded_length(bytes.len() as u64));
        let bare = STANDARD.encode(&bytes).trim_end_matches('=').len() as u64;
        prop_assert_eq!(bare, least_encoded_length(bytes.len() as u64));
    }

    #[test]
    fn decoding_ignores_frames_white_space_and_missing_padding(
        bytes: Vec<u8>,
        sizes in prop::collection::vec(0_usize..9, 0..20),
        blanks in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(vec![' ', '\n', '\r', '\t'])), 0..9),
        padded: bool,
    ) {
        let mut text = STANDARD.encode(&bytes);
        if !padded {
            text = text.trim_end_matches('=').to_owned();
        }
        for (place, blank) in blanks {
            text.insert(place.index(text.len() + 1), blank);
        }
        let bytes_again = run(collect(decoded(frames(&split(text.as_bytes(), &sizes))), 1 << 30)).unwrap();
        prop_assert_eq!(bytes_again, bytes);
    }

    #[test]
    fn multipart_comes_back_as_it_went(
        bytes: Vec<u8>,
        sizes in prop::collection::vec(0_usize..9, 0..9),
        base64: bool,
        form_data: bool,
    ) {
        let subtype = if form_data { Subtype::FormData } else { Subtype::Mixed };
        let object = object("acc/doc1/a%20\"b%22.mp3");
        let wire = Form { multipart: Some(subtype), base64 }.of(&object);
        let content_type = wire.content_type.to_str().unwrap().to_owned();
        let boundary = content_type.split_once("; boundary=").unwrap().1.to_owned();
        let sent = run(collect(wire.wrap(frames(&split(&bytes, &sizes))), 1 << 30)).unwrap();
        let exact = wire.wrap(Body::full(bytes.clone())).size_hint().exact();
        prop_assert_eq!(exact, Some(sent.len() as u64));
        let text = String::from_utf8_lossy(&sent);
        let (first, last) = (format!("--{boundary}\r\n"), format!("\r\n--{boundary}--\r\n"));
        prop_assert!(text.starts_with(&first) && text.ends_with(&last));
        let parts = run(parts(boundary, sent));
        let expected = if base64 { STANDARD.encode(&bytes).into_bytes() } else { bytes };
        prop_assert_eq!(parts.len(), 2);
        prop_assert_eq!(&parts[0].1, &serde_json::to_string(&object.document).unwrap());
        prop_assert_eq!(&parts[0].2, "application/json");
        prop_assert_eq!(&parts[1].1, &expected);
        prop_assert_eq!(&parts[1].2, "audio/mp3");
        let names = form_data.then_some(("doc1", "a %22b%22.mp3"));
        prop_assert_eq!(parts[0].0.as_deref(), names.map(|names| names.0));
        prop_assert_eq!(parts[1].0.as_deref(), names.map(|names| names.1));
        prop_assert_eq!(parts[1].3.as_deref(), base64.then_some("base64"));
    }
}

type Part = (Option<String>, Bytes, String, Option<String>);

async fn parts(boundary: String, body: Bytes) -> Vec<Part> {
    let mut multipart = multer::Multipart::new(stream::iter([Ok::<_, std::io::Error>(body)]), boundary);
    let mut parts = Vec::new();
    while let Some(field) = multipart.next_field().await.unwrap() {
        let name = field.name().map(str::to_owned);
        let header = |name: &str| field.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (content_type, encoding) = (header("content-type").unwrap(), header("content-transfer-encoding"));
        parts.push((name, field.bytes().await.unwrap(), content_type, encoding));
    }
    parts
}

#[test]
fn text_that_is_not_base64_is_an_error() {
    for text in ["a", "abcde", "ab=c", "abc==", "ab===", "a\u{1}bc", "<html>", "=", "abcd=", "-_-_"] {
        let outcome = run(collect(decoded(Body::full(text)), 1 << 30));
        assert!(outcome.is_err(), "{text:?}");
    }
}

#[test]
fn large_frames_are_encoded_in_pieces() {
    let bytes = super::recording(200_001);
    let text = run(collect(encoded(Body::full(bytes.clone())), 1 << 30)).unwrap();
    assert_eq!(text, STANDARD.encode(&bytes));
}
