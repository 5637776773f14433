//! Feeds arbitrary bytes as a multipart body, in chunks of arbitrary size. The chunk size must not change the parts, and the reader must not
//! panic.

#![no_main]

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame};
use libfuzzer_sys::fuzz_target;
use stowage_http::multipart::Parts;

struct Pieces(Vec<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.get_mut().0.pop().map(|piece| Ok(Frame::data(piece))))
    }
}

/// Returns the bytes of the readable parts, and whether the body was read to its end.
fn read(bytes: &[u8], size: usize) -> (Vec<Vec<u8>>, bool) {
    let pieces = bytes.chunks(size).rev().map(Bytes::copy_from_slice).collect();
    let (mut parts, mut read) = (Parts::new(Pieces(pieces), "b"), Vec::new());
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        match parts.poll_next(&mut cx) {
            Poll::Ready(Ok(Some(_))) => {}
            Poll::Ready(Ok(None)) => return (read, true),
            Poll::Ready(Err(_)) => return (read, false),
            Poll::Pending => panic!("nothing is waited for"),
        }
        let mut data = Vec::new();
        while let Poll::Ready(Ok(Some(piece))) = parts.poll_data(&mut cx) {
            assert!(!piece.is_empty());
            data.extend_from_slice(&piece);
        }
        read.push(data);
    }
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = (usize::from(input.0).max(1), input.1);
    assert_eq!(read(bytes, size), read(bytes, bytes.len().max(1)));
});
