//! One call to S3: signed, sent, and repeated where that is exact.
//!
//! Every call may be repeated: its body is in memory. What cannot be known after a repeat is whether an earlier try had
//! its effect after all; [`Reply::doubtful`] and [`Lost::seen`] keep that for the caller to find out.

pub(super) use crate::storage::lost::Lost;

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, ETAG, HeaderMap};
use http::{Method, Response, StatusCode};

use super::address::Address;
use super::sign::{Payload, Signer};
use super::tags::Tags;
use super::xml;
use crate::http::body::Body;
use crate::http::client::{Client, Patience, Server};
use crate::http::connect::Reach;
use crate::http::idle::collect_within;
use crate::storage::tries::{Tries, retry_after};
use crate::storage::{Error, Kind, Result};
use crate::tasks::Tasks;

/// An opened bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    /// The storage's id in the plan, for log lines.
    pub(super) id: String,
    pub(super) address: Address,
    pub(super) tasks: Tasks,
    pub(super) tags: Tags,
    server: Server,
    client: Client,
    signer: Signer,
}

/// What is to be asked.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    /// `None`: the plan's.
    pub(super) bucket: Option<String>,
    pub(super) key: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) data: Bytes,
    pub(super) payload: Payload,
    /// Whether the answer is a document to be read, not an object.
    pub(super) document: bool,
}

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

impl Call {
    /// A call without a body.
    pub(super) fn new(method: Method, key: &str, query: impl Into<String>) -> Self {
        Self {
            method,
            bucket: None,
            key: key.to_owned(),
            query: query.into(),
            headers: HeaderMap::new(),
            data: Bytes::new(),
            payload: Payload::Empty,
            document: false,
        }
    }
}

impl Bucket {
    pub(super) fn new(id: &str, address: Address, signer: Signer, client: Client, tasks: Tasks) -> Self {
        let server = client.server(address.origin(&address.bucket), Reach::Tenant);
        Self { id: id.to_owned(), address, tasks, tags: Tags::default(), server, client, signer }
    }

    /// Sends a call, a few times where the failure may pass.
    pub(super) async fn ask(&self, call: &Call) -> std::result::Result<Reply, Lost> {
        let mut seen = false;
        let mut tries = Tries::start(call.data.len());
        loop {
            match self.send(call, tries.patience(self.client.patience())).await {
                Ok(mut reply) => {
                    if !reply.passes() || !tries.again(&reply.refusal("answer")).await {
                        reply.doubtful = seen;
                        return Ok(reply);
                    }
                    seen |= reply.status.is_server_error() || reply.status.is_success();
                }
                Err(lost) => {
                    seen |= lost.seen;
                    if !tries.again(&lost.error).await {
                        return Err(Lost { error: lost.error, seen });
                    }
                }
            }
        }
    }

    async fn send(&self, call: &Call, patience: Patience) -> std::result::Result<Reply, Lost> {
        let unsent = |error: Error| Lost { error, seen: false };
        let bucket = call.bucket.as_deref().unwrap_or(&self.address.bucket);
        let origin = self.address.origin(bucket);
        let target = self.address.target(bucket, &call.key, &call.query);
        let request =
            self.signer.request(&call.method, &origin, &target, &call.headers, call.payload).map_err(unsent)?;
        let mut request = request.map(|_| Body::full(call.data.clone()));
        if call.data.is_empty() && matches!(call.method, Method::PUT | Method::POST) {
            // hyper leaves it out where there is no body, and S3 answers 411.
            request.headers_mut().insert(CONTENT_LENGTH, 0.into());
        }
        let other = (origin != *self.server.origin()).then(|| self.client.server(origin, Reach::Tenant));
        let response = other.as_ref().unwrap_or(&self.server).send(request, patience).await;
        let response = response.map_err(|error| Lost { seen: error.may_be_seen(), error: error.into() })?;
        Reply::read(response, call.document, patience.head).await.map_err(|error| Lost { error, seen: true })
    }
}

impl Reply {
    async fn read(response: Response<Body>, document: bool, limit: Option<Duration>) -> Result<Self> {
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

    /// The code of a failure.
    pub(super) fn code(&self) -> &str {
        self.code.as_deref().unwrap_or_default()
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
    fn passes(&self) -> bool {
        !self.is_done()
            && (matches!(self.status.as_u16(), 429 | 500 | 502..=504) || PASSING_CODES.contains(&self.code()))
    }
}

/// Codes of failures that pass, besides what their status says ("Error responses" in the S3 API reference).
const PASSING_CODES: [&str; 8] = [
    "ConditionalRequestConflict",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
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
