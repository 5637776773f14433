//! One call to Azure: through `azure_core`'s pipeline, which signs every try and repeats where a failure may pass.
//!
//! Every call may be repeated: its body is in memory. What cannot be known after a repeat is whether an earlier try had
//! its effect after all; [`Reply::doubtful`] and [`Lost::seen`] keep that for the caller to find out.

pub(super) use crate::engine::lost::Lost;

use std::sync::Arc;
use std::time::Duration;

use azure_core::http::headers::{ERROR_CODE, ETAG, HeaderName, Headers, VERSION};
use azure_core::http::{
    ClientOptions, Context, Method, Pipeline, PipelineStreamOptions, Request, StatusCode, Transport as AzureTransport,
    Url,
};
use bytes::Bytes;

use super::address::Address;
use super::attempt::{Attempt, Trail, asked, conditions, passes, retries};
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
    /// The storage's id in the plan, for log lines.
    pub(super) id: String,
    pub(super) address: Address,
    pub(super) tasks: Tasks,
    pipeline: Pipeline,
}

/// What is to be asked.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// Reads on after "refused to".
    what: &'static str,
    request: Request,
}

/// An answer that will not get better by asking again.
#[derive(Debug)]
pub(super) struct Reply {
    what: &'static str,
    pub(super) status: StatusCode,
    headers: Headers,
    /// The object; empty for failures.
    pub(super) body: Body,
    /// What a failure says in its body.
    said: Bytes,
    /// Whether an earlier try of this call may have had its effect.
    pub(super) doubtful: bool,
}

impl Call {
    /// The same call with another header.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.request.insert_header(HeaderName::from_static(name), value.into());
        self
    }

    /// The same call with a body.
    pub(super) fn data(mut self, data: Bytes) -> Self {
        self.request.set_body(data);
        self
    }

    /// The same call with a query, which is taken as it is.
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

    /// A call without a body; a container of `None` is the plan's.
    ///
    /// # Errors
    /// `Refused` for a name that would become another one in a URL.
    pub(super) fn call(&self, what: &'static str, method: Method, container: Option<&str>, blob: &str) -> Result<Call> {
        let path = self.address.path(container.unwrap_or(&self.address.container), blob);
        let url = Url::parse(&format!("{}{path}", self.address.origin)).ok().filter(|url| url.path() == path);
        let url = url.ok_or_else(|| Error::new(Kind::Refused, "a name that cannot stand in a request"))?;
        let mut request = Request::new(url, method);
        request.insert_header(VERSION, API_VERSION);
        Ok(Call { what, request })
    }

    /// Sends a call, a few times where the failure may pass.
    pub(super) async fn ask(&self, call: &Call) -> std::result::Result<Reply, Lost> {
        let mut request = call.request.clone();
        let bytes = request.body().len().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
        let context = Context::new().with_value(Trail::start(call.what, bytes));
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
            // Read to its end, so that the connection can be used again; the code is in a header.
            let reading = collect_within(Some(TIME_TO_SAY), std::mem::take(&mut body), LONGEST_ERROR);
            said = reading.await.unwrap_or_default();
        }
        Ok(Reply { what: call.what, status, headers, body, said, doubtful: seen })
    }
}

impl Reply {
    /// Whether the call was done.
    pub(super) fn is_done(&self) -> bool {
        self.status.is_success()
    }

    /// The code of a failure.
    pub(super) fn code(&self) -> &str {
        code(&self.headers)
    }

    /// Whether the blob is not there. Any other 404 is about its container, its account, or a proxy.
    pub(super) fn is_no_blob(&self) -> bool {
        self.status == StatusCode::NotFound && self.code() == "BlobNotFound"
    }

    /// Whether there is nothing to be removed.
    pub(super) fn is_gone(&self) -> bool {
        self.is_no_blob() || (self.status == StatusCode::NotFound && self.code() == "ContainerNotFound")
    }

    /// Whether something that is at the name is in the way: 409 `BlobAlreadyExists` for `If-None-Match: *`, 412 for any other
    /// condition and for a lease, and 409 for blobs of other kinds, under a policy, a hold, a copy ("Blob service error
    /// codes"). Not where 409 is about the container or the account.
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

    /// The blob's tag as the server gave it.
    pub(super) fn tag(&self) -> Option<&str> {
        self.headers.get_optional_str(&ETAG)
    }

    /// The blob's tag without its quotes.
    pub(super) fn etag(&self) -> Option<String> {
        Some(self.tag()?.trim_matches('"').to_owned()).filter(|tag| !tag.is_empty())
    }

    /// The error for a failure.
    pub(super) fn refusal(&self) -> Error {
        refusal(self.what, self.status, &self.headers).saying(&self.said)
    }

    /// The server's MD5 of what it was sent, where it says one, has to be ours.
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

/// The error for a failure.
pub(super) fn refusal(what: &str, failed: StatusCode, headers: &Headers) -> Error {
    let text = match code(headers) {
        "" => format!("Azure refused to {what}"),
        code => format!("Azure refused to {what}: {code}"),
    };
    Error::answered(status(failed), text).after(asked(headers))
}

/// Every failure has its code in a header ("Status and error codes"). It goes into messages: only what looks like one may.
fn code(headers: &Headers) -> &str {
    let code = headers.get_optional_str(&ERROR_CODE).unwrap_or_default();
    let sound = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if sound { code } else { "" }
}

fn status(status: StatusCode) -> http::StatusCode {
    http::StatusCode::from_u16(status.into()).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR)
}

/// The version of the service that is spoken; it has everything that is asked here.
const API_VERSION: &str = "2021-12-02";
/// For all of what a failure says.
const TIME_TO_SAY: Duration = Duration::from_secs(5);
/// In bytes.
const LONGEST_ERROR: u64 = 4 << 10;
