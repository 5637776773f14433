//! base64 (RFC 4648 section 4): streaming encoder, streaming decoder that ignores white space, and CouchDB-compatible decoding.

use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::body::{Body, BoxError};
use crate::range::Exact;
use crate::written::written;

/// Returns the padded length of `bytes` after encoding.
#[must_use]
pub const fn encoded_length(bytes: u64) -> u64 {
    bytes.div_ceil(3).saturating_mul(4)
}

/// Returns the minimal length that decodes to `bytes`: without padding or white space.
#[must_use]
pub const fn least_encoded_length(bytes: u64) -> u64 {
    bytes.saturating_mul(4).div_ceil(3)
}

/// Returns whether a text has only characters of the base64 alphabet and white space.
#[must_use]
pub fn is_alphabet(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte) || byte.is_ascii_whitespace())
}

/// Decodes like Erlang's `base64:decode/1`: ignores spaces, tabs and line breaks, requires padding, and accepts any trailing bits.
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

/// Encodes a body as base64.
#[must_use]
pub fn encoded(mut body: Body) -> Body {
    let length = body.size_hint().exact().map(encoded_length);
    let encoded = written(move |mut out| async move {
        // Fewer than three bytes between frames.
        let mut rest = Bytes::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            rest = if rest.is_empty() { data } else { [&*rest, &*data].concat().into() };
            while rest.len() >= 3 {
                let whole = rest.len() - rest.len() % 3;
                out.send(STANDARD.encode(rest.split_to(whole.min(PIECE_BYTES)))).await;
            }
        }
        out.send(STANDARD.encode(rest)).await;
        Ok(())
    });
    Exact::announced(encoded, length)
}

/// Incremental base64 decoder.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Fewer than four characters between calls.
    carry: BytesMut,
    padding: usize,
}

/// The text is not base64.
#[derive(Debug)]
pub struct NotBase64;

impl Decoder {
    /// Decodes the next chunk of text.
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

    /// Decodes the remainder; padding may be missing, but not wrong.
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

/// Decodes a base64 body.
#[must_use]
pub fn decoded(mut body: Body) -> Body {
    written(move |mut out| async move {
        let not_base64 = |_| BoxError::from("the stored object is not base64");
        let mut decoder = Decoder::default();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            out.send(decoder.decode(&data).map_err(not_base64)?).await;
        }
        out.send(decoder.finish().map_err(not_base64)?).await;
        Ok(())
    })
}

/// Bytes encoded at once; a multiple of three, so that chunks join without padding.
const PIECE_BYTES: usize = 48 << 10;
