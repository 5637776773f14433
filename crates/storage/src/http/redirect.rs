//! Redirects (RFC 9110 section 15.4): 301, 302, 307 and 308 repeat the request, 303 queries its outcome with GET. After a DELETE,
//! there is nothing to query.

use http::header::LOCATION;
use http::{HeaderMap, Method, StatusCode};

use super::link::Link;
use crate::error::{Error, Kind, Result};

/// The URLs one request has visited.
#[derive(Debug, Default)]
pub(super) struct Trail {
    seen: Vec<(Method, String)>,
}

impl Trail {
    /// Returns where a response redirects a request made with `method` to `link`; `None` if it does not.
    ///
    /// # Errors
    /// `Refused` for a loop, for more than ten redirects, and for a missing or invalid Location.
    pub(super) fn next(
        &mut self,
        method: &Method,
        link: &Link,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Option<(Method, Link)>> {
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        if status == StatusCode::SEE_OTHER && *method == Method::DELETE {
            return Ok(None);
        }
        let refused = |what: &str| Error::new(Kind::Refused, what).with_status(status);
        let location = headers.get(LOCATION).ok_or_else(|| refused("a redirect without a Location"))?;
        let location = String::from_utf8_lossy(location.as_bytes());
        let next = link.resolve(&location).ok_or_else(|| refused("a redirect to an address that makes no sense"))?;
        self.seen.push((method.clone(), link.text()));
        let asks = status == StatusCode::SEE_OTHER && *method != Method::HEAD;
        let method = if asks { Method::GET } else { method.clone() };
        if self.seen.len() > MOST_REDIRECTS {
            return Err(refused("too many redirects"));
        }
        let text = next.text();
        if self.seen.iter().any(|(seen, url)| *seen == method && *url == text) {
            return Err(refused("redirects that lead in a circle"));
        }
        Ok(Some((method, next)))
    }
}

const MOST_REDIRECTS: usize = 10;
