//! Parsing of types that several sections share.

use std::net::IpAddr;

use ipnet::IpNet;
use stowage_base::reader::Section;
use url::Url;

/// Parses the URL of an operator's server, which may have a path.
pub(super) fn web_url(text: &str) -> Result<Url, &'static str> {
    let Ok(url) = Url::parse(text) else { return Err(NO_URL) };
    match url {
        url if !matches!(url.scheme(), "http" | "https") => Err("must be an http or https URL"),
        url if url.query().is_some() || url.fragment().is_some() => Err("must have no query and no fragment"),
        url if !url.username().is_empty() || url.password().is_some() => Err(CREDENTIALS),
        url if url.host_str().is_none_or(str::is_empty) => Err("must name a host"),
        url => Ok(url),
    }
}

/// Parses a list of networks; a single address is a network of one.
pub(super) fn networks(section: &mut Section<'_>, name: &str) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for value in section.list(name) {
        let text = value.as_str().unwrap_or_default();
        let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
        match text.parse().ok().or_else(single) {
            Some(network) => networks.push(network),
            None => section.problem(name, format!("{value} is not a network such as \"10.0.0.0/8\"")),
        }
    }
    networks
}

pub(super) const CREDENTIALS: &str = "must not hold credentials";
pub(super) const NO_URL: &str = "is no URL";
