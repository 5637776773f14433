//! `multipart/byteranges`, byte for byte the way CouchDB sends it.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use stowage_http::body::Body;
use stowage_http::headers::one_line_text;
use stowage_http::range::ByteRange;
use stowage_http::written::written;

use crate::error::Error;
use crate::object::source::Source;
use crate::upstream::answer::empty;

/// Returns a new boundary.
pub(crate) fn boundary() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Builds the head of the response, which is all that a HEAD gets, from the headers that are kept of CouchDB's response.
pub(crate) fn head(mut headers: HeaderMap, boundary: &str) -> Result<Response<Body>, Error> {
    let media_type = HeaderValue::try_from(format!("multipart/byteranges; boundary=\"{boundary}\""))
        .map_err(|_| Error::Bug("a boundary is no header value"))?;
    // CouchDB sends it with a single range only.
    headers.remove(CACHE_CONTROL);
    headers.insert(CONTENT_TYPE, media_type);
    Ok(empty(StatusCode::PARTIAL_CONTENT, headers))
}

/// Streams the parts one after another. The first is opened up front, so that a missing object gets its status.
pub(crate) async fn body(source: Source, ranges: Vec<ByteRange>, boundary: String) -> Result<Body, Error> {
    let mut opened = match ranges.first() {
        Some(first) => Some(source.open(Some(*first)).await?),
        None => None,
    };
    Ok(written(|mut out| async move {
        out.send(format!("--{boundary}")).await;
        for range in ranges {
            let body = match opened.take() {
                Some(body) => body,
                None => source.open(Some(range)).await?,
            };
            out.send(part_head(&source, range)).await;
            out.send_all(body).await?;
            out.send(format!("\r\n--{boundary}")).await;
        }
        out.send("--").await;
        Ok(())
    }))
}

fn part_head(source: &Source, range: ByteRange) -> String {
    let (media_type, total) = (one_line_text(&source.pointer.content_type), source.length.unwrap_or_default());
    format!("\r\nContent-Type: {media_type}\r\nContent-Range: bytes {}-{}/{total}\r\n\r\n", range.first, range.last)
}
