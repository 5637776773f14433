//! The address of a vendor's API: the public service, or an override from the operator's configuration.

use http::Method;
use stowage_http::target::Origin;
use url::Url;

use super::api::Call;
use crate::error::{Error, Kind, Result};

/// An address of `storage.endpoints`; it may have a path.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) origin: Origin,
    /// Without a trailing slash.
    path: String,
}

impl Endpoint {
    /// # Errors
    /// `Settings` for anything but an `http` or `https` URL.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let url: Option<Url> = text.parse().ok();
        let read = url.and_then(|url| Some((Origin::of(&url)?, url.path().trim_end_matches('/').to_owned())));
        let (origin, path) =
            read.ok_or_else(|| Error::new(Kind::Settings, "an address of storage.endpoints is no http or https URL"))?;
        Ok(Self { origin, path })
    }

    /// Creates a call; `target` is a path below the endpoint, and a query.
    pub(crate) fn call(&self, method: Method, target: &str) -> Call {
        Call::new(method, &self.origin, format!("{}{target}", self.path))
    }

    /// Returns a URL for people.
    pub(crate) fn url(&self, target: &str) -> String {
        format!("{}{}{target}", self.origin, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn an_endpoint_may_have_a_path() {
        for (text, url) in [
            ("https://graph.microsoft.com", "https://graph.microsoft.com/v1.0"),
            ("http://127.0.0.1:81/proxy/", "http://127.0.0.1:81/proxy/v1.0"),
        ] {
            assert_eq!(Endpoint::read(text).unwrap().url("/v1.0"), url);
        }
        for text in ["", "graph", "ftp://graph"] {
            assert!(Endpoint::read(text).is_err(), "{text}");
        }
    }
}
