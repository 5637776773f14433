//! Downloads: what Google's two storages have in common.

use http::StatusCode;
use http::header::{HeaderMap, RANGE};
use stowage_http::range::ByteRange;

use super::service::Service;
use crate::engine::api::{Call, Reply};
use crate::engine::checked::Announced;
use crate::engine::read::{self, Given};
use crate::{Error, Kind, Result};

/// Human-readable vendor name.
pub(super) const VENDOR: &str = "Google";

/// Requests an object or a range of it; `is_gone` decides whether a response means that it is gone.
pub(super) async fn ask(
    service: &Service,
    call: Call,
    range: Option<ByteRange>,
    is_gone: impl FnOnce(&Reply) -> bool,
) -> Result<Reply> {
    let mut call = call.object();
    if let Some(range) = range {
        call = call.header(RANGE, read::header(range)?);
    }
    let reply = service.ask(&call).await?;
    if is_gone(&reply) {
        return Err(Error::new(Kind::Missing, "the object is gone").with_status(reply.status));
    }
    match reply.status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(reply),
        _ => Err(reply.refusal("give an object")),
    }
}

/// Converts a response; `version` is `None` if Google does not report one.
pub(super) fn given(reply: Reply, version: Option<String>) -> Given {
    let digest = announced(&reply.headers);
    Given { etag: version.clone(), version, digest, ..Given::of(reply.status, &reply.headers, reply.body) }
}

/// Returns the MD5 in `x-goog-hash` ("Data validation and change detection" of Cloud Storage). It covers the stored bytes, which
/// differ from those sent if Google decompresses gzip on the way ("Transcoding of gzip-compressed files").
fn announced(headers: &HeaderMap) -> Option<Announced> {
    if headers.get("x-goog-stored-content-encoding").is_some_and(|encoding| encoding != "identity") {
        return None;
    }
    let hashes = headers.get_all("x-goog-hash").iter().filter_map(|value| value.to_str().ok());
    hashes.flat_map(|value| value.split(',')).find_map(|hash| Announced::md5(hash.trim().strip_prefix("md5=")?))
}
