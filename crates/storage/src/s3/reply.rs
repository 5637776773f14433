//! What S3 answers, and what of it may pass.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ETAG, HeaderMap};
use http::{Response, StatusCode};
use stowage_http::body::Body;
use stowage_http::idle::collect_within;

use super::xml;
use crate::engine::tries::retry_after;
use crate::{Error, Kind, Result};

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The object; empty for failures and documents.
    pub(super) body: Body,
    /// The document, where one was asked for.
    pub(super) document: Bytes,
    /// The code of a failure: also of one that came with a status of success, as `CompleteMultipartUpload` may answer.
    code: Option<String>,
    said: Bytes,
    /// Whether an earlier try of this call may have had its effect.
    pub(super) doubtful: bool,
}

impl Reply {
    pub(super) async fn read(response: Response<Body>, document: bool, limit: Option<Duration>) -> Result<Self> {
        let (head, body) = response.into_parts();
        let mut reply = Self {
            status: head.status,
            headers: head.headers,
            body: Body::empty(),
            document: Bytes::new(),
            code: None,
            said: Bytes::new(),
            doubtful: false,
        };
        if !head.status.is_success() {
            // An answer of a proxy in between may be long, or no XML at all: then the status has to do.
            let text = collect_within(limit, body, LONGEST_ERROR).await.unwrap_or_default();
            reply.code = Some(xml::error_code(&text).unwrap_or_default());
            reply.said = text;
        } else if document {
            reply.document = collect_within(limit, body, LONGEST_DOCUMENT).await.map_err(Error::of_body)?;
            reply.code = xml::error_code(&reply.document);
        } else {
            reply.body = body;
        }
        Ok(reply)
    }

    /// Whether the call was done.
    pub(super) const fn is_done(&self) -> bool {
        self.code.is_none()
    }

    pub(super) fn is(&self, status: StatusCode) -> bool {
        self.status == status && !self.is_done()
    }

    /// Whether the object is not there. Any other 404 says something else: of the bucket, of an upload, or of a proxy.
    pub(super) fn is_no_key(&self) -> bool {
        self.is(StatusCode::NOT_FOUND) && self.code() == "NoSuchKey"
    }

    /// The code of a failure.
    pub(super) fn code(&self) -> &str {
        self.code.as_deref().unwrap_or_default()
    }

    /// What a failure says.
    pub(super) fn said(&self) -> &[u8] {
        &self.said
    }

    /// The object's tag as the server gave it, without its quotes.
    pub(super) fn etag(&self) -> Option<String> {
        let tag = self.headers.get(ETAG)?.to_str().ok()?;
        Some(tag.trim_matches('"').to_owned()).filter(|tag| !tag.is_empty())
    }

    /// The error for a failure; `what` reads on after "refused to".
    pub(super) fn refusal(&self, what: &str) -> Error {
        let text = match self.code() {
            "" => format!("S3 refused to {what}"),
            code => format!("S3 refused to {what}: {code}"),
        };
        match self.passes() {
            true => Error::new(Kind::Passing, text).with_status(self.status).after(retry_after(&self.headers)),
            false if self.status.is_success() => Error::new(Kind::Refused, text),
            false => Error::answered(self.status, text),
        }
        .saying(&self.said)
    }

    /// Whether the failure may pass.
    pub(super) fn passes(&self) -> bool {
        !self.is_done()
            && (matches!(self.status.as_u16(), 429 | 500 | 502..=504) || PASSING_CODES.contains(&self.code()))
    }
}

/// Codes of failures that pass, besides what their status says ("Error responses" in the S3 API reference; the second half
/// are those that Amazon's SDKs know as throttling).
const PASSING_CODES: [&str; 16] = [
    "ConditionalRequestConflict",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "BandwidthLimitExceeded",
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];
/// In bytes.
const LONGEST_ERROR: u64 = 4 << 10;
/// In bytes; `CompleteMultipartUpload` may send white space for minutes before its document.
const LONGEST_DOCUMENT: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::RETRY_AFTER;
    use http::{Response, StatusCode};

    use super::{Body, Kind, Reply};

    async fn reply(status: u16, retry_after: Option<&str>, body: &str) -> Reply {
        let mut response = Response::new(Body::full(body.to_owned()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        if let Some(value) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, value.parse().unwrap());
        }
        Reply::read(response, true, None).await.unwrap()
    }

    #[tokio::test]
    async fn only_what_may_pass_is_tried_again() {
        for status in [429, 500, 502, 503, 504] {
            let reply = reply(status, None, "").await;
            assert!(reply.passes(), "{status}");
            assert_eq!(reply.refusal("x").kind(), Kind::Passing);
        }
        let conflict = "<Error><Code>ConditionalRequestConflict</Code></Error>";
        assert!(reply(409, None, conflict).await.passes());
        assert!(reply(200, None, "<Error><Code>InternalError</Code></Error>").await.passes());
        for status in [301, 400, 403, 404, 412, 501] {
            let reply = reply(status, None, "<Error><Code>Other</Code></Error>").await;
            assert!(!reply.passes(), "{status}");
            assert_eq!(reply.refusal("x").kind(), Kind::Refused);
        }
        assert!(reply(200, None, "<Fine/>").await.is_done());
    }

    #[tokio::test]
    async fn a_pause_that_is_asked_for_is_kept() {
        assert_eq!(reply(503, Some("1"), "").await.refusal("x").retry_after(), Some(Duration::from_secs(1)));
    }

    #[tokio::test]
    async fn long_error_bodies_are_not_read() {
        let long = format!("<Error><Code>Other</Code><Message>{}</Message></Error>", "x".repeat(5000));
        let reply = reply(403, None, &long).await;
        assert_eq!(reply.refusal("do it").to_string(), "S3 refused to do it (status 403)");
    }
}
