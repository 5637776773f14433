//! `multipart/byteranges`, byte for byte the way CouchDB sends it.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use stowage_http::body::{Body, BoxError};
use stowage_http::headers::one_line_text;
use stowage_http::range::ByteRange;

use crate::error::Error;
use crate::object::source::Source;
use crate::upstream::answer::empty;

/// Returns a new boundary.
pub(crate) fn boundary() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Builds the head of the response, which is all that a HEAD gets.
pub(crate) fn head(boundary: &str) -> Result<Response<Body>, Error> {
    let media_type = HeaderValue::try_from(format!("multipart/byteranges; boundary=\"{boundary}\""))
        .map_err(|_| Error::Bug("a boundary is no header value"))?;
    Ok(empty(StatusCode::PARTIAL_CONTENT, HeaderMap::from_iter([(CONTENT_TYPE, media_type)])))
}

/// Streams the parts one after another. The first is opened up front, so that a missing object gets its status.
pub(crate) async fn body(source: Source, ranges: Vec<ByteRange>, boundary: String) -> Result<Body, Error> {
    let opened = match ranges.first() {
        Some(first) => Some(source.open(Some(*first)).await?),
        None => None,
    };
    let state = State { source, ranges: ranges.into_iter(), opened, boundary, step: Step::Head };
    let stream = stream::unfold(Some(state), |state| async {
        let mut state = state?;
        match state.next().await {
            Ok(Some(bytes)) => Some((Ok(Frame::data(bytes)), Some(state))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(Body::boxed(StreamBody::new(stream.boxed())))
}

struct State {
    source: Source,
    ranges: std::vec::IntoIter<ByteRange>,
    /// The body of the current part.
    opened: Option<Body>,
    boundary: String,
    step: Step,
}

enum Step {
    /// The line before the first part.
    Head,
    /// The headers of the next part, or the end.
    Between,
    /// The bytes of a part.
    Inside,
    End,
}

impl State {
    async fn next(&mut self) -> Result<Option<Bytes>, BoxError> {
        loop {
            match self.step {
                Step::Head => {
                    self.step = Step::Between;
                    return Ok(Some(format!("--{}", self.boundary).into()));
                }
                Step::Between => {
                    let Some(range) = self.ranges.next() else {
                        self.step = Step::End;
                        return Ok(Some("--".into()));
                    };
                    if self.opened.is_none() {
                        self.opened = Some(self.source.open(Some(range)).await?);
                    }
                    self.step = Step::Inside;
                    return Ok(Some(self.part_head(range)));
                }
                Step::Inside => {
                    if let Some(body) = &mut self.opened
                        && let Some(frame) = body.frame().await
                    {
                        if let Ok(data) = frame?.into_data() {
                            return Ok(Some(data));
                        }
                        continue;
                    }
                    self.opened = None;
                    self.step = Step::Between;
                    return Ok(Some(format!("\r\n--{}", self.boundary).into()));
                }
                Step::End => return Ok(None),
            }
        }
    }

    fn part_head(&self, range: ByteRange) -> Bytes {
        let pointer = &self.source.pointer;
        let (media_type, total) = (one_line_text(&pointer.content_type), self.source.length.unwrap_or_default());
        format!("\r\nContent-Type: {media_type}\r\nContent-Range: bytes {}-{}/{total}\r\n\r\n", range.first, range.last)
            .into()
    }
}
