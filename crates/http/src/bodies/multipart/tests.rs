//! Multipart bodies: whole, fragmented, truncated and malformed.

use std::convert::Infallible;
use std::task::Waker;

use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;

use super::*;

type Read = Vec<(HeaderMap, Vec<u8>)>;

/// Reads a body that arrives in pieces of `size` bytes.
async fn read(body: &[u8], boundary: &str, size: usize) -> Result<Read, Error<Infallible>> {
    let frames = body.chunks(size).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))));
    let mut parts = Parts::of_request(StreamBody::new(stream::iter(frames.collect::<Vec<_>>())), boundary);
    let mut whole = Vec::new();
    while let Some(headers) = parts.next().await? {
        let mut data = Vec::new();
        while let Some(piece) = parts.data().await? {
            assert!(!piece.is_empty());
            data.extend_from_slice(&piece);
        }
        whole.push((headers, data));
    }
    Ok(whole)
}

fn data(read: Read) -> Vec<Vec<u8>> {
    read.into_iter().map(|(_, data)| data).collect()
}

#[tokio::test]
async fn parts_are_read_however_the_bytes_come() {
    let body = b"passed over--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\n\r\nno\r\nheader\r\n--b\r\n\
        A: 1\r\nA: 2\r\n\r\n\r\n--b\r\n\r\n\r\r\n-\r\n--a\r\n--b--\r\nbehind";
    for size in 1..=body.len() {
        let read = read(body, "b", size).await.unwrap();
        assert_eq!(read[0].0["content-type"], "application/json");
        let expected: [&[u8]; 4] = [b"{}", b"no\r\nheader", b"", b"\r\r\n-\r\n--a"];
        assert_eq!(data(read), expected, "pieces of {size}");
    }
}

#[tokio::test]
async fn what_is_not_read_of_a_part_is_passed_over() {
    let body = http_body_util::Full::new(Bytes::from_static(b"--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--"));
    let mut parts = Parts::new(body, "b");
    assert!(parts.data().await.unwrap().is_none());
    assert!(parts.next().await.unwrap().is_some());
    assert!(parts.next().await.unwrap().is_some());
    assert_eq!(parts.data().await.unwrap().unwrap(), "two");
    assert!(parts.next().await.unwrap().is_none());
    assert!(parts.next().await.unwrap().is_none());
}

#[test]
fn the_first_part_ends_at_the_second_delimiter() {
    for (text, expected) in [
        ("--b\r\nA: 1\r\n\r\n{}\r\n--b\r\n\r\ntwo\r\n--b--", "\r\n--b\r\n\r\ntwo\r\n--b--"),
        ("before\r\n--b\r\n\r\n{}\r\n--b--", "\r\n--b--"),
        ("--b\r\n\r\n--b\r\n--b--", "\r\n--b\r\n--b--"),
    ] {
        assert_eq!(end_of_first(text.as_bytes(), "b").and_then(|end| text.get(end..)), Some(expected), "{text}");
    }
    assert_eq!(end_of_first(b"--b\r\n\r\n{}", "b"), None);
}

#[tokio::test]
async fn a_body_cut_anywhere_is_an_error() {
    let body = b"--b\r\nA: 1\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--";
    for end in 0..body.len() {
        assert!(matches!(read(&body[..end], "b", 5).await, Err(Error::Cut)), "{end}");
    }
}

/// CouchDB's replicator emits attachment names unescaped.
#[tokio::test]
async fn whatever_stands_in_headers_a_part_is_read() {
    for head in [
        "Content-Disposition: attachment; filename=\"a\nb\"",
        "Content-Disposition: attachment; filename=\"a\rb\u{1}\u{7f}\0\"",
        "Content-Disposition: attachment; filename=\"a\r\nb: c\"\r\nA: 1",
        "Content-Disposition: attachment; filename=\"\u{e9}\"",
        "Content-Disposition: attachment;\r\n filename=x:y",
        "a b c: 1\r\n: 2\r\n\u{e9}: 3",
        "",
    ] {
        let line = if head.is_empty() { "" } else { "\r\n" };
        let body = format!("--b{line}{head}\r\n\r\none\r\n--b--");
        for size in [1, 7, 1000] {
            assert_eq!(data(read(body.as_bytes(), "b", size).await.unwrap()), [b"one"], "{head:?}");
        }
    }
    let folded = b"--b\r\nContent-Type: a/b;\n\tx=y\r\n\r\none\r\n--b--";
    assert_eq!(read(folded, "b", 1000).await.unwrap()[0].0["content-type"], "a/b; x=y");
}

#[tokio::test]
async fn a_line_without_a_colon_is_refused_in_requests_only() {
    let body = Bytes::from_static(b"--b\r\nA: 1\r\nnothing\r\n\r\none\r\n--b--");
    let mut answer = Parts::new(http_body_util::Full::new(body.clone()), "b");
    assert_eq!(answer.next().await.unwrap().unwrap()["a"], "1");
    let mut request = Parts::of_request(http_body_util::Full::new(body), "b");
    assert!(matches!(request.next().await, Err(Error::Headers)));
}

#[tokio::test]
async fn headers_and_what_is_passed_over_are_bounded() {
    for begin in [&b"--b\r\nA: "[..], b""] {
        let endless = [begin, &[b'x'; 2 * MOST_BETWEEN]].concat();
        assert!(matches!(read(&endless, "b", 1000).await, Err(Error::Headers)));
    }
}

#[test]
fn long_headers_in_small_pieces_are_copied_and_searched_once() {
    let mut body = b"--b\r\nA: ".to_vec();
    body.resize(MOST_BETWEEN - 100, b'x');
    body.extend_from_slice(b"\r\n\r\none\r\n--b--");
    let mut pieces = body.chunks(1).map(Bytes::copy_from_slice).collect::<Vec<_>>().into_iter();
    let mut pauses = false;
    let paced = stream::poll_fn(move |_| {
        pauses = !pauses;
        if pauses {
            return Poll::Pending;
        }
        Poll::Ready(pieces.next().map(|piece| Ok::<_, Infallible>(Frame::data(piece))))
    });
    let mut parts = Parts::of_request(StreamBody::new(paced), "b");
    let mut cx = Context::from_waker(Waker::noop());
    let (mut place, mut moves) = (parts.rest.as_ptr(), 0);
    let headers = loop {
        if let Poll::Ready(headers) = parts.poll_next(&mut cx) {
            break headers.unwrap().unwrap();
        }
        moves += usize::from(parts.rest.as_ptr() != place);
        place = parts.rest.as_ptr();
        assert!(parts.rest.len() < parts.searched + BLANK_LINE.len());
    };
    assert!(headers["a"].len() > MOST_BETWEEN - 200);
    assert!(moves < 100, "the buffer moved {moves} times");
}

#[tokio::test]
async fn the_media_type_is_that_of_the_last_field() {
    for (head, expected) in [
        ("Content-Type: Application/JSON", "application/json"),
        (" content-type :  application/json ; x", "application/json"),
        ("Content-Type: text/plain\r\nContent-Type: application/json", "application/json"),
        ("Content-Type: application/jsonx", "application/jsonx"),
        ("Content-Type: application/json; a=\"\u{1}\u{e9}\"", "application/json"),
        ("Content-Type: ;application/json", ""),
        ("A: 1", ""),
    ] {
        let body = format!("--b\r\n{head}\r\n\r\none\r\n--b--");
        let read = read(body.as_bytes(), "b", 1000).await.unwrap();
        assert_eq!(media_type(&read[0].0), expected, "{head}");
    }
}

/// Parsed like mochiweb does.
#[test]
fn a_boundary_may_be_quoted() {
    let cases = [
        ("multipart/related; boundary=abc", Some("abc")),
        ("multipart/related;type=\"a;b\";boundary=abc", Some("abc")),
        ("multipart/related;boundary=abc;boundary=x", Some("abc")),
        ("multipart/related; type=\"application/json; x\" ; Boundary = abc ; y=z", Some("abc")),
        ("multipart/related; boundary=\"a\\\"b\"", Some("a\"b")),
        ("multipart/related; boundary=\"abc", Some("abc")),
        ("multipart/related; boundary=\"a\"b", Some("a\"b")),
        ("multipart/related; boundary=\"\"", None),
        ("multipart/related; type=x", None),
        ("multipart/related", None),
        ("boundary=abc", None),
    ];
    for (given, expected) in cases {
        assert_eq!(boundary(given).as_deref(), expected, "{given}");
    }
}

#[expect(clippy::result_large_err, reason = "proptest's own error")]
mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            body in prop::collection::vec(prop::sample::select(b"\r\n-b:x ".to_vec()), 0..200),
            size in 1_usize..50,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let whole = runtime.block_on(read(&body, "b", body.len().max(1))).map(data).map_err(|error| error.to_string());
            let pieces = runtime.block_on(read(&body, "b", size)).map(data).map_err(|error| error.to_string());
            prop_assert_eq!(whole, pieces);
        }

        #[test]
        fn parts_come_back_as_they_were_sent(
            parts in prop::collection::vec(prop::collection::vec(prop::sample::select(b"\r\n-bx".to_vec()), 0..40), 1..5),
            size in 1_usize..50,
        ) {
            let parts: Vec<_> = parts.into_iter().filter(|part| ![b"\r\n", part.as_slice()].concat().windows(5).any(|bytes| bytes == b"\r\n--b")).collect();
            let mut body = b"--b".to_vec();
            for part in &parts {
                body.extend_from_slice(b"\r\n\r\n");
                body.extend_from_slice(part);
                body.extend_from_slice(b"\r\n--b");
            }
            body.extend_from_slice(b"--");
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            prop_assert_eq!(data(runtime.block_on(read(&body, "b", size)).unwrap()), parts);
        }
    }
}
