//! One call to a vendor's HTTP API: sent, and repeated where that is exact.
//!
//! Every call may be repeated: its body is in memory. What cannot be known after a repeat is whether an earlier try had
//! its effect after all; [`Reply::doubtful`] and [`Lost::seen`] keep that for the caller to find out.

mod reply;

pub(crate) use self::reply::Reply;
pub(crate) use super::lost::Lost;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode, Uri};
use http_body::Body as _;
use moka::sync::Cache;
use url::Url;

use super::tries::Tries;
use crate::error::{Error, Kind, Result};
use stowage_http::body::Body;
use stowage_http::client::{Client, Patience, Server};
use stowage_http::connect::Reach;
use stowage_http::target::Origin;

/// A vendor's API, with the connections to its servers.
#[derive(Debug)]
pub(crate) struct Api {
    vendor: &'static Vendor,
    client: Client,
    /// The servers that the operator's configuration names; all others have to be public.
    trusted: Vec<Origin>,
    servers: Cache<Origin, Server>,
}

/// What is particular about a vendor.
#[derive(Debug)]
pub(crate) struct Vendor {
    /// For people.
    pub(crate) name: &'static str,
    /// Whether an answer is a failure, by its status and its document; of an object, and at first, the document is empty.
    pub(crate) fails: fn(StatusCode, &[u8]) -> bool,
    /// What a failure says: its status, and its body.
    pub(crate) fault: fn(StatusCode, &[u8]) -> Fault,
    /// The header in place of the body, where that is what says it.
    pub(crate) header: Option<&'static str>,
}

/// For most vendors: a redirect is no failure, for the caller knows what it means.
pub(crate) fn by_status(status: StatusCode, _: &[u8]) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// What a failure says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The vendor's own word for it; empty where there is none. No secret, and nothing of the client's.
    pub(crate) code: String,
    /// Whether the same call may succeed later, where the status alone does not say so.
    pub(crate) passes: bool,
    /// How long the vendor asks to be left alone, where its words say so and no `Retry-After` does.
    pub(crate) pause: Option<Duration>,
}

/// What is to be asked.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) origin: Origin,
    /// Path and query, sent as they are.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) data: Bytes,
    answer: Answer,
}

/// What an answer's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// JSON, or nothing.
    Document,
    /// An object, to be streamed.
    Object,
}

impl fmt::Debug for Call {
    /// Without what may be a secret: addresses that a vendor gave carry their own authorisation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("method", &self.method).field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Call {
    /// A call without a body, whose answer is a document. `target` is path and query.
    pub(crate) fn new(method: Method, origin: &Origin, target: impl Into<String>) -> Self {
        let (origin, target) = (origin.clone(), target.into());
        Self { method, origin, target, headers: HeaderMap::new(), data: Bytes::new(), answer: Answer::Document }
    }

    /// A call to a URL that the vendor gave.
    ///
    /// # Errors
    /// `Refused` for anything but `http` and `https`.
    pub(crate) fn to(method: Method, url: &str) -> Result<Self> {
        let wrong = || Error::new(Kind::Refused, "the storage gave an address that is no URL");
        let url: Url = url.parse().map_err(|_| wrong())?;
        let origin = Origin::of(&url).ok_or_else(wrong)?;
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Self::new(method, &origin, format!("{}{query}", url.path())))
    }

    /// A call to a URL that an answer of `from` gave.
    ///
    /// # Errors
    /// Like [`to`](Self::to); `Refused` too where it is without TLS and `from` is not: what is sent must not leave TLS
    /// because an answer says so.
    pub(crate) fn given(method: Method, url: &str, from: &Origin) -> Result<Self> {
        let call = Self::to(method, url)?;
        if from.tls && !call.origin.tls {
            return Err(Error::new(Kind::Refused, "the storage gave an address without TLS"));
        }
        Ok(call)
    }

    /// The same call; its answer is an object.
    pub(crate) fn object(mut self) -> Self {
        self.answer = Answer::Object;
        self
    }

    /// The same call with another header.
    pub(crate) fn header(mut self, name: impl http::header::IntoHeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The same call with a header of this text.
    ///
    /// # Errors
    /// `Refused` for a text that cannot stand in a header.
    pub(crate) fn text(self, name: impl http::header::IntoHeaderName, text: &str) -> Result<Self> {
        let value = HeaderValue::from_str(text);
        Ok(self.header(name, value.map_err(|_| Error::new(Kind::Refused, "a text that cannot stand in a header"))?))
    }

    /// The same call with a body.
    pub(crate) fn body(mut self, media_type: HeaderValue, data: impl Into<Bytes>) -> Self {
        self.headers.insert(http::header::CONTENT_TYPE, media_type);
        self.data = data.into();
        self
    }
}

impl Api {
    /// `trusted` are servers that the operator chose.
    pub(crate) fn new(vendor: &'static Vendor, client: Client, trusted: Vec<Origin>) -> Self {
        Self { vendor, client, trusted, servers: Cache::new(MOST_SERVERS) }
    }

    /// Sends a call, a few times where the failure may pass. A failure is an answer too: see [`Reply::is_done`].
    ///
    /// # Errors
    /// Where there is no answer.
    pub(crate) async fn ask(
        &self,
        call: &Call,
        authorization: Option<&HeaderValue>,
    ) -> std::result::Result<Reply, Lost> {
        let once = |patience| self.once(call, authorization, Body::full(call.data.clone()), patience);
        self.repeat(call.data.len(), once).await
    }

    /// Makes tries of one call of so many bytes, each of which may be signed afresh, while the failure may pass.
    ///
    /// # Errors
    /// Where there is no answer.
    pub(crate) async fn repeat<F>(&self, bytes: usize, once: impl Fn(Patience) -> F) -> std::result::Result<Reply, Lost>
    where
        F: Future<Output = std::result::Result<Reply, Lost>>,
    {
        let mut seen = false;
        let mut tries = Tries::start(bytes);
        loop {
            match once(tries.patience(self.client.patience())).await {
                Ok(mut reply) => {
                    if !reply.passes() || !tries.again(&reply.refusal("answer")).await {
                        reply.doubtful = seen;
                        return Ok(reply);
                    }
                    seen |= reply::may_have_acted(reply.status);
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

    /// Sends a call once, for callers that have to look before they repeat it. `body` is in place of the call's own.
    ///
    /// # Errors
    /// Where there is no answer.
    pub(crate) async fn once(
        &self,
        call: &Call,
        authorization: Option<&HeaderValue>,
        body: Body,
        patience: Patience,
    ) -> std::result::Result<Reply, Lost> {
        let request = call.request(authorization, body)?;
        let response = self.server(&call.origin).send(request, patience).await;
        let response = response.map_err(|error| Lost { seen: error.may_be_seen(), error: error.into() })?;
        let reply = Reply::read(self.vendor, response, call.answer, patience.head).await;
        let mut reply = reply.map_err(|error| Lost { error, seen: true })?;
        if let Some(authorization) = authorization {
            reply.conceal(authorization);
        }
        Ok(reply)
    }

    /// How long an answer is waited for.
    pub(crate) fn patience(&self) -> Patience {
        self.client.patience()
    }

    fn server(&self, origin: &Origin) -> Server {
        self.servers.get_with_by_ref(origin, || {
            let reach = if self.trusted.contains(origin) { Reach::Operator } else { Reach::Tenant };
            self.client.server(origin.clone(), reach)
        })
    }
}

impl Call {
    fn request(&self, authorization: Option<&HeaderValue>, body: Body) -> Result<Request<Body>> {
        let wrong = |_| Error::new(Kind::Refused, "a name that cannot stand in a request");
        let target: PathAndQuery = self.target.parse().map_err(wrong)?;
        let authority = HeaderValue::from_str(&self.origin.authority())
            .map_err(|_| Error::new(Kind::Settings, "a host that cannot stand in a request"))?;
        let is_empty = body.size_hint().exact() == Some(0);
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from(target);
        *request.headers_mut() = self.headers.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, authority);
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if is_empty && matches!(self.method, Method::PUT | Method::POST | Method::PATCH) {
            // hyper leaves it out where there is no body, and vendors answer 411.
            headers.insert(CONTENT_LENGTH, 0.into());
        }
        Ok(request)
    }
}

/// Servers of one vendor that are kept in connection; vendors give addresses for sessions and downloads.
const MOST_SERVERS: u64 = 16;
#[cfg(test)]
mod tests;
