//! What a vendor answered.

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

use super::{Answer, Fault, Vendor};
use crate::engine::tries::retry_after;
use crate::error::{Error, Kind, Result};

/// An answer.
pub(crate) struct Reply {
    vendor: &'static Vendor,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The object, where one was asked for.
    pub(crate) body: Body,
    /// Everything else that was answered with success or a redirect.
    pub(crate) document: Bytes,
    /// What a failure says, and in which words.
    fault: Option<Fault>,
    said: Bytes,
    /// Whether an earlier try of this call may have had its effect.
    pub(crate) doubtful: bool,
}

impl fmt::Debug for Reply {
    /// Without what may be a secret: an answer may be a token, or an address that carries its own authorisation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).field("code", &self.code()).finish_non_exhaustive()
    }
}

impl Reply {
    pub(super) async fn read(
        vendor: &'static Vendor,
        response: Response<Body>,
        answer: Answer,
        limit: Option<Duration>,
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
        if !failed && answer == Answer::Object && head.status.is_success() {
            reply.body = body;
            return Ok(reply);
        }
        // No encoding is asked for, but a proxy in between may choose one (RFC 9110 section 12.5.3).
        let gzipped = reply.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip" || coding == "x-gzip");
        let body = if gzipped { Body::boxed(Gunzip::tolerant(body)) } else { body };
        if failed {
            reply.fail(collect_within(limit, body, LONGEST_ERROR).await)?;
        } else {
            reply.document = collect_within(limit, body, LONGEST_DOCUMENT).await.map_err(Error::of_body)?;
            if (vendor.fails)(reply.status, &reply.document) {
                reply.fail(Ok(reply.document.clone()))?;
            }
        }
        Ok(reply)
    }

    /// Takes in what a failure says.
    ///
    /// # Errors
    /// Where that broke off: which failure it is stands there, so it is not known. A status that passes needs no words.
    fn fail(&mut self, text: std::result::Result<Bytes, BoxError>) -> Result<()> {
        let passes = Error::answered(self.status, "").kind() == Kind::Passing;
        match text {
            Ok(text) => {
                self.fault = Some(self.fault(&text));
                self.said = text;
            }
            // Of a proxy in between, or no document at all: then the status has to do.
            Err(error) if passes || cause::<TooLarge>(&*error).is_some() || is_silent(&error) => {
                self.fault = Some(self.fault(b""));
                self.said = Bytes::from_static(b"(an answer that could not be read)");
            }
            Err(error) => return Err(Error::of_body(error)),
        }
        Ok(())
    }

    fn fault(&self, text: &[u8]) -> Fault {
        let text = self.vendor.header.map_or(text, |name| self.header(name).unwrap_or_default().as_bytes());
        (self.vendor.fault)(self.status, text)
    }

    /// Takes a token out of what a failure says: some servers repeat what they were sent.
    pub(super) fn conceal(&mut self, authorization: &HeaderValue) {
        let token = authorization.to_str().ok().and_then(|text| text.split(' ').next_back()).unwrap_or_default();
        let said = String::from_utf8_lossy(&self.said);
        if !token.is_empty() && said.contains(token) {
            self.said = said.replace(token, MASK).into();
        }
    }

    /// Whether the call was done, or leads elsewhere.
    pub(crate) const fn is_done(&self) -> bool {
        self.fault.is_none()
    }

    /// The vendor's word for a failure.
    pub(crate) fn code(&self) -> &str {
        self.fault.as_ref().map_or("", |fault| &fault.code)
    }

    /// A header of the answer, where it is a text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The object's tag without its quotes; an empty one is none.
    pub(crate) fn etag(&self) -> Option<String> {
        Some(self.header("etag")?.trim_matches('"').to_owned()).filter(|tag| !tag.is_empty())
    }

    /// What a failure says, as it was answered.
    pub(crate) fn said(&self) -> &[u8] {
        &self.said
    }

    /// Whether a failure came without a word.
    pub(crate) fn says_nothing(&self) -> bool {
        self.said.is_empty()
    }

    /// Whether the call was refused, and no try of it can have had an effect.
    pub(crate) fn had_no_effect(&self) -> bool {
        self.status.is_client_error() && !self.doubtful && !may_have_acted(self.status)
    }

    /// The document that was answered.
    ///
    /// # Errors
    /// `Refused` where it is another one than expected.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.document).map_err(|_| {
            let text = format!("{} sent an answer that makes no sense", self.vendor.name);
            Error::new(Kind::Refused, text).with_status(self.status)
        })
    }

    /// The error for a failure; `what` reads on after "refused to".
    pub(crate) fn refusal(&self, what: &str) -> Error {
        let name = self.vendor.name;
        let text = match self.code() {
            "" => format!("{name} refused to {what}"),
            code => format!("{name} refused to {what}: {code}"),
        };
        if self.passes() {
            let error = Error::new(Kind::Passing, text).with_status(self.status);
            let pause = retry_after(&self.headers).or_else(|| self.fault.as_ref()?.pause);
            return error.after(pause).saying(&self.said);
        }
        match self.status.is_success() || self.status.is_redirection() {
            true => Error::new(Kind::Refused, text).with_status(self.status),
            false => Error::answered(self.status, text),
        }
        .saying(&self.said)
    }

    /// Whether the failure may pass.
    pub(super) fn passes(&self) -> bool {
        let by_status = || Error::answered(self.status, "").kind() == Kind::Passing;
        self.fault.as_ref().is_some_and(|fault| fault.passes || by_status())
    }
}

fn is_silent(error: &BoxError) -> bool {
    cause::<client::Error>(&**error).is_some_and(|error| error.kind() == client::Kind::Silent)
}

/// Whether a request that was answered with this status may have had its effect all the same.
pub(super) fn may_have_acted(status: StatusCode) -> bool {
    !status.is_client_error() || status == StatusCode::REQUEST_TIMEOUT
}

/// In bytes. Vendors repeat names in their words, Google twice, and a name of 1024 bytes takes six times as much in JSON.
const LONGEST_ERROR: u64 = 64 << 10;
/// In bytes.
const LONGEST_DOCUMENT: u64 = 1 << 20;
