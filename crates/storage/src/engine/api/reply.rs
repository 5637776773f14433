//! Responses of a vendor's API.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use serde::de::DeserializeOwned;
use stowage_base::settings::MASK;
use stowage_http::body::{Body, BoxError, TooLarge, cause};
use stowage_http::client;
use stowage_http::gzip::Gunzip;
use stowage_http::idle::collect_within;

use super::{Fault, Vendor};
use crate::engine::tries::retry_after;
use crate::error::{Error, Kind, Result};

/// A response.
pub(crate) struct Reply {
    vendor: &'static Vendor,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The object, if one was requested.
    pub(crate) body: Body,
    /// The body of any other successful response or redirect.
    pub(crate) document: Bytes,
    /// The parsed failure, followed by its original body.
    fault: Option<Fault>,
    said: Bytes,
    /// Whether an earlier attempt of this call may have taken effect.
    pub(crate) doubtful: bool,
}

/// How long the whole of a response body may take; `None` means forever.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) failure: Option<Duration>,
    pub(super) document: Option<Duration>,
}

impl fmt::Debug for Reply {
    /// Omits possible secrets: a response may be a token, or a URL that carries its own authorization.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).field("code", &self.code()).finish_non_exhaustive()
    }
}

impl Reply {
    pub(super) async fn read(
        vendor: &'static Vendor,
        response: Response<Body>,
        object: bool,
        limits: Limits,
    ) -> Result<Self> {
        let (head, body) = response.into_parts();
        let mut reply = Self {
            vendor,
            status: head.status,
            headers: head.headers,
            body: Body::empty(),
            document: Bytes::new(),
            fault: None,
            said: Bytes::new(),
            doubtful: false,
        };
        let failed = (vendor.fails)(head.status, b"");
        if !failed && object && head.status.is_success() {
            reply.body = body;
            return Ok(reply);
        }
        // No encoding was requested, but an intermediate proxy may choose one (RFC 9110 section 12.5.3).
        let gzipped = reply.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip" || coding == "x-gzip");
        let body = if gzipped { Body::boxed(Gunzip::tolerant(body)) } else { body };
        if failed {
            reply.fail(collect_within(limits.failure, body, LONGEST_ERROR).await)?;
        } else {
            let reading = collect_within(limits.document, body, LONGEST_DOCUMENT);
            reply.document = reading.await.map_err(Error::of_body)?;
            if (vendor.fails)(reply.status, &reply.document) {
                reply.fail(Ok(reply.document.clone()))?;
            }
        }
        Ok(reply)
    }

    /// Parses a failure.
    ///
    /// # Errors
    /// If its body broke off, so that the kind of failure is unknown. A transient status does not need a body.
    fn fail(&mut self, text: std::result::Result<Bytes, BoxError>) -> Result<()> {
        let passes = Error::answered(self.status, "").kind() == Kind::Passing;
        match text {
            Ok(text) => {
                self.fault = Some((self.vendor.fault)(self.status, &text));
                self.said = text;
            }
            // From an intermediate proxy, or not a document at all: the status must suffice.
            Err(error) if passes || cause::<TooLarge>(&*error).is_some() || is_silent(&error) => {
                self.fault = Some((self.vendor.fault)(self.status, b""));
                self.said = Bytes::from_static(b"(an answer that could not be read)");
            }
            Err(error) => return Err(Error::of_body(error)),
        }
        Ok(())
    }

    /// Masks a token in a failure's body: some servers echo what they were sent.
    pub(super) fn conceal(&mut self, authorization: &HeaderValue) {
        let token = authorization.to_str().ok().and_then(|text| text.split(' ').next_back()).unwrap_or_default();
        let said = String::from_utf8_lossy(&self.said);
        if !token.is_empty() && said.contains(token) {
            self.said = said.replace(token, MASK).into();
        }
    }

    /// Returns whether the call succeeded, or was redirected.
    pub(crate) const fn is_done(&self) -> bool {
        self.fault.is_none()
    }

    /// Returns the response, unless it is a failure; `what` completes "refused to".
    ///
    /// # Errors
    /// The [`refusal`](Self::refusal).
    pub(crate) fn done(self, what: &str) -> Result<Self> {
        if self.is_done() { Ok(self) } else { Err(self.refusal(what)) }
    }

    /// Returns the vendor's error code.
    pub(crate) fn code(&self) -> &str {
        self.fault.as_ref().map_or("", |fault| &fault.code)
    }

    /// Returns a header of the response, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the object's ETag without quotes; an empty one counts as none.
    pub(crate) fn etag(&self) -> Option<String> {
        Some(self.header("etag")?.trim_matches('"').to_owned()).filter(|tag| !tag.is_empty())
    }

    /// Returns a failure's body as received.
    pub(crate) fn said(&self) -> &[u8] {
        &self.said
    }

    /// Returns whether a failure has an empty body.
    pub(crate) fn says_nothing(&self) -> bool {
        self.said.is_empty()
    }

    /// Returns whether the call was rejected and no attempt can have taken effect.
    pub(crate) fn had_no_effect(&self) -> bool {
        self.status.is_client_error() && !self.doubtful && !may_have_acted(self.status)
    }

    /// Parses the response document.
    ///
    /// # Errors
    /// `Refused` if it has an unexpected form.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.document).map_err(|_| {
            let text = format!("{} sent an answer that makes no sense", self.vendor.name);
            Error::new(Kind::Refused, text).with_status(self.status)
        })
    }

    /// Returns the error for a failure; `what` completes "refused to".
    pub(crate) fn refusal(&self, what: &str) -> Error {
        let name = self.vendor.name;
        let text = match self.code() {
            "" => format!("{name} refused to {what}"),
            code => format!("{name} refused to {what}: {code}"),
        };
        let (kind, pause) = if self.passes() {
            (Kind::Passing, retry_after(&self.headers).or_else(|| self.fault.as_ref()?.pause))
        } else {
            (Kind::Refused, None)
        };
        Error::new(kind, text).with_status(self.status).with_code(self.code()).after(pause).saying(&self.said)
    }

    /// Returns whether the failure is transient.
    pub(super) fn passes(&self) -> bool {
        let by_status = || Error::answered(self.status, "").kind() == Kind::Passing;
        self.fault.as_ref().is_some_and(|fault| fault.passes || by_status())
    }
}

fn is_silent(error: &BoxError) -> bool {
    cause::<client::Error>(&**error).is_some_and(|error| error.kind() == client::Kind::Silent)
}

/// Returns whether a request with this response status may have taken effect nevertheless.
pub(super) fn may_have_acted(status: StatusCode) -> bool {
    !status.is_client_error() || status == StatusCode::REQUEST_TIMEOUT
}

/// In bytes. Vendors echo names in error messages, Google twice, and a name of 1024 bytes can take six times as much in JSON.
const LONGEST_ERROR: u64 = 64 << 10;
/// In bytes.
const LONGEST_DOCUMENT: u64 = 1 << 20;
