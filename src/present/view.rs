//! What the documents of one answer share, and opening their attachments.

use std::sync::Arc;

use http::header::HeaderMap;
use http::uri::PathAndQuery;
use http::{Request, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use stowage_base::activity::Activity;
use stowage_couch::{self as couch, Document};
use stowage_http::base64::{Encode, encoded_length};
use stowage_http::body::{Body, collect};
use stowage_http::gzip::Gunzip;
use stowage_http::headers;
use stowage_http::target::encode;

use super::edit::Terms;
use crate::attachment::get::get;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::object::source::Source;
use crate::pointer::{Entry, Outside, Pointer};
use crate::record::About;
use crate::router::{Database, Target};

/// What the documents of one answer share.
#[derive(Clone)]
pub(super) struct View {
    pub(super) gateway: Arc<Gateway>,
    pub(super) database: Database,
    /// The client's: links are followed with its rights.
    pub(super) headers: HeaderMap,
    pub(super) activity: Activity,
    pub(super) terms: Arc<Terms>,
    /// Documents may be older than their newest revision: an object may have been replaced since.
    pub(super) by_rev: bool,
    /// It was no HEAD.
    pub(super) wants_body: bool,
}

/// An attachment whose bytes belong into an answer.
#[derive(Debug)]
pub(super) struct Inline {
    pub(super) document: Arc<Document>,
    pub(super) outside: Outside,
}

impl Inline {
    fn object(&self) -> Option<&Pointer> {
        match &self.outside.entry {
            Ok(Entry::Object(pointer)) => Some(pointer),
            _ => None,
        }
    }

    /// Whether its bytes are gzip that the client sent.
    pub(super) fn is_gzip(&self) -> bool {
        self.object().is_some_and(Pointer::is_gzip)
    }

    /// How long the bytes are as they are stored, where the document says so.
    pub(super) fn length(&self) -> Option<u64> {
        self.object()?.length
    }

    /// How long they are as base64, unpacked.
    pub(super) fn encoded_length(&self) -> Option<u64> {
        self.length().filter(|_| !self.is_gzip()).map(encoded_length)
    }
}

impl View {
    /// The same with the bytes of all attachments.
    pub(super) fn with_data(&self) -> Arc<Self> {
        let terms = Terms { wishes: self.terms.wishes.clone().with_data(), ..(*self.terms).clone() };
        Arc::new(Self { terms: Arc::new(terms), ..self.clone() })
    }

    /// The most bytes of a document that are held.
    pub(super) fn limit(&self) -> u64 {
        self.terms.limit
    }

    /// Opens an attachment as it is stored.
    pub(super) async fn open(&self, inline: &Inline) -> Result<Body, Error> {
        let target = self.target(inline);
        // What opens an attachment is large: most answers have stubs, and are not to carry it along.
        let opened = Box::pin(self.open_at(inline, &target)).await;
        if let Err(error) = &opened {
            self.record(&target, error);
        }
        opened
    }

    /// Opens an attachment as base64 of what it is unpacked.
    pub(super) async fn open_encoded(&self, inline: &Inline) -> Result<Body, Error> {
        let body = self.open(inline).await?;
        let body = if inline.is_gzip() { Body::boxed(Gunzip::tolerant(body)) } else { body };
        Ok(Body::boxed(Encode::new(body)))
    }

    /// How long an attachment is of which the document does not say so: the storage is asked, or it is read once.
    pub(super) async fn measure(&self, inline: &Inline) -> Result<u64, Error> {
        let mut body = self.open(inline).await?;
        if let Some(length) = body.size_hint().exact() {
            return Ok(length);
        }
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Error::from(couch::Error::Body(error)))?;
            self.activity.deadline().restart();
            length += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok(length)
    }

    fn target(&self, inline: &Inline) -> Target {
        let id = inline.document.text("_id").unwrap_or_default();
        self.database.document(&id).attachment(&inline.outside.name)
    }

    async fn open_at(&self, inline: &Inline, target: &Target) -> Result<Body, Error> {
        match inline.outside.entry.clone()? {
            Entry::Object(pointer) => {
                let gateway = Arc::clone(&self.gateway);
                let source = Source::of(gateway, self.activity.clone(), target, &inline.document, *pointer).await?;
                if self.by_rev && source.pointer.stowage.etag.is_none() {
                    source.verify().await?;
                }
                source.open(None).await
            }
            Entry::Link(_) => self.follow(inline, target).await,
        }
    }

    /// What a GET of the attachment answers, which follows links with the client's rights.
    async fn follow(&self, inline: &Inline, target: &Target) -> Result<Body, Error> {
        let query = inline.document.rev().map(|rev| format!("rev={}", encode(&rev)));
        let path = format!(
            "/{}/{}/{}?{}",
            target.path.database,
            target.path.document,
            encode(&target.attachment),
            query.as_deref().unwrap_or_default()
        );
        let path = PathAndQuery::try_from(path).map_err(|_| Error::Bug("an encoded path is no path"))?;
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from(path);
        *request.headers_mut() = self.headers.clone();
        headers::forget_message(request.headers_mut());
        let exchange = Exchange { request, id: self.activity.id(), activity: self.activity.clone() };
        let target = Target { query, ..target.clone() };
        let answer = Box::pin(get(Arc::clone(&self.gateway), target, exchange, true)).await?;
        let status = answer.status();
        if status == StatusCode::OK {
            return Ok(answer.into_body());
        }
        #[derive(serde::Deserialize)]
        struct Refusal {
            reason: String,
        }
        let text = collect(answer.into_body(), MOST_REASON).await.unwrap_or_default();
        let reason = serde_json::from_slice::<Refusal>(&text).map(|refusal| refusal.reason);
        let error = match status {
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "not_found",
            _ => "bad_gateway",
        };
        let status = if error == "bad_gateway" { StatusCode::BAD_GATEWAY } else { status };
        Err(Error::refused(status, error, reason.unwrap_or_else(|_| "a linked attachment cannot be read".to_owned())))
    }

    fn record(&self, target: &Target, error: &Error) {
        let about = About {
            account: target.database.account.clone(),
            database: target.database.name.clone(),
            document: target.document.clone(),
            attachment: target.attachment.clone(),
            operation: "get",
        };
        self.gateway.records.failed(about, error, &self.activity.id());
    }
}

/// The most bytes of a refusal that are read.
const MOST_REASON: u64 = 64 << 10;
