//! Calls to Azure, through `azure_core`'s pipeline, which signs each attempt and retries transient failures.
//!
//! Every call can be retried: its body is in memory. What a retry cannot tell is whether an earlier attempt took effect after all;
//! [`Reply::doubtful`] and [`Lost::seen`] leave that for the caller to find out.

pub(super) use crate::engine::lost::Lost;

use std::sync::Arc;
use std::time::Duration;

use azure_core::http::headers::{ETAG, HeaderName, Headers, VERSION};
use azure_core::http::{
    ClientOptions, Context, Method, Pipeline, PipelineStreamOptions, Request, StatusCode, Transport as AzureTransport,
    Url,
};
use bytes::Bytes;

use super::address::Address;
use super::attempt::{Attempt, Trail, conditions, retries};
use super::fault::{code, passes, refusal, status};
use super::shared_key::SharedKey;
use super::transport::{Transport, body, own};
use crate::{Error, Kind, Result};
use stowage_base::tasks::Tasks;
use stowage_http::body::Body;
use stowage_http::client::Client;
use stowage_http::connect::Reach;
use stowage_http::idle::collect_within;

/// An opened account.
#[derive(Debug)]
pub(super) struct Account {
    /// The storage's id in the plan, for logs.
    pub(super) id: String,
    pub(super) address: Address,
    pub(super) tasks: Tasks,
    pipeline: Pipeline,
}

/// A call to be made.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// Completes "refused to".
    what: &'static str,
    request: Request,
}

/// A response that a retry would not improve.
#[derive(Debug)]
pub(super) struct Reply {
    what: &'static str,
    pub(super) status: StatusCode,
    headers: Headers,
    /// The object; empty on failure.
    pub(super) body: Body,
    /// The response body on failure.
    said: Bytes,
    /// Whether an earlier attempt of this call may have taken effect.
    pub(super) doubtful: bool,
}

impl Call {
    /// Adds a header.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.request.insert_header(HeaderName::from_static(name), value.into());
        self
    }

    /// Sets the body.
    pub(super) fn data(mut self, data: Bytes) -> Self {
        self.request.set_body(data);
        self
    }

    /// Sets the query, which is used verbatim.
    pub(super) fn query(mut self, query: &str) -> Self {
        self.request.url_mut().set_query(Some(query));
        self
    }
}

impl Account {
    pub(super) fn new(id: &str, address: Address, signer: SharedKey, client: Client, tasks: Tasks) -> Self {
        let server = client.server(address.origin.clone(), Reach::Tenant);
        let options = ClientOptions {
            retry: retries(),
            transport: Some(AzureTransport::new(Arc::new(Transport { server, client }))),
            ..ClientOptions::default()
        };
        let (name, version) = (Some(env!("CARGO_PKG_NAME")), Some(env!("CARGO_PKG_VERSION")));
        let each_try = vec![Arc::new(Attempt) as _, Arc::new(signer) as _];
        let pipeline = Pipeline::new(name, version, options, Vec::new(), each_try, Some(conditions()));
        Self { id: id.to_owned(), address, tasks, pipeline }
    }

    /// Creates a call without a body; a `container` of `None` means the plan's.
    ///
    /// # Errors
    /// `Refused` for a name that URL parsing would change.
    pub(super) fn call(&self, what: &'static str, method: Method, container: Option<&str>, blob: &str) -> Result<Call> {
        let path = self.address.path(container.unwrap_or(&self.address.container), blob);
        let url = Url::parse(&format!("{}{path}", self.address.origin)).ok().filter(|url| url.path() == path);
        let url = url.ok_or_else(|| Error::new(Kind::Refused, "a name that cannot stand in a request"))?;
        let mut request = Request::new(url, method);
        request.insert_header(VERSION, API_VERSION);
        Ok(Call { what, request })
    }

    /// Makes a call, retrying transient failures a few times.
    pub(super) async fn ask(&self, call: &Call) -> std::result::Result<Reply, Lost> {
        let mut request = call.request.clone();
        let bytes = request.body().len().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
        let context =
            Context::new().with_value(Trail::start(call.what, bytes, call.request.method() == Method::Delete));
        let options = PipelineStreamOptions { skip_checks: true, ..PipelineStreamOptions::default() };
        let outcome = self.pipeline.stream(&context, &mut request, Some(options)).await;
        let seen = context.value::<Trail>().is_some_and(Trail::seen);
        let (status, headers, answer) = outcome.map_err(|error| Lost { error: own(error), seen })?.deconstruct();
        if passes(status) {
            return Err(Lost { error: refusal(call.what, status, &headers), seen });
        }
        let mut body = body(answer);
        let mut said = Bytes::new();
        if !status.is_success() {
            // Drained, so that the connection can be reused; the code is in a header.
            let reading = collect_within(Some(TIME_TO_SAY), std::mem::take(&mut body), LONGEST_ERROR);
            said = reading.await.unwrap_or_default();
        }
        Ok(Reply { what: call.what, status, headers, body, said, doubtful: seen })
    }
}

impl Reply {
    /// Returns whether the call succeeded.
    pub(super) fn is_done(&self) -> bool {
        self.status.is_success()
    }

    /// Returns the response, unless it is a failure.
    pub(super) fn done(self) -> Result<Self> {
        if self.is_done() { Ok(self) } else { Err(self.refusal()) }
    }

    /// Returns the code of a failure.
    pub(super) fn code(&self) -> &str {
        code(&self.headers)
    }

    /// Returns whether the blob does not exist. Any other 404 is about its container, its account, or a proxy.
    pub(super) fn is_no_blob(&self) -> bool {
        self.status == StatusCode::NotFound && self.code() == "BlobNotFound"
    }

    /// Returns whether there is nothing to remove.
    pub(super) fn is_gone(&self) -> bool {
        self.is_no_blob() || (self.status == StatusCode::NotFound && self.code() == "ContainerNotFound")
    }

    /// Returns whether something at the name is in the way: 409 `BlobAlreadyExists` for `If-None-Match: *`, 412 for any other condition
    /// and for a lease, 409 for blobs of other types, or under a policy, hold or copy ("Blob service error codes"). A 409 about the
    /// container or account does not count.
    pub(super) fn is_taken(&self) -> bool {
        let above = || ["Container", "Account"].iter().any(|of| self.code().starts_with(of));
        match self.status {
            StatusCode::PreconditionFailed => true,
            StatusCode::Conflict => !self.code().is_empty() && !above(),
            _ => false,
        }
    }

    pub(super) fn header(&self, name: &'static str) -> Option<&str> {
        self.headers.get_optional_str(&HeaderName::from_static(name))
    }

    /// Returns the blob's ETag as sent by the server.
    pub(super) fn tag(&self) -> Option<&str> {
        self.headers.get_optional_str(&ETAG)
    }

    /// Returns the blob's ETag without quotes.
    pub(super) fn etag(&self) -> Option<String> {
        Some(self.tag()?.trim_matches('"').to_owned()).filter(|tag| !tag.is_empty())
    }

    /// Converts a failure to an error.
    pub(super) fn refusal(&self) -> Error {
        refusal(self.what, self.status, &self.headers).saying(&self.said)
    }

    /// Verifies that the server's MD5 of the request body, if given, matches ours.
    pub(super) fn check(&self, md5: &str) -> Result<()> {
        match self.header("content-md5") {
            Some(theirs) if theirs != md5 => {
                Err(Error::new(Kind::Passing, "Azure has got other bytes than it was sent")
                    .with_status(status(self.status)))
            }
            _ => Ok(()),
        }
    }
}

/// Service version in use; it supports everything requested here.
const API_VERSION: &str = "2021-12-02";
/// Timeout for reading a failure's body.
const TIME_TO_SAY: Duration = Duration::from_secs(5);
/// In bytes.
const LONGEST_ERROR: u64 = 4 << 10;
