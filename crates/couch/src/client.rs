//! A CouchDB server, and forwarding of clients' requests to it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use stowage_base::secret::Secret;
use stowage_http::body::Body;
use stowage_http::client::{Patience, Server};
use stowage_http::{forwarded, headers};

use super::error::Error;

/// A CouchDB server; cheap to clone.
#[derive(Debug, Clone)]
pub struct Couch {
    pub(super) server: Server,
    /// The id of its connection in a plan; `None` for the configured CouchDB.
    connection: Option<Arc<str>>,
    /// The path of the configured URL, without a trailing slash.
    pub(super) prefix: String,
    pub(super) authority: HeaderValue,
    pub(super) account: Option<HeaderValue>,
    /// Whether this account replaces the clients' credentials.
    in_place_of_clients: bool,
    pub(super) patience: Patience,
    pub(super) document_bytes: u64,
}

/// The location of a document: both segments percent-encoded as the client sent them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentPath {
    /// The database segment of the path.
    pub database: String,
    /// The document segment of the path.
    pub document: String,
}

impl Couch {
    /// `prefix` is the path of the configured URL.
    ///
    /// # Errors
    /// If the authority is not a valid header value.
    pub fn new(
        server: Server,
        prefix: &str,
        account: Option<(&str, &Secret)>,
        patience: Patience,
        document_bytes: u64,
    ) -> Result<Self, http::header::InvalidHeaderValue> {
        let authority = HeaderValue::try_from(server.origin().authority())?;
        let account = match account.filter(|(name, _)| !name.is_empty()) {
            None => None,
            Some((name, password)) => {
                let pair = STANDARD.encode(format!("{name}:{}", password.expose()));
                let mut value = HeaderValue::try_from(format!("Basic {pair}"))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let prefix = prefix.trim_end_matches('/').to_owned();
        Ok(Self {
            server,
            connection: None,
            prefix,
            authority,
            account,
            in_place_of_clients: false,
            patience,
            document_bytes,
        })
    }

    /// Names the plan's connection in all its errors.
    #[must_use]
    pub fn named(mut self, id: &str) -> Self {
        self.connection = Some(id.into());
        self
    }

    /// Returns whether both share one connection pool.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.server.is(&other.server)
    }

    /// Adds the connection's id to an error.
    pub(super) fn failed(&self, error: Error) -> Error {
        match &self.connection {
            Some(id) => Error::OfConnection(Arc::clone(id), Box::new(error)),
            None => error,
        }
    }

    /// Uses its own account for all clients.
    #[must_use]
    pub fn in_place_of_clients(mut self) -> Self {
        self.in_place_of_clients = true;
        self
    }

    /// Replaces the client's credentials with this CouchDB's account, if configured.
    pub(super) fn identify(&self, headers: &mut HeaderMap) {
        if !self.in_place_of_clients {
            return;
        }
        for name in [&AUTHORIZATION, &COOKIE] {
            headers.remove(name);
        }
        for name in PROXY_AUTHENTICATION {
            headers.remove(name);
        }
        if let Some(account) = &self.account {
            headers.insert(AUTHORIZATION, account.clone());
        }
        forwarded::tell_own(headers);
    }

    /// Forwards a client's request unchanged, and returns the response without hop-by-hop headers.
    ///
    /// # Errors
    /// [`Error::Client`], or [`Error::Request`] if the target cannot be joined to the prefix.
    pub async fn forward(&self, request: Request<Body>, patience: Patience) -> Result<Response<Body>, Error> {
        let (mut parts, body) = request.into_parts();
        headers::strip_request(&mut parts.headers);
        parts.uri = self.target(&parts.uri)?;
        if !parts.headers.contains_key(HOST) {
            parts.headers.insert(HOST, self.authority.clone());
        }
        self.identify(&mut parts.headers);
        frame_body(&mut parts, &body);
        let answer = self.server.send(Request::from_parts(parts, body), patience).await;
        let answer = answer.map_err(|error| self.failed(Error::Client(error)))?;
        let (mut parts, body) = answer.into_parts();
        headers::strip_response(&mut parts.headers);
        Ok(Response::from_parts(parts, body))
    }

    /// Returns the target in origin form below the prefix, otherwise unchanged.
    fn target(&self, uri: &Uri) -> Result<Uri, Error> {
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        if self.prefix.is_empty() && uri.authority().is_none() {
            return Ok(uri.clone());
        }
        let target: PathAndQuery = format!("{}{path}", self.prefix).parse().map_err(http::Error::from)?;
        Ok(Uri::from(target))
    }
}

/// hyper omits the body of a GET or HEAD unless a header announces it, so an unknown length must be declared.
fn frame_body(parts: &mut http::request::Parts, body: &Body) {
    use http_body::Body as _;
    if body.is_end_stream() || parts.headers.contains_key(CONTENT_LENGTH) {
        return;
    }
    if body.size_hint().exact().is_none() {
        parts.headers.insert(http::header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// The headers of CouchDB's proxy authentication (<https://docs.couchdb.org/en/stable/api/server/authn.html#proxy-authentication>).
const PROXY_AUTHENTICATION: [&str; 3] = ["x-auth-couchdb-username", "x-auth-couchdb-roles", "x-auth-couchdb-token"];
