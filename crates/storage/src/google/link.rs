//! Requests to an upload session, and its responses.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_RANGE, HeaderMap, HeaderName, HeaderValue, RANGE};
use http::{Method, StatusCode};
use serde_json::Value;
use stowage_http::body::Body;
use stowage_http::client::Patience;

use super::fault::is_another_generation;
use super::service::Service;
use crate::engine::api::{Call, Reply};
use crate::engine::claim::taken_meanwhile;
use crate::engine::finish::CleanUp;
use crate::{Error, Kind, Result};

/// A session URI, which is a secret, and how to start a replacement session.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) service: Arc<Service>,
    begin: Call,
    place: Arc<Mutex<Place>>,
}

#[derive(Clone)]
struct Place {
    uri: String,
    /// Whether the server requires a token in addition to the URI.
    token: bool,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("service", &self.service).finish_non_exhaustive()
    }
}

/// State reported by a session.
pub(super) enum SessionState {
    /// The session has this many bytes.
    Stored(u64),
    /// The object was created, with this resource.
    Finished(Bytes),
    /// The session no longer exists.
    Gone(Error),
    /// The session can no longer succeed.
    Over(Error),
    /// The URI alone is not sufficient, or no longer.
    Unauthorized(Error),
}

/// Creates the call that starts a session. `length` is the body's length in bytes, if known.
pub(super) fn begin(call: Call, metadata: &Value, media_type: &str, length: Option<u64>) -> Call {
    let json = HeaderValue::from_static("application/json; charset=UTF-8");
    let call = call.body(json, metadata.to_string());
    let call = match HeaderValue::from_str(media_type) {
        Ok(value) => call.header(HeaderName::from_static("x-upload-content-type"), value),
        Err(_) => call,
    };
    match length {
        Some(length) => call.header(HeaderName::from_static("x-upload-content-length"), length.into()),
        None => call,
    }
}

fn state(reply: &Reply) -> Result<SessionState> {
    match reply.status {
        StatusCode::PERMANENT_REDIRECT => stored(&reply.headers).map(SessionState::Stored),
        status if status.is_success() => Ok(SessionState::Finished(reply.document.clone())),
        status @ (StatusCode::NOT_FOUND | StatusCode::GONE) => {
            Ok(SessionState::Gone(Error::new(Kind::Passing, "the upload session is gone").with_status(status)))
        }
        status @ (StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT) => {
            Ok(SessionState::Over(taken_meanwhile().with_status(status)))
        }
        StatusCode::UNAUTHORIZED => Ok(SessionState::Unauthorized(reply.refusal("store a chunk"))),
        _ => Err(reply.refusal("store a chunk")),
    }
}

/// `Range: bytes=0-n` means n + 1 bytes; without it, none.
fn stored(headers: &HeaderMap) -> Result<u64> {
    let Some(range) = headers.get(RANGE) else { return Ok(0) };
    let last = range.to_str().ok().and_then(|text| text.trim().strip_prefix("bytes=0-")?.parse::<u64>().ok());
    last.and_then(|last| last.checked_add(1)).ok_or_else(|| nonsense("a range that is none"))
}

pub(super) fn nonsense(what: &str) -> Error {
    Error::new(Kind::Refused, format!("Google answered a chunk with {what}"))
}

impl Link {
    /// Returns the session named in the response to `begin`.
    ///
    /// # Errors
    /// `Refused` if it names no usable session.
    pub(super) fn of(service: &Arc<Service>, begin: &Call, reply: &Reply) -> Result<Self> {
        let uri = uri(service, reply)?;
        let place = Arc::new(Mutex::new(Place { uri, token: false }));
        Ok(Self { service: Arc::clone(service), begin: begin.clone(), place })
    }

    /// Sends a part of the object once. `range` is the value of `Content-Range`.
    pub(super) async fn send(&self, range: &str, data: Body, patience: Patience) -> Result<SessionState> {
        let (call, token) = self.call(range)?;
        let reply = if token {
            self.service.authorized.once(&call, data, patience).await
        } else {
            self.service.api().once(&call, None, data, patience).await
        };
        state(&reply?)
    }

    /// Queries how much the session has. `total` is the object's length, or `*`.
    pub(super) async fn ask(&self, total: &str) -> Result<SessionState> {
        let (call, token) = self.call(&format!("*/{total}"))?;
        let reply = if token { self.service.ask(&call).await } else { self.service.api().ask(&call, None).await };
        state(&reply?)
    }

    /// Switches to sending the token, which only goes to the API's own server; returns whether a retry may help.
    pub(super) fn use_token(&self) -> bool {
        let mut place = self.place();
        let own = Call::to(Method::PUT, &place.uri).is_ok_and(|call| call.origin == self.service.endpoint.origin);
        own && !std::mem::replace(&mut place.token, true)
    }

    /// Starts a new session to replace one that is gone.
    ///
    /// # Errors
    /// If none can be started.
    pub(super) async fn begin_anew(&self) -> Result<()> {
        let reply = self.service.ask(&self.begin).await?;
        if reply.status == StatusCode::CONFLICT || is_another_generation(&reply) {
            return Err(taken_meanwhile().with_status(reply.status));
        }
        if !reply.status.is_success() {
            return Err(reply.refusal("begin an upload anew"));
        }
        *self.place() = Place { uri: uri(&self.service, &reply)?, token: false };
        Ok(())
    }

    /// "Cancel an upload" of Cloud Storage: DELETE, with response 499. Drive's documentation does not mention it, but its sessions are
    /// the same; one that cannot be cancelled expires after a week.
    pub(super) async fn cancel(&self) {
        let Ok(call) = Call::to(Method::DELETE, &self.place().uri) else { return };
        let mut tries = CleanUp::default();
        while tries.again().await {
            tries.note(match self.service.api().ask(&call, None).await {
                Ok(reply) if reply.status.is_success() || reply.status.is_client_error() => Ok(true),
                Ok(reply) => Err(reply.refusal("cancel an upload")),
                Err(lost) => Err(lost.error),
            });
        }
        if let Some(error) = tries.failure() {
            tracing::warn!(storage = %self.service.id, %error, "an upload session that could not be cancelled may be left");
        }
    }

    fn call(&self, range: &str) -> Result<(Call, bool)> {
        let Place { uri, token } = self.place().clone();
        let call = Call::given(Method::PUT, &uri, &self.service.endpoint.origin)?;
        Ok((call.text(CONTENT_RANGE, &format!("bytes {range}"))?, token))
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn uri(service: &Service, reply: &Reply) -> Result<String> {
    let uri = reply
        .header("location")
        .ok_or_else(|| Error::new(Kind::Refused, "Google began an upload without a session"))?;
    Call::given(Method::PUT, uri, &service.endpoint.origin)?;
    Ok(uri.to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::RANGE;

    use super::stored;

    #[test]
    fn a_range_says_how_many_bytes_are_stored() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, text.parse().unwrap());
            stored(&headers).ok()
        };
        assert_eq!(of("bytes=0-262143"), Some(262_144));
        assert_eq!(of("bytes=0-0"), Some(1));
        for nonsense in ["bytes=1-5", "0-5", "bytes=0-", "bytes=0-18446744073709551615", "bytes=0--1"] {
            assert_eq!(of(nonsense), None, "{nonsense}");
        }
        assert_eq!(stored(&HeaderMap::new()).ok(), Some(0));
    }
}
