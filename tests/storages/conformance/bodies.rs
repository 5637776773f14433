//! Bodies for uploads: with known and unknown lengths, waiting, and broken.

use crate::conformance::prelude::*;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use stowage_http::body::BoxError;
use tokio::sync::Notify;

/// Returns the byte at a position, without a period that could hide a lost chunk or frame.
pub fn byte(at: u64) -> u8 {
    let mixed = (at ^ (at >> 13)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    u8::try_from(mixed >> 56).unwrap_or_default()
}

/// Returns the first bytes of the pattern, which are computed only once: without optimization, that would be slower than the code under test.
pub fn bytes(length: usize) -> Vec<u8> {
    static KNOWN: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    let mut known = KNOWN.lock().expect("the pattern");
    let first = known.len();
    known.extend((first..length).map(|at| byte(at as u64)));
    known[..length].to_vec()
}

/// The behavior of a body after its last byte.
#[derive(Debug, Clone)]
pub enum End {
    /// It ends properly.
    Ends,
    /// It fails.
    Breaks,
    /// It notifies, and then waits forever.
    Waits(Arc<Notify>),
}

/// A body in frames of 64 KiB.
pub struct Frames {
    data: Bytes,
    announced: Option<u64>,
    end: End,
    over: bool,
    seen: Option<Box<dyn FnMut() + Send>>,
}

impl Frames {
    pub fn new(data: impl Into<Bytes>) -> Self {
        Self { data: data.into(), announced: None, end: End::Ends, over: false, seen: None }
    }

    /// Sets the announced length.
    pub fn announcing(mut self, length: u64) -> Self {
        self.announced = Some(length);
        self
    }

    pub fn then(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// Sets a callback for every frame.
    pub fn watched(mut self, seen: impl FnMut() + Send + 'static) -> Self {
        self.seen = Some(Box::new(seen));
        self
    }

    pub fn body(self) -> Body {
        Body::boxed(self)
    }
}

impl HttpBody for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Some(seen) = &mut this.seen {
            seen();
        }
        if !this.data.is_empty() {
            let frame = this.data.split_to(this.data.len().min(64 << 10));
            this.announced = this.announced.map(|left| left.saturating_sub(frame.len() as u64));
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        match &this.end {
            _ if this.over => Poll::Ready(None),
            End::Ends => Poll::Ready(None),
            End::Breaks => {
                this.over = true;
                Poll::Ready(Some(Err("the client is gone".into())))
            }
            End::Waits(reached) => {
                reached.notify_one();
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.announced.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
