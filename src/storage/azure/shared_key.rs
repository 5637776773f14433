//! Authorisation by the account's key: a policy of `azure_core`'s pipeline that signs every try afresh.
//!
//! "Authorize with Shared Key" says what is signed: the method, eleven headers in their order, all `x-ms-` headers, and the
//! resource with the account in front of its encoded path and its query decoded.

use std::fmt;
use std::fmt::Write;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::Secret;
use azure_core::hmac::hmac_sha256;
use azure_core::http::headers::{AUTHORIZATION, HeaderName, MS_DATE};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request};
use azure_core::time::{OffsetDateTime, to_rfc7231};

use super::transport::broken_pipeline;

/// Signs with one account's key.
pub(super) struct SharedKey {
    account: String,
    key: Secret,
}

impl SharedKey {
    /// `None` for a key that is no base64.
    pub(super) fn new(account: String, key: String) -> Option<Self> {
        let key = Secret::new(key);
        hmac_sha256("", &key).ok()?;
        Some(Self { account, key })
    }

    /// Puts date and signature into a request that is otherwise as it will be sent.
    fn sign(&self, request: &mut Request, now: &OffsetDateTime) -> azure_core::Result<()> {
        request.insert_header(MS_DATE, to_rfc7231(now));
        let signature = hmac_sha256(&text_to_sign(request, &self.account), &self.key)?;
        request.insert_header(AUTHORIZATION, format!("SharedKey {}:{signature}", self.account));
        Ok(())
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKey").field("account", &self.account).finish_non_exhaustive()
    }
}

#[expect(elided_lifetimes_in_paths, reason = "`async_trait` makes other bounds of a lifetime that is written out")]
#[async_trait]
impl Policy for SharedKey {
    async fn send(&self, context: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let [first, rest @ ..] = next else { return Err(broken_pipeline()) };
        self.sign(request, &OffsetDateTime::now_utc())?;
        first.send(context, request, rest).await
    }
}

fn text_to_sign(request: &Request, account: &str) -> String {
    let mut text = format!("{}\n", request.method().as_str());
    for name in SIGNED {
        let value = match name {
            "content-length" => length(request),
            // `x-ms-date` takes its place.
            "date" => None,
            name => request.headers().get_optional_string(&HeaderName::from_static(name)),
        };
        text.push_str(&value.unwrap_or_default());
        text.push('\n');
    }
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut own: Vec<_> = headers.filter(|(name, _)| name.starts_with("x-ms-")).collect();
    own.sort();
    for (name, value) in own {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}:{}", value.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
    }
    let url = request.url();
    let _ = write!(text, "/{account}{}", url.path());
    let mut query: Vec<_> = url.query_pairs().map(|(name, value)| (name.to_lowercase(), value)).collect();
    query.sort();
    for (name, value) in query {
        let _ = write!(text, "\n{name}:{value}");
    }
    text
}

/// Of a body; an empty one counts as none (since version 2015-02-21).
fn length(request: &Request) -> Option<String> {
    request.body().len().filter(|length| *length > 0).map(|length| length.to_string())
}

/// What is signed besides the method, in its order.
const SIGNED: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];
