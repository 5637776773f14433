//! Requests to CouchDB.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap,
    HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};

use super::document::{Document, NotADocument};
use crate::config::Secret;
use crate::http::body::{Body, BoxError, collect};
use crate::http::client::{self, Patience, Server};
use crate::http::headers;
use crate::http::target::encode;
use crate::telemetry::activity::Activity;

/// One CouchDB; cheap to clone.
#[derive(Debug, Clone)]
pub struct Couch {
    server: Server,
    /// The path of the configured URL, without a slash at the end.
    prefix: String,
    authority: HeaderValue,
    account: Option<HeaderValue>,
    patience: Patience,
    document_bytes: u64,
}

/// Where a document is: both parts percent-encoded as the client sent them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentPath {
    /// The database's part of the path.
    pub database: String,
    /// The document's part of the path.
    pub document: String,
}

/// On whose behalf CouchDB is asked.
#[derive(Debug, Clone)]
pub struct Caller {
    headers: HeaderMap,
    activity: Activity,
}

impl Caller {
    /// The client's rights: its credentials and everything else that it sent, except what is about its own body and answer.
    #[must_use]
    pub fn client(headers: &HeaderMap, activity: &Activity) -> Self {
        let mut headers = headers.clone();
        headers::strip_request(&mut headers);
        headers::join_cookies(&mut headers);
        for name in [
            &ACCEPT,
            &ACCEPT_ENCODING,
            &CONTENT_ENCODING,
            &CONTENT_LENGTH,
            &CONTENT_TYPE,
            &IF_MATCH,
            &IF_MODIFIED_SINCE,
            &IF_NONE_MATCH,
            &IF_RANGE,
            &IF_UNMODIFIED_SINCE,
            &RANGE,
        ] {
            headers.remove(name);
        }
        for name in ["content-md5", "x-http-method-override"] {
            headers.remove(name);
        }
        Self { headers, activity: activity.clone() }
    }
}

impl Caller {
    /// The host that the client asked, if it said so.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.headers.get(HOST).and_then(|host| host.to_str().ok())
    }
}

/// What CouchDB answered to a request for a document.
#[derive(Debug)]
pub enum Answer {
    /// The document, with the head of the answer.
    Document(Document, http::response::Parts),
    /// Anything else, to be judged or passed on.
    Other(Response<Bytes>),
}

/// What CouchDB answered to a save.
#[derive(Debug)]
pub struct Save {
    /// The head of the answer.
    pub head: http::response::Parts,
    /// Its body.
    pub body: Bytes,
}

/// CouchDB could not be asked.
#[derive(Debug)]
pub enum Error {
    /// No answer.
    Client(client::Error),
    /// The answer broke off, or is larger than `limits.document_bytes`.
    Body(BoxError),
    /// The answer is no document.
    Nonsense(NotADocument),
    /// The request could not be built.
    Request(http::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client(_) => "CouchDB does not answer",
            Self::Body(_) => "CouchDB's answer cannot be read",
            Self::Nonsense(_) => "CouchDB's answer makes no sense",
            Self::Request(_) => "the request to CouchDB is malformed",
        })
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Client(error) => Some(error),
            Self::Body(error) => Some(&**error),
            Self::Nonsense(error) => Some(error),
            Self::Request(error) => Some(error),
        }
    }
}

impl Error {
    /// The failure in one word, for metrics and spans.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Client(error) => match error.kind() {
                client::Kind::Resolve | client::Kind::Refused | client::Kind::Connect | client::Kind::Tls => {
                    "unreachable"
                }
                client::Kind::Silent => "silent",
                client::Kind::Broken => "broken",
                client::Kind::BadAnswer(_) => "nonsense",
            },
            Self::Body(_) => "broken",
            Self::Nonsense(_) | Self::Request(_) => "nonsense",
        }
    }
}

impl From<http::Error> for Error {
    fn from(error: http::Error) -> Self {
        Self::Request(error)
    }
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
        Ok(Self { server, prefix, authority, account, patience, document_bytes })
    }

    /// The gateway's own account.
    #[must_use]
    pub fn own_account(&self) -> Caller {
        let mut headers = HeaderMap::new();
        if let Some(account) = &self.account {
            headers.insert(AUTHORIZATION, account.clone());
        }
        Caller { headers, activity: Activity::default() }
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
        frame_body(&mut parts, &body);
        let answer = self.server.send(Request::from_parts(parts, body), patience).await.map_err(Error::Client)?;
        let (mut parts, body) = answer.into_parts();
        headers::strip_response(&mut parts.headers);
        Ok(Response::from_parts(parts, body))
    }

    /// Reads a document. `query` is a raw query string, such as `rev=1-a`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn read(&self, path: &DocumentPath, query: &str, caller: &Caller) -> Result<Answer, Error> {
        let request = self.request(Method::GET, path, query, caller, Body::empty())?;
        let (head, bytes) = self.exchange(request, caller).await?;
        if head.status != StatusCode::OK {
            return Ok(Answer::Other(Response::from_parts(head, bytes)));
        }
        Ok(Answer::Document(Document::parse(&bytes).map_err(Error::Nonsense)?, head))
    }

    /// Reads an attachment that CouchDB itself keeps. Its name is not encoded yet.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn attachment(&self, path: &DocumentPath, name: &str, caller: &Caller) -> Result<Response<Bytes>, Error> {
        let document = format!("{}/{}", path.document, encode(name));
        let path = DocumentPath { database: path.database.clone(), document };
        let mut request = self.request(Method::GET, &path, "", caller, Body::empty())?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("*/*"));
        let (head, bytes) = self.exchange(request, caller).await?;
        Ok(Response::from_parts(head, bytes))
    }

    /// Writes a document; the revision that it follows stands in it.
    ///
    /// # Errors
    /// See [`Error`]: whether the document was written is then unknown.
    pub async fn save(&self, path: &DocumentPath, document: &Bytes, caller: &Caller) -> Result<Save, Error> {
        let request = self.request(Method::PUT, path, "", caller, Body::full(document.clone()))?;
        let (head, body) = self.exchange(request, caller).await?;
        Ok(Save { head, body })
    }

    /// Opens the endless changes feed of a database with the gateway's own account.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn changes(&self, database: &str, query: &str) -> Result<Response<Body>, Error> {
        let path = DocumentPath { database: database.to_owned(), document: "_changes".to_owned() };
        let request = self.request(Method::GET, &path, query, &self.own_account(), Body::empty())?;
        self.server.send(request, self.patience).await.map_err(Error::Client)
    }

    async fn exchange(
        &self,
        mut request: Request<Body>,
        caller: &Caller,
    ) -> Result<(http::response::Parts, Bytes), Error> {
        let call = caller.activity.couch(request.method());
        call.propagate(request.headers_mut());
        let answer = self.server.send(request, self.patience).await.map_err(Error::Client);
        let (mut head, body) = match answer {
            Ok(answer) => answer.into_parts(),
            Err(error) => {
                call.ended(error.reason());
                return Err(error);
            }
        };
        let bytes = match collect(body, self.document_bytes).await {
            Ok(bytes) => bytes,
            Err(error) => {
                call.ended("broken");
                return Err(Error::Body(error));
            }
        };
        call.answered(head.status);
        headers::strip_response(&mut head.headers);
        Ok((head, bytes))
    }

    fn request(
        &self,
        method: Method,
        path: &DocumentPath,
        query: &str,
        caller: &Caller,
        body: Body,
    ) -> Result<Request<Body>, Error> {
        let mark = if query.is_empty() { "" } else { "?" };
        let target = format!("{}/{}/{}{mark}{query}", self.prefix, path.database, path.document);
        let mut request = Request::builder().method(method).uri(target).body(body)?;
        let headers = request.headers_mut();
        headers.clone_from(&caller.headers);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.entry(HOST).or_insert_with(|| self.authority.clone());
        Ok(request)
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

/// Whether a 404 says that the database, not the document, is missing.
#[must_use]
pub fn is_missing_database(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Refusal {
        reason: String,
    }
    serde_json::from_slice::<Refusal>(body).is_ok_and(|refusal| refusal.reason.starts_with("Database does not exist"))
}
