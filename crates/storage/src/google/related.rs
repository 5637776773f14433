//! Metadata and bytes in one request: `multipart/related` with two parts (RFC 2387; "Multipart upload" in Google's documentation).

use bytes::{BufMut, Bytes, BytesMut};
use http::header::HeaderValue;
use serde_json::Value;
use uuid::Uuid;

use crate::engine::media;
use crate::{Error, Kind, Result};

/// Returns media type and body of a request. `data` becomes a slice of the body, so that it is in memory only once.
///
/// # Errors
/// Never: the boundary is valid in a header.
pub(super) fn related(metadata: &Value, media_type: &str, data: &mut Bytes) -> Result<(HeaderValue, Bytes)> {
    let boundary = Uuid::new_v4().simple().to_string();
    let head = format!(
        "--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{metadata}\r\n\
         --{boundary}\r\nContent-Type: {media_type}\r\n\r\n"
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    let mut body = BytesMut::with_capacity(head.len() + data.len() + tail.len());
    body.put_slice(head.as_bytes());
    body.put_slice(data);
    body.put_slice(tail.as_bytes());
    let body = body.freeze();
    *data = body.slice(head.len()..body.len() - tail.len());
    let header = HeaderValue::from_str(&format!("multipart/related; boundary={boundary}"))
        .map_err(|_| Error::new(Kind::Refused, "a request to Google cannot be made"))?;
    Ok((header, body))
}

/// Returns the media type for header and metadata, excluding those that make Drive convert the file to its own format.
pub(super) fn media_type(given: &str) -> String {
    let text = media::media_type(given);
    let converts = text.to_ascii_lowercase().starts_with("application/vnd.google-apps.");
    if text.contains('/') && !converts { text } else { media::BYTES.to_owned() }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::{media_type, related};

    #[test]
    fn the_parts_stand_between_boundaries() {
        let mut data = Bytes::from_static(b"\r\n--x\0\xff");
        let (header, body) = related(&json!({"name": "a\r\n"}), "audio/mpeg", &mut data).unwrap();
        let boundary = header.to_str().unwrap().split_once("boundary=").unwrap().1;
        let text = [
            format!(
                "--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{{\"name\":\"a\\r\\n\"}}\r\n"
            ),
            format!("--{boundary}\r\nContent-Type: audio/mpeg\r\n\r\n"),
        ];
        let mut expected = text.concat().into_bytes();
        expected.extend_from_slice(&data);
        expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        assert_eq!(body, expected);
        assert_eq!(&data[..], b"\r\n--x\0\xff");
    }

    #[test]
    fn media_types_cannot_break_out_of_their_line() {
        assert_eq!(media_type("audio/mpeg;  charset=x"), "audio/mpeg; charset=x");
        assert_eq!(media_type("a/b\r\nc: d"), "a/b c: d");
        for unfit in ["", "nonsense", "a/\u{7f}", "Application/vnd.google-apps.document"] {
            assert_eq!(media_type(unfit), "application/octet-stream", "{unfit}");
        }
    }
}
