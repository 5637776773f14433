//! The state shared by the documents of one response; opens their attachments.

use std::sync::Arc;

use http::header::HeaderMap;
use http::{Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use stowage_base::activity::Activity;
use stowage_couch as couch;
use stowage_http::base64::encoded;
use stowage_http::body::{Body, collect};
use stowage_http::gzip::Gunzip;

use super::state::{Inline, Terms};
use crate::attachment::get::{self, Opened};
use crate::attachment::link::Asked;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::object::source::Source;
use crate::pointer::Entry;
use crate::pointer::kazoo::Link;
use crate::record::about;
use crate::router::{Database, Operation, Target};

/// The state shared by the documents of one response.
#[derive(Clone)]
pub(super) struct View {
    pub(super) gateway: Arc<Gateway>,
    pub(super) database: Database,
    /// The client's headers: links are followed with its rights.
    pub(super) headers: HeaderMap,
    pub(super) activity: Activity,
    pub(super) terms: Arc<Terms>,
    /// Whether documents may be at older revisions, whose objects may have been replaced.
    pub(super) by_rev: bool,
    /// Whether the request is not a HEAD.
    pub(super) wants_body: bool,
}

impl View {
    /// Returns a view that wants the bytes of all attachments.
    pub(super) fn with_data(&self) -> Arc<Self> {
        let terms = Terms { requested_rows: self.terms.requested_rows.clone().with_data(), ..(*self.terms).clone() };
        Arc::new(Self { terms: Arc::new(terms), ..self.clone() })
    }

    /// Returns the limit on the bytes of a document held in memory.
    pub(super) fn limit(&self) -> u64 {
        self.terms.limit
    }

    /// Opens an attachment as stored.
    pub(super) async fn open(&self, inline: &Inline) -> Result<Body, Error> {
        let target = self.target(inline);
        // Boxed because the future is large, and most responses only have stubs.
        let opened = Box::pin(self.open_at(inline, &target)).await;
        if let Err(error) = &opened {
            self.record(&target, error);
        }
        opened
    }

    /// Opens an attachment as base64 of its decompressed bytes.
    pub(super) async fn open_encoded(&self, inline: &Inline) -> Result<Body, Error> {
        let body = self.open(inline).await?;
        let body = if inline.is_gzip() { Body::boxed(Gunzip::tolerant(body)) } else { body };
        Ok(encoded(body))
    }

    /// Determines a length that the document does not contain: from the storage, or by reading the attachment once.
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
                if self.by_rev && source.may_be_another() {
                    source.verify().await?;
                }
                source.open(None).await
            }
            Entry::Link(link) => self.linked(target, link).await,
        }
    }

    /// Opens the target of a link, with the client's rights.
    async fn linked(&self, target: &Target, link: Link) -> Result<Body, Error> {
        let asked = Asked::whole(&self.headers, &self.activity);
        match Box::pin(get::open(&self.gateway, target.clone(), link, &asked)).await? {
            Opened::Outside(stored) => Ok(Box::pin(stored.answer(&self.gateway, &asked)).await?.into_body()),
            Opened::Couch(answer) if answer.status() == StatusCode::OK => Ok(answer.into_body()),
            Opened::Couch(answer) => Err(refusal(answer).await),
        }
    }

    fn record(&self, target: &Target, error: &Error) {
        let about = about(target, Operation::Get { body: true });
        self.gateway.records.failed(about, error, &self.activity.id());
    }
}

/// Returns CouchDB's reason for refusing a linked attachment.
async fn refusal(answer: Response<Body>) -> Error {
    #[derive(serde::Deserialize)]
    struct Refusal {
        reason: String,
    }
    let (status, error) = match answer.status() {
        status @ StatusCode::UNAUTHORIZED => (status, "unauthorized"),
        status @ StatusCode::FORBIDDEN => (status, "forbidden"),
        status @ StatusCode::NOT_FOUND => (status, "not_found"),
        _ => (StatusCode::BAD_GATEWAY, "bad_gateway"),
    };
    let text = collect(answer.into_body(), MOST_REASON).await.unwrap_or_default();
    let reason = serde_json::from_slice::<Refusal>(&text).map(|refusal| refusal.reason);
    Error::refused(status, error, reason.unwrap_or_else(|_| "a linked attachment cannot be read".to_owned()))
}

/// The limit on the bytes read of a refusal.
const MOST_REASON: u64 = 64 << 10;
