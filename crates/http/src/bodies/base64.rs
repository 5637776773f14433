//! base64 (RFC 4648 section 4): encoding a body as it passes, decoding one with white space ignored, and a text as CouchDB does.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::{Body, BoxError};

/// How long `bytes` become, padded.
#[must_use]
pub const fn encoded_length(bytes: u64) -> u64 {
    bytes.div_ceil(3).saturating_mul(4)
}

/// The least length that decodes to `bytes`: without padding and white space.
#[must_use]
pub const fn least_encoded_length(bytes: u64) -> u64 {
    bytes.saturating_mul(4).div_ceil(3)
}

/// Whether a text can be base64, white space aside.
#[must_use]
pub fn is_alphabet(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte) || byte.is_ascii_whitespace())
}

/// Decodes a text as Erlang's `base64:decode/1` does: spaces, tabs and line breaks anywhere, padding where it belongs, and
/// whatever the last bits are.
#[must_use]
pub fn erlang(text: &[u8]) -> Option<Vec<u8>> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    if !text.iter().any(is_space) {
        return ERLANG.decode(text).ok();
    }
    ERLANG.decode(text.iter().copied().filter(|byte| !is_space(byte)).collect::<Vec<u8>>()).ok()
}

const ERLANG: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Encodes a body.
#[derive(Debug)]
pub struct Encode {
    body: Body,
    /// Bytes that wait: at the end of a frame fewer than three, within one the rest of it.
    rest: Bytes,
    ended: bool,
}

impl Encode {
    /// The base64 of `body`.
    #[must_use]
    pub const fn new(body: Body) -> Self {
        Self { body, rest: Bytes::new(), ended: false }
    }
}

impl HttpBody for Encode {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        while this.rest.len() < 3 && !this.ended {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)) else {
                this.ended = true;
                break;
            };
            let Ok(data) = frame?.into_data() else { continue };
            if this.rest.is_empty() {
                this.rest = data;
            } else {
                this.rest = [&*this.rest, &*data].concat().into();
            }
        }
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        let whole = this.rest.len() - this.rest.len() % 3;
        let taken = if whole == 0 { this.rest.len() } else { whole.min(PIECE_BYTES) };
        let piece = this.rest.split_to(taken);
        Poll::Ready(Some(Ok(Frame::data(STANDARD.encode(&piece).into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && (self.ended || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.body.size_hint().exact().map(|length| length + self.rest.len() as u64);
        length.map_or_else(SizeHint::default, |length| SizeHint::with_exact(encoded_length(length)))
    }
}

/// Undoes base64, piece by piece.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Fewer than four characters between calls.
    carry: BytesMut,
    padding: usize,
}

/// A text that is not base64.
#[derive(Debug)]
pub struct NotBase64;

impl Decoder {
    /// Decodes the next piece of the text.
    pub fn decode(&mut self, text: &[u8]) -> Result<Bytes, NotBase64> {
        for line in text.split_inclusive(|byte| byte.is_ascii_whitespace() || *byte == b'=') {
            let (characters, end) = match line.split_last() {
                Some((b'=', characters)) => (characters, 1),
                Some((last, characters)) if last.is_ascii_whitespace() => (characters, 0),
                _ => (line, 0),
            };
            if self.padding > 0 && !characters.is_empty() {
                return Err(NotBase64);
            }
            self.padding += end;
            self.carry.extend_from_slice(characters);
        }
        let whole = self.carry.len() - self.carry.len() % 4;
        let whole = self.carry.split_to(whole);
        STANDARD_NO_PAD.decode(&whole).map(Bytes::from).map_err(|_| NotBase64)
    }

    /// What is left at the end; the padding may be missing, but not be wrong.
    pub fn finish(&mut self) -> Result<Bytes, NotBase64> {
        let rest = self.carry.split();
        let fits = match rest.len() {
            0 => self.padding == 0,
            2 => matches!(self.padding, 0 | 2),
            3 => matches!(self.padding, 0 | 1),
            _ => false,
        };
        let decoded = STANDARD_NO_PAD.decode(&rest).map_err(|_| NotBase64)?;
        if fits { Ok(decoded.into()) } else { Err(NotBase64) }
    }
}

/// Decodes a body.
#[derive(Debug)]
pub struct Decode {
    body: Body,
    decoder: Option<Decoder>,
}

impl Decode {
    /// What `body` is the base64 of.
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self { body, decoder: Some(Decoder::default()) }
    }
}

impl HttpBody for Decode {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        while let Some(decoder) = &mut this.decoder {
            let decoded = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(frame) => {
                    let Ok(data) = frame?.into_data() else { continue };
                    decoder.decode(&data)
                }
                None => {
                    let last = decoder.finish();
                    this.decoder = None;
                    last
                }
            };
            match decoded {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(NotBase64) => {
                    this.decoder = None;
                    return Poll::Ready(Some(Err("the stored object is not base64".into())));
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.decoder.is_none()
    }
}

/// What is encoded at once; a multiple of three, so that pieces join without padding.
const PIECE_BYTES: usize = 48 << 10;
