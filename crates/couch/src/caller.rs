//! Requests to a CouchDB, with the credentials of a client or of the gateway.

use std::time::Instant;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use stowage_base::activity::Activity;
use stowage_base::trace::Call;
use stowage_http::body::{Body, collect};
use stowage_http::target::encode;
use stowage_http::{forwarded, headers};

use super::answers::Answers;
use super::client::{Couch, DocumentPath};
use super::document::Document;
use super::error::Error;
use super::reason::{is_without_database, is_without_document};

/// A CouchDB and the identity its requests are made with.
#[derive(Debug, Clone)]
pub struct Caller {
    couch: Couch,
    headers: HeaderMap,
    activity: Activity,
    pub(super) answers: Option<Answers>,
}

impl Couch {
    /// Creates a caller with the gateway's own account.
    #[must_use]
    pub fn own_account(&self) -> Caller {
        let mut headers = HeaderMap::new();
        if let Some(account) = &self.account {
            headers.insert(AUTHORIZATION, account.clone());
        }
        forwarded::tell_own(&mut headers);
        Caller::new(self.clone(), headers, Activity::default())
    }

    /// Creates a caller with the client's credentials and its other headers, except those about its own body and response.
    #[must_use]
    pub fn client(&self, headers: &HeaderMap, activity: &Activity) -> Caller {
        let mut headers = of_client(headers);
        self.identify(&mut headers);
        Caller::new(self.clone(), headers, activity.clone())
    }

    /// Opens a changes feed of a database with the gateway's own account.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn changes(&self, database: &str, query: &str) -> Result<Response<Body>, Error> {
        let target = format!("{database}/_changes?{query}");
        let request = self.own_account().request(Method::GET, &target, Body::empty())?;
        self.server.send(request, self.patience).await.map_err(Error::Client)
    }
}

/// Returns a client's headers, except those about its own body and response.
fn of_client(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers::strip_request(&mut headers);
    headers::join_cookies(&mut headers);
    headers::forget_message(&mut headers);
    headers
}

/// CouchDB's response to a request for a document, or for several revisions of one.
#[derive(Debug)]
pub enum Answer<T = Document> {
    /// The requested document or revisions, with the head of the response.
    Found(T, http::response::Parts),
    /// The document or revision does not exist; with CouchDB's response.
    Missing(Response<Bytes>),
    /// Any other response, including a missing database, to be interpreted or forwarded.
    Refused(Response<Bytes>),
}

impl<T> Answer<T> {
    fn without(answer: Response<Bytes>) -> Self {
        if answer.status() == StatusCode::NOT_FOUND && !is_without_database(answer.body()) {
            Self::Missing(answer)
        } else {
            Self::Refused(answer)
        }
    }

    /// Returns whether the document, or its database, does not exist.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Found(..) => false,
            Self::Missing(_) => true,
            Self::Refused(answer) => answer.status() == StatusCode::NOT_FOUND,
        }
    }

    /// Returns whether CouchDB itself says that the document, or its database, does not exist; a 404 of a proxy does not say so.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Found(..) => false,
            Self::Missing(answer) | Self::Refused(answer) => {
                answer.status() == StatusCode::NOT_FOUND
                    && (is_without_document(answer.body()) || is_without_database(answer.body()))
            }
        }
    }

    /// Returns the requested document, if it exists.
    ///
    /// # Errors
    /// CouchDB's response, if it is anything other than a 404.
    pub fn found(self) -> Result<Option<T>, Box<Response<Bytes>>> {
        match self {
            Self::Found(found, _) => Ok(Some(found)),
            answer if answer.is_missing() => Ok(None),
            Self::Missing(answer) | Self::Refused(answer) => Err(Box::new(answer)),
        }
    }
}

/// CouchDB's response to a save.
#[derive(Debug)]
pub struct Save {
    /// The head of the response.
    pub head: http::response::Parts,
    /// The body of the response.
    pub body: Bytes,
}

impl Save {
    /// Returns the new revision, if CouchDB reported one.
    #[must_use]
    pub fn rev(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Saved {
            rev: String,
        }
        serde_json::from_slice::<Saved>(&self.body).ok().map(|saved| saved.rev)
    }
}

impl Caller {
    const fn new(couch: Couch, headers: HeaderMap, activity: Activity) -> Self {
        Self { couch, headers, activity, answers: None }
    }

    /// Returns the CouchDB that requests go to.
    #[must_use]
    pub const fn couch(&self) -> &Couch {
        &self.couch
    }

    /// Returns the activity that requests are recorded in.
    #[must_use]
    pub const fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Returns the scheme and host the client used, if known.
    #[must_use]
    pub fn base(&self) -> Option<String> {
        forwarded::base(&self.headers)
    }

    /// Reads a document. `query` is a raw query string, such as `rev=1-a`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn read(&self, path: &DocumentPath, query: &str) -> Result<Answer, Error> {
        let mark = if query.is_empty() { "" } else { "?" };
        let target = format!("{}/{}{mark}{query}", path.database, path.document);
        let answer = self.send(Method::GET, &target, Bytes::new()).await?;
        if answer.status() != StatusCode::OK {
            return Ok(Answer::without(answer));
        }
        let (head, bytes) = answer.into_parts();
        let document = Document::parse(&bytes).map_err(|error| self.couch.failed(Error::Nonsense(error)))?;
        Ok(Answer::Found(document, head))
    }

    /// Reads several revisions of a document, `None` for each that does not exist. `revs` is `all` for all leaves, or an unencoded JSON
    /// list of revisions. `more` is appended to the raw query: `&latest=true` returns the leaves that descend from each of them. (With a
    /// plain `?rev=` it would return the winner, whatever the revision: `chttpd_db:db_doc_req`.)
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn open_revs(
        &self,
        path: &DocumentPath,
        revs: &str,
        more: &str,
    ) -> Result<Answer<Vec<Option<Document>>>, Error> {
        #[derive(serde::Deserialize)]
        struct Leaf {
            ok: Option<Box<serde_json::value::RawValue>>,
        }
        let target = format!("{}/{}?open_revs={}{more}", path.database, path.document, encode(revs));
        let answer = self.send(Method::GET, &target, Bytes::new()).await?;
        if answer.status() != StatusCode::OK {
            return Ok(Answer::without(answer));
        }
        let (head, bytes) = answer.into_parts();
        let Ok(leaves) = serde_json::from_slice::<Vec<Leaf>>(&bytes) else {
            // A server that does not support `open_revs` returns the document.
            let document = Document::parse(&bytes).map_err(Error::Nonsense)?;
            return Ok(Answer::Found(vec![Some(document)], head));
        };
        let parse = |leaf: Leaf| leaf.ok.map(|text| Document::parse(text.get().as_bytes())).transpose();
        let leaves = leaves.into_iter().map(parse).collect::<Result<_, _>>().map_err(Error::Nonsense)?;
        Ok(Answer::Found(leaves, head))
    }

    /// Reads an attachment stored in CouchDB itself. `name` is unencoded.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn attachment(&self, path: &DocumentPath, name: &str) -> Result<Response<Bytes>, Error> {
        let target = format!("{}/{}/{}", path.database, path.document, encode(name));
        let mut request = self.request(Method::GET, &target, Body::empty())?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("*/*"));
        self.exchange(request).await
    }

    /// Opens an attachment of this revision that is stored in CouchDB itself, with its bytes as stored: gzipped if CouchDB has
    /// compressed it. `name` is unencoded.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn open_attachment(&self, path: &DocumentPath, name: &str, rev: &str) -> Result<Response<Body>, Error> {
        let target = format!("{}/{}/{}?rev={}", path.database, path.document, encode(name), encode(rev));
        let mut request = self.request(Method::GET, &target, Body::empty())?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("*/*"));
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let began = Instant::now();
        let answer = self.couch.server.send(request, self.couch.patience).await;
        let answer = answer.map_err(|error| self.couch.failed(Error::Client(error)));
        self.record(began, &answer);
        answer
    }

    /// Writes a document, which contains the revision it updates.
    ///
    /// # Errors
    /// See [`Error`]: whether the document was written is then unknown.
    pub async fn save(&self, path: &DocumentPath, document: &Bytes) -> Result<Save, Error> {
        self.save_with(path, "", document).await
    }

    /// Writes a document like [`Self::save`]. `query` is raw, and may be empty.
    ///
    /// # Errors
    /// See [`Self::save`].
    pub async fn save_with(&self, path: &DocumentPath, query: &str, document: &Bytes) -> Result<Save, Error> {
        let mark = if query.is_empty() { "" } else { "?" };
        let target = format!("{}/{}{mark}{query}", path.database, path.document);
        let (head, body) = self.send(Method::PUT, &target, document.clone()).await?.into_parts();
        Ok(Save { head, body })
    }

    /// Sends a document with a custom body, such as one followed by its attachments; returns the status of the response.
    ///
    /// # Errors
    /// See [`Error`]: what the request has done is then unknown.
    pub async fn send_body(
        &self,
        method: Method,
        path: &DocumentPath,
        (name, value): (HeaderName, HeaderValue),
        body: Body,
    ) -> Result<StatusCode, Error> {
        let mut request = self.request(method, &format!("{}/{}", path.database, path.document), body)?;
        request.headers_mut().insert(name, value);
        Ok(self.exchange(request).await?.status())
    }

    /// Forwards a client's own request with a different body, which its headers must fit: method, target and headers are kept.
    ///
    /// # Errors
    /// See [`Error`]: what the request has done is then unknown.
    pub async fn write(&self, head: &http::request::Parts, body: &Bytes) -> Result<Save, Error> {
        let mut request = Request::from_parts(head.clone(), Body::full(body.clone()));
        let call = self.activity.couch(request.method());
        call.propagate(request.headers_mut());
        let answer = self.couch.forward(request, self.couch.patience).await;
        let (head, body) = self.collected(call, answer).await?.into_parts();
        Ok(Save { head, body })
    }

    /// Sends a request with a JSON body, or none. `target` is an encoded path and query below the root of this CouchDB, without a
    /// leading slash.
    ///
    /// # Errors
    /// See [`Error`]: what a request that changes something has done is then unknown.
    pub async fn send(&self, method: Method, target: &str, body: Bytes) -> Result<Response<Bytes>, Error> {
        let began = Instant::now();
        let answer = self.exchange(self.request(method, target, Body::full(body))?).await;
        self.record(began, &answer);
        answer
    }

    async fn exchange(&self, mut request: Request<Body>) -> Result<Response<Bytes>, Error> {
        let call = self.activity.couch(request.method());
        call.propagate(request.headers_mut());
        let answer = self.couch.server.send(request, self.couch.patience).await;
        let answer = answer.map_err(|error| self.couch.failed(Error::Client(error)));
        let mut answer = self.collected(call, answer).await?;
        headers::strip_response(answer.headers_mut());
        Ok(answer)
    }

    /// Reads the whole body of a response.
    async fn collected(&self, call: Call, answer: Result<Response<Body>, Error>) -> Result<Response<Bytes>, Error> {
        let (head, body) = match answer {
            Ok(answer) => answer.into_parts(),
            Err(error) => {
                call.ended(error.reason());
                return Err(error);
            }
        };
        match collect(body, self.couch.document_bytes).await {
            Ok(body) => {
                call.answered(head.status);
                Ok(Response::from_parts(head, body))
            }
            Err(error) => {
                call.ended("broken");
                Err(self.couch.failed(Error::Body(error)))
            }
        }
    }

    fn request(&self, method: Method, target: &str, body: Body) -> Result<Request<Body>, Error> {
        let target = format!("{}/{target}", self.couch.prefix);
        let mut request = Request::builder().method(method).uri(target).body(body)?;
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.entry(HOST).or_insert_with(|| self.couch.authority.clone());
        Ok(request)
    }
}
