//! Compares a response with the recorded one.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::client::Answer;
use super::decode::{plain_boundary, unframe};
use super::packed::unpacked;
use super::parse::Exchange;
use super::{Known, RECORDED_HOST, Rules, Target, substitute, tie};

/// Headers that are irrelevant to behavior: time, product, request id.
const IGNORED: [&str; 5] = ["date", "server", "x-couch-request-id", "x-couchdb-body-time", "x-couch-stack-hash"];

/// Members whose values are internal to the server wherever they occur.
const OPAQUE: [&str; 6] = ["seq", "last_seq", "update_seq", "purge_seq", "instance_start_time", "sizes"];

struct Context<'a> {
    rules: &'a Rules,
    loose: &'a [&'a str],
    known: &'a mut Known,
    /// Whether this responds to a save, so that its revision is new, whatever was known.
    saves: bool,
}

pub(super) fn answers(
    expected: &Answer,
    actual: &Answer,
    exchange: &Exchange,
    target: &Target,
    rules: &Rules,
    known: &mut Known,
) -> Result<(), String> {
    let (expected, actual) = (&unpacked(expected), &unpacked(actual));
    let shown = || String::from_utf8_lossy(&actual.body).chars().take(300).collect::<String>();
    let line = |answer: &Answer| format!("{} {} {}", answer.version, answer.status, answer.reason);
    if line(expected) != line(actual) {
        return Err(format!("expected {}, got {}: {}", line(expected), line(actual), shown()));
    }
    let rules_of_it = rules
        .loose
        .iter()
        .filter(|(file, _, titles)| *file == exchange.file && titles.contains(&exchange.title.as_str()));
    let loose: Vec<&str> = rules_of_it.flat_map(|(_, members, _)| members.iter().copied()).collect();
    let saves = matches!(actual.status, 200 | 201) && actual.body.starts_with(b"{\"ok\":true,\"id\"")
        || actual.body.starts_with(b"[{\"ok\":true")
        || actual.body.starts_with(b"[{\"id\"");
    let mut context = Context { rules, loose: &loose, known, saves };
    let head_only = exchange.heads_only.first() == Some(&true) && expected.body.iter().all(u8::is_ascii_whitespace);
    let body = if head_only { Ok(()) } else { context.bodies(expected, actual, exchange) };
    body.map_err(|why| format!("body: {why}\n    got {}", shown()))?;
    context.headers(expected, actual, target)
}

/// Returns whether this is a server-generated revision or id: 32 hex digits, with or without a generation.
fn made_up(text: &str) -> bool {
    let (generation, id) = text.split_once('-').unwrap_or(("1", text));
    let digits = !generation.is_empty() && generation.bytes().all(|byte| byte.is_ascii_digit());
    digits && id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn generation(text: &str) -> Option<&str> {
    text.split_once('-').map(|(generation, _)| generation)
}

impl Context<'_> {
    fn headers(&self, expected: &Answer, actual: &Answer, target: &Target) -> Result<(), String> {
        let listed = |answer: &Answer, host: &str, recorded: bool| {
            let mut listed: Vec<(String, String)> = answer.headers.clone();
            let ignored = IGNORED.iter().chain(self.rules.ignored);
            listed.retain(|(name, _)| !ignored.clone().any(|one| one == name));
            if !self.loose.is_empty() {
                listed.retain(|(name, _)| name != "content-length");
            }
            for (name, value) in &mut listed {
                *value = self.header(name, value, host, recorded);
            }
            listed.sort();
            listed
        };
        let expected = listed(expected, RECORDED_HOST, true);
        let actual = listed(actual, &target.authority, false);
        if expected == actual {
            return Ok(());
        }
        let only = |these: &[(String, String)], those: &[(String, String)]| {
            these.iter().filter(|one| !those.contains(one)).map(|one| format!("{one:?}")).collect::<String>()
        };
        Err(format!("headers: expected {}, got {}", only(&expected, &actual), only(&actual, &expected)))
    }

    /// Normalizes a header's value by removing server-specific parts.
    fn header(&self, name: &str, value: &str, host: &str, recorded: bool) -> String {
        let value = if recorded { substitute(value, self.known) } else { value.to_owned() };
        match name {
            "location" => value.replace(host, "HOST"),
            "content-type" => value.split("boundary=").next().unwrap_or_default().to_owned(),
            "etag" => {
                let tag = self.unpacked(&value);
                // Revisions and digests contain a `-` or a `=`; anything else, and a local document's tag, is internal to the
                // server.
                let own = tag.starts_with("\"0-") || !tag.contains(['-', '=']);
                if own { "opaque".into() } else { tag }
            }
            "set-cookie" => {
                let mut parts: Vec<&str> = value.split("; ").filter(|part| !part.starts_with("Expires")).collect();
                parts.retain(|part| !part.starts_with("Max-Age"));
                let parts = parts.into_iter().map(|part| match part.split_once('=') {
                    Some((key, token)) if !token.is_empty() => key,
                    _ => part,
                });
                parts.collect::<Vec<_>>().join("; ")
            }
            _ => value,
        }
    }

    fn bodies(&mut self, expected: &Answer, actual: &Answer, exchange: &Exchange) -> Result<(), String> {
        let shown = String::from_utf8_lossy(&expected.body);
        if let Some(rest) = shown.strip_prefix("[body of ") {
            return long_body(rest, &actual.body);
        }
        let length = expected.header("content-length").and_then(|length| length.parse::<usize>().ok());
        let mut recorded = expected.body.clone();
        if exchange.framed {
            recorded = unframe(&recorded).ok_or("the recorded chunks make no sense")?;
        }
        match length {
            // The recorder adds line feeds.
            Some(length) => recorded.truncate(length),
            None => recorded.truncate(recorded.trim_ascii_end().len()),
        }
        let kind = expected.header("content-type").unwrap_or_default();
        let mut here = actual.body.clone();
        if length.is_none() {
            here.truncate(here.trim_ascii_end().len());
        }
        if kind.starts_with("multipart/") {
            recorded = plain_boundary(&recorded);
            here = plain_boundary(&here);
        }
        if ["application/json", "multipart/mixed", "multipart/related"].iter().any(|text| kind.starts_with(text)) {
            return self.texts(&String::from_utf8_lossy(&recorded), &String::from_utf8_lossy(&here));
        }
        if recorded == here { Ok(()) } else { Err(format!("expected {}", String::from_utf8_lossy(&recorded))) }
    }

    /// Compares JSON as a whole, anything else line by line.
    fn texts(&mut self, expected: &str, actual: &str) -> Result<(), String> {
        let framing = |text: &str| text.split('\n').map(|line| line.ends_with('\r')).collect::<Vec<_>>();
        if framing(expected) != framing(actual) {
            return Err(format!("other line breaks than in {expected:?}"));
        }
        let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
        if let (Some(expected), Some(actual)) = (parsed(expected), parsed(actual)) {
            return self.values(&expected, &actual, "");
        }
        for (expected, actual) in expected.lines().zip(actual.lines()) {
            match (parsed(expected), parsed(actual)) {
                (Some(expected), Some(actual)) => self.values(&expected, &actual, "")?,
                _ if expected == actual => {}
                _ => return Err(format!("expected {expected:?}, got {actual:?}")),
            }
        }
        Ok(())
    }

    fn values(&mut self, expected: &Value, actual: &Value, path: &str) -> Result<(), String> {
        let wrong = || Err(format!("at {path:?}: expected {expected}, got {actual}"));
        match (expected, actual) {
            (Value::Object(one), Value::Object(other)) => {
                // The answer to `_up` is an Erlang map, whose order depends on the release of Erlang.
                let has_order = !one.contains_key("seeds");
                let is_same = if has_order {
                    one.keys().eq(other.keys())
                } else {
                    one.len() == other.len() && one.keys().all(|name| other.contains_key(name))
                };
                if !is_same {
                    return wrong();
                }
                for (name, value) in one {
                    let opaque = OPAQUE.contains(&name.as_str()) || self.loose.contains(&name.as_str());
                    if !opaque {
                        self.values(value, &other[name], &format!("{path}/{name}"))?;
                    }
                }
                Ok(())
            }
            (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
                let mut pairs = one.iter().zip(other);
                pairs.try_for_each(|(one, other)| self.values(one, other, &format!("{path}/-")))
            }
            (Value::String(one), Value::String(other)) => self.strings(one, other).or_else(|()| wrong()),
            _ if expected == actual => Ok(()),
            _ => wrong(),
        }
    }

    fn strings(&mut self, expected: &str, actual: &str) -> Result<(), ()> {
        if made_up(expected) && made_up(actual) && generation(expected) == generation(actual) {
            if let Some(here) = self.known.get(expected).filter(|_| !self.saves) {
                return if here == actual { Ok(()) } else { Err(()) };
            }
            // An id named by the request itself is not server-generated.
            if expected != actual {
                tie(self.known, expected, actual);
            }
            return Ok(());
        }
        let (expected, actual) = (self.unpacked(expected), self.unpacked(actual));
        if expected == actual || substitute(&expected, self.known) == actual { Ok(()) } else { Err(()) }
    }

    /// Replaces the digests of gzipped bytes in a text.
    fn unpacked(&self, text: &str) -> String {
        let digests = self.rules.digests.iter();
        digests.fold(text.to_owned(), |text, (packed, plain)| text.replace(packed, plain))
    }
}

/// Compares a body of which only length and hash were printed.
fn long_body(rest: &str, actual: &[u8]) -> Result<(), String> {
    let mut words = rest.split(' ');
    let length: usize = words.next().and_then(|word| word.parse().ok()).ok_or("no length")?;
    if actual.len() != length {
        return Err(format!("expected {length} bytes, got {}", actual.len()));
    }
    let hash = words.nth(2).unwrap_or_default().trim_end_matches(['…', ',']);
    if hex::encode(Sha256::digest(actual)).starts_with(hash) { Ok(()) } else { Err("another hash".into()) }
}
