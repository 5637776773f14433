//! Decides whether a response is the object itself or its base64, whatever was stored.
//!
//! The length in the document decides: raw if it matches, else base64. If neither the length nor the end of a response is known
//! yet, its first chunk is read: what cannot be base64 is raw, and only what could be both is assumed to be in the stored form.

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use stowage_http::base64::{self, Decoder, is_alphabet, least_encoded_length};
use stowage_http::body::Body;
use stowage_http::range::Exact;
use stowage_http::written::written;

use crate::error::{Error, Kind, Result};
use crate::{Budget, CHUNK_BYTES, Permit};

/// Returns the object's bytes, exactly `length` of them.
///
/// # Errors
/// `Refused` if the response is already known to be neither the object nor its base64.
pub(super) async fn object(body: Body, length: u64, base64_stored: bool, budget: &Budget) -> Result<Body> {
    let announced = body.size_hint().exact();
    if announced == Some(length) {
        return Ok(Body::boxed(Exact::new(body, length)));
    }
    if announced.is_some_and(|announced| announced < least_encoded_length(length)) {
        return Err(neither());
    }
    let start = Start::read(body, announced, budget).await?;
    if start.ended {
        return Ok(Body::boxed(Exact::new(start.whole(length)?, length)));
    }
    let may_be_raw = announced.is_none() && start.bytes.len() as u64 <= length;
    let may_be_base64 = is_alphabet(&start.bytes);
    let raw = match (may_be_raw, may_be_base64) {
        (true, true) => !base64_stored,
        (true, false) => true,
        (false, true) => false,
        (false, false) => return Err(neither()),
    };
    let body = start.onwards();
    let body = if raw { body } else { base64::decoded(body) };
    Ok(Body::boxed(Exact::new(body, length)))
}

/// The start of a body in memory.
struct Start {
    bytes: Bytes,
    ended: bool,
    rest: Body,
    permit: Option<Permit>,
}

impl Start {
    /// Reads up to one chunk.
    async fn read(mut body: Body, announced: Option<u64>, budget: &Budget) -> Result<Self> {
        let most = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let permit = budget.share(most).await;
        let mut bytes = BytesMut::new();
        let mut ended = false;
        while !ended && bytes.len() < CHUNK_BYTES {
            match body.frame().await {
                None => ended = true,
                Some(Err(error)) => return Err(Error::of_body(error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        bytes.extend_from_slice(&data);
                    }
                }
            }
        }
        Ok(Self { bytes: bytes.freeze(), ended, rest: body, permit })
    }

    /// Returns the object, if the whole response is in memory.
    fn whole(self, length: u64) -> Result<Body> {
        let bytes = if self.bytes.len() as u64 == length { Some(self.bytes.clone()) } else { decoded(&self.bytes) };
        let bytes = bytes.filter(|bytes| bytes.len() as u64 == length).ok_or_else(neither)?;
        Ok(Self { bytes, rest: Body::empty(), ..self }.onwards())
    }

    fn onwards(self) -> Body {
        let Self { bytes, rest, permit, .. } = self;
        written(move |mut out| async move {
            out.send(bytes).await;
            drop(permit);
            out.send_all(rest).await
        })
    }
}

fn decoded(text: &[u8]) -> Option<Bytes> {
    let mut decoder = Decoder::default();
    let start = decoder.decode(text).ok()?;
    let end = decoder.finish().ok()?;
    Some(if end.is_empty() { start } else { [start, end].concat().into() })
}

fn neither() -> Error {
    Error::new(Kind::Refused, "the server's answer is neither the stored object nor base64 of it")
}
