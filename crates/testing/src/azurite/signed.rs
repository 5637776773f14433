//! Signed requests that bypass the gateway's driver: a second implementation of SharedKey, so that the two verify each other.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use ring::hmac;

use super::{ACCOUNT, KEY};

/// A server's response.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Names are in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends one request on a new connection; blocking, because a `World` is queried without `await`.
pub(super) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    query: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let date = httpdate::fmt_http_date(SystemTime::now());
    let mut headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| (name.to_lowercase(), (*value).to_owned())).collect();
    headers.push(("x-ms-date".to_owned(), date));
    headers.push(("x-ms-version".to_owned(), "2021-12-02".to_owned()));
    headers.push(("content-length".to_owned(), body.len().to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(KEY).expect("base64"));
    let signature = STANDARD.encode(hmac::sign(&key, text(method, path, query, &headers).as_bytes()));
    headers.push(("authorization".to_owned(), format!("SharedKey {ACCOUNT}:{signature}")));
    let mark = if query.is_empty() { "" } else { "?" };
    let mut request = format!("{method} {path}{mark}{query} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in &headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(&[request.as_bytes(), body].concat()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    parse(&answer)
}

fn text(method: &str, path: &str, query: &str, headers: &[(String, String)]) -> String {
    let value = |wanted: &str| {
        let found = headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        found.filter(|value| wanted != "content-length" || *value != "0").unwrap_or_default().to_owned()
    };
    let mut lines = vec![method.to_owned()];
    for name in ["content-encoding", "content-language", "content-length", "content-md5", "content-type", "date"] {
        lines.push(value(name));
    }
    for name in ["if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"] {
        lines.push(value(name));
    }
    let mut own: Vec<_> = headers.iter().filter(|(name, _)| name.starts_with("x-ms-")).collect();
    own.sort();
    lines.extend(own.into_iter().map(|(name, value)| format!("{name}:{value}")));
    lines.push(format!("/{ACCOUNT}{path}"));
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    pairs.sort_unstable();
    for pair in pairs {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        lines.push(format!("{name}:{}", percent_decode_str(value).decode_utf8_lossy()));
    }
    lines.join("\n")
}

fn parse(answer: &[u8]) -> Answer {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let rest = &answer[end + 4..];
    Answer { status, headers, body: if chunked { unchunked(rest) } else { rest.to_vec() } }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").expect("a chunk's length");
        let length = std::str::from_utf8(&rest[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let length = length.expect("a chunk's length");
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 2 + length + 2..];
    }
}
