//! One CouchDB, and sending clients' requests on to it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, Uri};
use stowage_base::activity::Activity;
use stowage_base::secret::Secret;
use stowage_http::body::Body;
use stowage_http::client::{Patience, Server};
use stowage_http::{forwarded, headers};

use super::caller::Caller;
use super::error::Error;

/// One CouchDB; cheap to clone.
#[derive(Debug, Clone)]
pub struct Couch {
    pub(super) server: Server,
    /// The id of the plan's connection that it is; `None` for the configured CouchDB.
    connection: Option<Arc<str>>,
    /// The path of the configured URL, without a slash at the end.
    pub(super) prefix: String,
    pub(super) authority: HeaderValue,
    account: Option<HeaderValue>,
    /// Whether clients are served with this account instead of their own credentials.
    in_place_of_clients: bool,
    pub(super) patience: Patience,
    pub(super) document_bytes: u64,
}

/// Where a document is: both parts percent-encoded as the client sent them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentPath {
    /// The database's part of the path.
    pub database: String,
    /// The document's part of the path.
    pub document: String,
}

impl Couch {
    /// `prefix` is the path of the configured URL.
    ///
    /// # Errors
    /// Where the authority is no valid header value.
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

    /// The same CouchDB, whose failures name this connection of a plan.
    #[must_use]
    pub fn named(mut self, id: &str) -> Self {
        self.connection = Some(id.into());
        self
    }

    /// Whether both are the same server, opened once.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.server.is(&other.server)
    }

    /// Says whose failure it is.
    pub(super) fn failed(&self, error: Error) -> Error {
        match &self.connection {
            Some(id) => Error::OfConnection(Arc::clone(id), Box::new(error)),
            None => error,
        }
    }

    /// The same CouchDB, asked with its own account for every client.
    #[must_use]
    pub fn in_place_of_clients(mut self) -> Self {
        self.in_place_of_clients = true;
        self
    }

    /// With the gateway's own account.
    #[must_use]
    pub fn own_account(&self) -> Caller {
        let mut headers = HeaderMap::new();
        if let Some(account) = &self.account {
            headers.insert(AUTHORIZATION, account.clone());
        }
        forwarded::tell_own(&mut headers);
        Caller::new(self.clone(), headers, Activity::default())
    }

    /// With the client's rights: its credentials and everything else that it sent, except what is about its own body and answer.
    #[must_use]
    pub fn client(&self, headers: &HeaderMap, activity: &Activity) -> Caller {
        let mut headers = super::caller::of_client(headers);
        self.identify(&mut headers);
        Caller::new(self.clone(), headers, activity.clone())
    }

    /// Puts this CouchDB's account in the place of the client's credentials where that is wanted.
    fn identify(&self, headers: &mut HeaderMap) {
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

    /// Sends a client's request on as it is, and gives the answer without what belonged to the connection.
    ///
    /// # Errors
    /// [`Error::Client`], or [`Error::Request`] for a target that cannot be joined to the prefix.
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

    /// Opens the endless changes feed of a database with the gateway's own account.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn changes(&self, database: &str, query: &str) -> Result<Response<Body>, Error> {
        let target = format!("{database}/_changes?{query}");
        let request = self.own_account().request(Method::GET, &target, Body::empty())?;
        self.server.send(request, self.patience).await.map_err(Error::Client)
    }

    /// The target in origin form, below the prefix, otherwise untouched.
    fn target(&self, uri: &Uri) -> Result<Uri, Error> {
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        if self.prefix.is_empty() && uri.authority().is_none() {
            return Ok(uri.clone());
        }
        let target: PathAndQuery = format!("{}{path}", self.prefix).parse().map_err(http::Error::from)?;
        Ok(Uri::from(target))
    }
}

/// hyper leaves the body of a GET or HEAD out where no header announces it: an unknown length has to be named.
fn frame_body(parts: &mut http::request::Parts, body: &Body) {
    use http_body::Body as _;
    if body.is_end_stream() || parts.headers.contains_key(CONTENT_LENGTH) {
        return;
    }
    if body.size_hint().exact().is_none() {
        parts.headers.insert(http::header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// How CouchDB's proxy authentication names a user (<https://docs.couchdb.org/en/stable/api/server/authn.html#proxy-authentication>).
const PROXY_AUTHENTICATION: [&str; 3] = ["x-auth-couchdb-username", "x-auth-couchdb-roles", "x-auth-couchdb-token"];
