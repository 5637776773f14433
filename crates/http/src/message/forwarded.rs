//! Forwarding headers: they tell CouchDB who the client is and how it connected.
//!
//! CouchDB's page «Reverse Proxies» (<https://docs.couchdb.org/en/stable/best-practices/reverse-proxies.html>) lists them.
//! For a loopback or private peer, CouchDB takes the *last* element of `X-Forwarded-For` as the client
//! (`mochiweb_request:get(peer)`) and counts failed logins by it (`couch_auth_lockout`); it builds absolute URLs from
//! `X-Forwarded-Ssl`, `X-Forwarded-Proto` and `X-Forwarded-Host` (`chttpd:absolute_uri`). A client that could set these headers
//! itself would have unlimited login attempts.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

/// How the requests of one connection arrived.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Remote address of the connection.
    pub peer: SocketAddr,
    tls: bool,
    proxies: Arc<[IpNet]>,
    /// The peer's address as a header value.
    address: HeaderValue,
}

impl Arrival {
    /// `proxies` are the trusted proxies, whose forwarding headers are believed.
    #[must_use]
    pub fn new(peer: SocketAddr, tls: bool, proxies: &Arc<[IpNet]>) -> Self {
        let address = value(&peer.ip().to_canonical().to_string());
        Self { peer, tls, proxies: Arc::clone(proxies), address }
    }

    /// Sets the forwarding headers of a request, removing anything that only the client claims.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let has_some = headers.keys().any(tells);
        if has_some && self.trusts(self.peer.ip()) {
            let chain = self.chain(headers);
            headers.insert(&FORWARDED_FOR, chain);
        } else {
            if has_some {
                let said: Vec<HeaderName> = headers.keys().filter(|name| tells(name)).cloned().collect();
                said.iter().for_each(|name| drop(headers.remove(name)));
            }
            headers.insert(&FORWARDED_FOR, self.address.clone());
        }
        if self.tls && !headers.contains_key(&FORWARDED_PROTO) && !headers.contains_key(&FORWARDED_SSL) {
            headers.insert(&FORWARDED_PROTO, HeaderValue::from_static("https"));
            headers.insert(&FORWARDED_SSL, HeaderValue::from_static("on"));
        }
    }

    /// Returns the list up to the client: the last address named by a proxy that is not a trusted proxy itself. CouchDB would
    /// count failed logins against anything after it.
    fn chain(&self, headers: &HeaderMap) -> HeaderValue {
        let lines = headers.get_all(&FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or(UNKNOWN));
        let elements = lines.flat_map(|line| line.split(',')).map(str::trim).filter(|element| !element.is_empty());
        let mut elements: Vec<&str> = elements.collect();
        let mut client = self.peer.ip();
        while self.trusts(client)
            && let Some(address) = elements.last().and_then(|element| address(element))
        {
            client = address;
            elements.pop();
        }
        // Without the port, so that all connections of a client count as one.
        let client = client.to_canonical().to_string();
        elements.push(&client);
        HeaderValue::try_from(elements.join(", ")).unwrap_or_else(|_| value(&client))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies.iter().any(|network| network.contains(&address))
    }
}

/// Marks the gateway's own requests with an identifier that is not an address (RFC 7239 section 6.3), so that failed logins of a
/// client on the same machine do not lock the gateway's account.
pub fn tell_own(headers: &mut HeaderMap) {
    headers.insert(&FORWARDED_FOR, HeaderValue::from_static("_stowage"));
}

/// Returns scheme and host of the address the client used, like `chttpd:absolute_uri`.
#[must_use]
pub fn base(headers: &HeaderMap) -> Option<String> {
    let said = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = said(&FORWARDED_HOST).or_else(|| said(&HOST))?;
    let secure = said(&FORWARDED_SSL) == Some("on") || said(&FORWARDED_PROTO) == Some("https");
    Some(format!("{}://{host}", if secure { "https" } else { "http" }))
}

/// Returns whether a header describes the origin of a request.
pub(crate) fn tells(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded-") || matches!(name, "forwarded" | "x-real-ip")
}

/// Parses the address in an element, which some proxies send with a port or in brackets.
fn address(element: &str) -> Option<IpAddr> {
    let element = element.trim_matches('"');
    let bare = || element.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || element.parse().ok().map(|socket: SocketAddr| socket.ip());
    element.parse().ok().or_else(bare).or_else(with_port)
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(UNKNOWN))
}

const UNKNOWN: &str = "unknown";

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_SSL: HeaderName = HeaderName::from_static("x-forwarded-ssl");

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::header::{HeaderMap, HeaderName, HeaderValue};

    use super::{Arrival, base};

    /// Returns the headers sent to CouchDB for a request with these lines from `peer`, with trusted proxies in 10.0.0.0/8 and fd00::/8.
    fn told(peer: &str, tls: bool, lines: &[(&str, &str)]) -> HeaderMap {
        let proxies: Arc<[_]> = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap()).into();
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let peer = if peer.contains(':') { format!("[{peer}]:9") } else { format!("{peer}:9") };
        Arrival::new(peer.parse().unwrap(), tls, &proxies).tell(&mut headers);
        headers
    }

    #[test]
    fn a_client_has_no_say_in_who_it_is() {
        for peer in ["192.0.2.1", "::ffff:192.0.2.1"] {
            for tls in [false, true] {
                let own = [
                    ("X-Forwarded-For", "1.1.1.1"),
                    ("x-forwarded-for", "2.2.2.2, 10.0.0.1"),
                    ("X-Forwarded-Proto", "https"),
                    ("X-Forwarded-Ssl", "on"),
                    ("X-Forwarded-Host", "evil.example"),
                    ("X-Forwarded-Port", "1"),
                    ("Forwarded", "for=1.1.1.1"),
                    ("X-Real-IP", "1.1.1.1"),
                    ("Accept", "*/*"),
                ];
                let mut told = told(peer, tls, &own);
                assert_eq!(told.remove("x-forwarded-for").unwrap(), "192.0.2.1");
                assert_eq!(told.remove("x-forwarded-proto").is_some_and(|value| value == "https"), tls);
                assert_eq!(told.remove("x-forwarded-ssl").is_some_and(|value| value == "on"), tls);
                assert_eq!((told.len(), told["accept"].as_bytes()), (1, &b"*/*"[..]));
            }
        }
        assert_eq!(told("2001:db8::1", false, &[])["x-forwarded-for"], "2001:db8::1");
    }

    #[test]
    fn the_last_element_is_the_client_that_trusted_proxies_name() {
        for (peer, lines, expected) in [
            ("10.0.0.1", vec!["192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", vec!["1.1.1.1, 192.0.2.1, 10.0.0.2"], "1.1.1.1, 192.0.2.1"),
            ("10.0.0.1", vec!["1.1.1.1", "192.0.2.1", "10.0.0.2,10.0.0.3"], "1.1.1.1, 192.0.2.1"),
            ("10.0.0.1", vec!["192.0.2.1:4711"], "192.0.2.1"),
            ("10.0.0.1", vec!["[2001:db8::1]:4711, [fd00::2]"], "2001:db8::1"),
            ("fd00::1", vec!["2001:db8:0:0::1"], "2001:db8::1"),
            ("::ffff:10.0.0.1", vec!["::ffff:192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", vec!["10.0.0.9, 10.0.0.2"], "10.0.0.9"),
            ("10.0.0.1", vec!["192.0.2.1, unknown"], "192.0.2.1, unknown, 10.0.0.1"),
            ("10.0.0.1", vec!["192.0.2.1, \u{fc}"], "unknown, 10.0.0.1"),
            ("10.0.0.1", vec![" , ,"], "10.0.0.1"),
            ("10.0.0.1", vec!["192.0.2.1,"], "192.0.2.1"),
        ] {
            let lines: Vec<_> = lines.into_iter().map(|line| ("X-Forwarded-For", line)).collect();
            let told = told(peer, false, &lines);
            let all: Vec<_> = told.get_all("x-forwarded-for").iter().collect();
            assert_eq!(all, [expected], "{lines:?}");
        }
        assert_eq!(told("10.0.0.1", false, &[("Forwarded", "for=1.1.1.1")])["x-forwarded-for"], "10.0.0.1");
    }

    #[test]
    fn a_trusted_proxy_says_how_its_client_came() {
        let said = |tls, lines: &[(&str, &str)]| {
            let mut told = told("10.0.0.1", tls, lines);
            told.insert("host", HeaderValue::from_static("h:5985"));
            base(&told).unwrap()
        };
        assert_eq!(said(false, &[]), "http://h:5985");
        assert_eq!(said(true, &[]), "https://h:5985");
        assert_eq!(said(false, &[("X-Forwarded-Proto", "https")]), "https://h:5985");
        assert_eq!(said(false, &[("X-Forwarded-Ssl", "on")]), "https://h:5985");
        assert_eq!(said(true, &[("X-Forwarded-Proto", "http")]), "http://h:5985");
        assert_eq!(said(true, &[("X-Forwarded-Host", "couch.example")]), "https://couch.example");
    }
}
