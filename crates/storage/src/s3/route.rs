//! Locating a bucket. A server asked in the wrong place, or for the wrong region, names the right one; this follows it, like
//! Amazon's SDKs do.
//!
//! Sources: "Routing requests" in the S3 user guide (307 with a `Location`, for new buckets; 301 `PermanentRedirect`), "Error
//! responses" (`AuthorizationHeaderMalformed` with a `Region`), and "HeadBucket" (`x-amz-bucket-region`).

use std::time::{Duration, SystemTime};

use percent_encoding::percent_decode_str;
use stowage_http::target::{Origin, encode};
use url::Url;

use super::address::{Address, is_region};
use super::xml;
use crate::engine::api::Reply;

/// How a bucket is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) origin: Origin,
    /// The region requests are signed for.
    pub(super) region: String,
    /// Whether the bucket is in the path rather than the host.
    pub(super) in_path: bool,
}

impl Route {
    /// Returns path and query of a request. The key is taken literally: a `%2F` in it is three characters of its name.
    pub(super) fn target(&self, bucket: &str, key: &str, query: &str) -> String {
        let key: Vec<String> = key.split('/').map(encode).collect();
        let bucket = if self.in_path { format!("/{bucket}") } else { String::new() };
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{bucket}/{}{mark}{query}", key.join("/"))
    }

    /// Returns where a response redirects the request for a key; `None` if it is final.
    pub(super) fn next(&self, address: &Address, bucket: &str, key: &str, reply: &Reply) -> Option<Self> {
        let step = match reply.status.as_u16() {
            301 | 302 | 307 | 308 => reply.header("location").and_then(|there| self.elsewhere(bucket, key, there)),
            _ => None,
        };
        step.or_else(|| self.in_region(address, bucket, reply))
    }

    /// Returns the server of a `Location`, if it names the same object and does not drop TLS.
    fn elsewhere(&self, bucket: &str, key: &str, location: &str) -> Option<Self> {
        let here = &self.origin;
        let base: Url = here.to_string().parse().ok()?;
        let there = base.join(location).ok()?;
        let origin = Origin::of(&there)?;
        let path = percent_decode_str(there.path()).decode_utf8().ok()?;
        let in_path = *path == format!("/{bucket}/{key}");
        if !(in_path || *path == format!("/{key}")) || (here.tls && !origin.tls) || origin == *here {
            return None;
        }
        Some(Self { origin, region: self.region.clone(), in_path })
    }

    /// Returns a route for the region named in a response, if it differs from the one signed for.
    fn in_region(&self, address: &Address, bucket: &str, reply: &Reply) -> Option<Self> {
        if !matches!(reply.status.as_u16(), 301 | 307 | 400 | 403) {
            return None;
        }
        let region = match reply.header("x-amz-bucket-region") {
            Some(region) => region.to_owned(),
            None if MISDIRECTED.contains(&reply.code()) => xml::text(reply.said(), "Region")?,
            None => return None,
        };
        if region.is_empty() || !is_region(&region) || region == self.region {
            return None;
        }
        let origin = address.origin_in(bucket, &region).unwrap_or_else(|| self.origin.clone());
        Some(Self { origin, region, in_path: self.in_path })
    }
}

/// Returns how far the server's clock is ahead of ours, in seconds, if a response says that they differ too much.
pub(super) fn skew(reply: &Reply) -> Option<i64> {
    if reply.code() != "RequestTimeTooSkewed" {
        return None;
    }
    let theirs = httpdate::parse_http_date(reply.header("date")?).ok()?;
    let ours = SystemTime::now();
    let seconds = |ahead: Duration| i64::try_from(ahead.as_secs()).ok();
    match theirs.duration_since(ours) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => seconds(behind.duration()).map(|behind| -behind),
    }
}

/// Returns the current time of a clock that is this many seconds ahead.
pub(super) fn time_there(skew: i64) -> SystemTime {
    let (now, difference) = (SystemTime::now(), Duration::from_secs(skew.unsigned_abs()));
    let there = if skew < 0 { now.checked_sub(difference) } else { now.checked_add(difference) };
    there.unwrap_or(now)
}

/// Codes of responses that contain the right region.
const MISDIRECTED: [&str; 3] = ["AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect"];
