//! Calls to Azure: each try is signed.

use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};

use super::address::Address;
use super::shared_key::SharedKey;
use crate::engine::api::{Api, Call, Fault, Lost, Reply, Vendor, by_status};
use crate::{Error, Kind, Result};
use stowage_base::tasks::Tasks;
use stowage_http::body::Body;
use stowage_http::client::Client;

/// Every failure has its code in a header ("Status and error codes").
static AZURE: Vendor = Vendor { name: "Azure", fails: by_status, fault, header: Some("x-ms-error-code") };

/// The code goes into messages: only what looks like one may.
fn fault(_: StatusCode, code: &[u8]) -> Fault {
    let sound = code.len() <= 64 && code.iter().all(u8::is_ascii_alphanumeric);
    Fault { code: String::from_utf8_lossy(if sound { code } else { b"" }).into_owned(), ..Fault::default() }
}

/// An opened account.
#[derive(Debug)]
pub(super) struct Account {
    /// The storage's id in the plan, for log lines.
    pub(super) id: String,
    pub(super) address: Address,
    pub(super) tasks: Tasks,
    api: Api,
    key: SharedKey,
}

impl Account {
    pub(super) fn new(id: &str, address: Address, key: SharedKey, client: Client, tasks: Tasks) -> Self {
        Self { id: id.to_owned(), address, tasks, api: Api::new(&AZURE, client, Vec::new()), key }
    }

    /// A call without a body; a container of `None` is the plan's, and a query has its `?`.
    pub(super) fn call(&self, method: Method, container: Option<&str>, blob: &str, query: &str) -> Call {
        let path = self.address.path(container.unwrap_or(&self.address.container), blob);
        Call::new(method, &self.address.origin, format!("{path}{query}")).header(VERSION, API_VERSION)
    }

    /// Sends a call, a few times where the failure may pass.
    pub(super) async fn ask(&self, call: &Call) -> std::result::Result<Reply, Lost> {
        let once = async |patience| {
            let signed = self.key.sign(call)?;
            self.api.once(&signed, None, Body::full(call.data.clone()), patience).await
        };
        self.api.repeat(call.data.len(), once).await
    }
}

/// Whether the blob is not there. Any other 404 is about its container, its account, or a proxy.
pub(super) fn is_no_blob(reply: &Reply) -> bool {
    reply.status == StatusCode::NOT_FOUND && reply.code() == "BlobNotFound"
}

/// Whether there is nothing to be removed.
pub(super) fn is_gone(reply: &Reply) -> bool {
    is_no_blob(reply) || (reply.status == StatusCode::NOT_FOUND && reply.code() == "ContainerNotFound")
}

/// Whether something that is at the name is in the way: 409 `BlobAlreadyExists` for `If-None-Match: *`, 412 for any other
/// condition and for a lease, and 409 for blobs of other kinds, under a policy, a hold, a copy ("Blob service error codes").
/// Not where 409 is about the container or the account.
pub(super) fn is_taken(reply: &Reply) -> bool {
    let above = || ["Container", "Account"].iter().any(|of| reply.code().starts_with(of));
    match reply.status {
        StatusCode::PRECONDITION_FAILED => true,
        StatusCode::CONFLICT => !reply.code().is_empty() && !above(),
        _ => false,
    }
}

/// The server's MD5 of what it was sent, where it says one, has to be ours.
pub(super) fn check(reply: &Reply, md5: &str) -> Result<()> {
    match reply.header("content-md5") {
        Some(theirs) if theirs != md5 => {
            Err(Error::new(Kind::Passing, "Azure has got other bytes than it was sent").with_status(reply.status))
        }
        _ => Ok(()),
    }
}

const VERSION: HeaderName = HeaderName::from_static("x-ms-version");
/// The version of the service that is spoken; it has everything that is asked here.
const API_VERSION: HeaderValue = HeaderValue::from_static("2021-12-02");
