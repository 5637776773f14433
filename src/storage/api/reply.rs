//! What a vendor answered.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use serde::de::DeserializeOwned;

use super::{Answer, Fault, Vendor};
use crate::http::body::Body;
use crate::http::idle::collect_within;
use crate::settings::MASK;
use crate::storage::error::{Error, Kind, Result};
use crate::storage::tries::retry_after;

/// An answer.
pub(in crate::storage) struct Reply {
    vendor: &'static Vendor,
    pub(in crate::storage) status: StatusCode,
    pub(in crate::storage) headers: HeaderMap,
    /// The object, where one was asked for.
    pub(in crate::storage) body: Body,
    /// Everything else that was answered with success or a redirect.
    pub(in crate::storage) document: Bytes,
    /// What a failure says, and in which words.
    fault: Option<Fault>,
    said: Bytes,
    /// Whether an earlier try of this call may have had its effect.
    pub(in crate::storage) doubtful: bool,
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
        if head.status.is_client_error() || head.status.is_server_error() {
            // An answer of a proxy in between may be long, or no document at all: then the status has to do.
            let text = collect_within(limit, body, LONGEST_ERROR).await.unwrap_or_default();
            reply.fault = Some((vendor.fault)(head.status, &text));
            reply.said = text;
        } else if answer == Answer::Object && head.status.is_success() {
            reply.body = body;
        } else {
            reply.document = collect_within(limit, body, LONGEST_DOCUMENT).await.map_err(Error::of_body)?;
        }
        Ok(reply)
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
    pub(in crate::storage) const fn is_done(&self) -> bool {
        self.fault.is_none()
    }

    /// The vendor's word for a failure.
    pub(in crate::storage) fn code(&self) -> &str {
        self.fault.as_ref().map_or("", |fault| &fault.code)
    }

    /// The document that was answered.
    ///
    /// # Errors
    /// `Refused` where it is another one than expected.
    pub(in crate::storage) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.document).map_err(|_| {
            let text = format!("{} sent an answer that makes no sense", self.vendor.name);
            Error::new(Kind::Refused, text).with_status(self.status)
        })
    }

    /// The error for a failure; `what` reads on after "refused to".
    pub(in crate::storage) fn refusal(&self, what: &str) -> Error {
        let name = self.vendor.name;
        let text = match self.code() {
            "" => format!("{name} refused to {what}"),
            code => format!("{name} refused to {what}: {code}"),
        };
        if self.passes() {
            let error = Error::new(Kind::Passing, text).with_status(self.status);
            return error.after(retry_after(&self.headers)).saying(&self.said);
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

/// In bytes.
const LONGEST_ERROR: u64 = 4 << 10;
/// In bytes.
const LONGEST_DOCUMENT: u64 = 1 << 20;
