//! Parses the `_attachments` of a document written by a client (`couch_att:from_json` of CouchDB).

use std::collections::HashMap;

use bytes::Bytes;
use http::StatusCode;
use indexmap::IndexMap;
use serde_json::value::RawValue;
use stowage_couch::Document;
use stowage_http::base64::erlang;

use super::super::parts::Unfit;
use crate::error::Error;
use crate::object::OCTETS;

/// An attachment of a document being written.
#[derive(Debug)]
pub(in crate::document::write) struct Attached {
    pub(in crate::document::write) name: String,
    pub(in crate::document::write) content_type: String,
    /// The generation given by the client; only meaningful for stubs and replicated revisions.
    pub(in crate::document::write) revpos: Option<u64>,
    pub(in crate::document::write) content: Content,
}

/// The location of the attachment's bytes.
#[derive(Debug)]
pub(in crate::document::write) enum Content {
    /// With the previous revision.
    Stub,
    /// In the document.
    Data(Bytes),
    /// In parts of the request.
    Follows(Follows),
}

/// The description of bytes that follow.
#[derive(Debug, Clone)]
pub(in crate::document::write) struct Follows {
    /// The length in bytes, as sent.
    pub(in crate::document::write) length: u64,
    /// `md5-` and the MD5 of the bytes as sent.
    pub(in crate::document::write) digest: Option<String>,
    /// Whether the bytes are gzip.
    pub(in crate::document::write) gzip: bool,
    /// The decompressed length, if given.
    pub(in crate::document::write) unpacked: Option<u64>,
}

/// Parses the entries in order; `follows` says whether parts may follow the document.
///
/// Members that CouchDB ignores may be anything, and so may an entry that is not an object: CouchDB skips it.
///
/// # Errors
/// Returns CouchDB's refusal. Where CouchDB crashes instead, perhaps after saving other documents of the request, the client gets the reason.
pub(in crate::document::write) fn read(document: &Document, follows: bool) -> Result<Vec<Attached>, Error> {
    let Some(raw) = document.raw(MEMBER) else { return Ok(Vec::new()) };
    let Ok(entries) = serde_json::from_str::<IndexMap<String, &RawValue>>(raw.get()) else {
        let reason = format!("Bad special document member: {MEMBER}");
        return Err(Error::refused(StatusCode::BAD_REQUEST, "doc_validation", reason));
    };
    let mut attached = Vec::with_capacity(entries.len());
    for (name, raw) in entries {
        if let Ok(members) = serde_json::from_str::<HashMap<String, &RawValue>>(raw.get()) {
            attached.push(Entry { name: &name, members }.read(follows)?);
        }
    }
    match attached.iter().find(|one| one.name.starts_with('_')) {
        None => Ok(attached),
        Some(one) => {
            let reason = format!("Attachment name '{}' starts with prohibited character '_'", one.name);
            Err(Error::bad_request(reason))
        }
    }
}

struct Entry<'a> {
    name: &'a str,
    /// The members; the last of several with the same name counts.
    members: HashMap<String, &'a RawValue>,
}

impl Entry<'_> {
    fn read(self, may_follow: bool) -> Result<Attached, Error> {
        let is_true = |key: &str| self.get(key) == Some("true");
        let content = if is_true("stub") {
            Content::Stub
        } else if is_true("follows") {
            Content::Follows(self.follows(may_follow)?)
        } else {
            let data = self.get("data").and_then(decode);
            let invalid = || Error::bad_request(format!("Invalid attachment data for {}", self.name));
            Content::Data(data.ok_or_else(invalid)?.into())
        };
        let is_stub = matches!(content, Content::Stub);
        let content_type = match self.get("content_type") {
            _ if is_stub => OCTETS.to_owned(),
            None => OCTETS.to_owned(),
            // CouchDB accepts a list, and then cannot serve the attachment.
            Some(list) if list.starts_with('[') => OCTETS.to_owned(),
            Some(text) => serde_json::from_str(text).map_err(|_| self.wrong("content_type"))?,
        };
        let revpos = self.get("revpos").map(|said| match integer(said) {
            // No attachment has this generation.
            None if is_stub => u64::MAX,
            said => said.unwrap_or_default(),
        });
        Ok(Attached { name: self.name.to_owned(), content_type, revpos, content })
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.members.get(key).map(|raw| raw.get())
    }

    fn follows(&self, may_follow: bool) -> Result<Follows, Error> {
        if !may_follow {
            let reason = format!("Attachment {} is said to follow, and the request has no parts", self.name);
            return Err(Error::bad_request(reason));
        }
        let length = |key: &str| self.get(key).map(|said| self.length(key, said)).transpose();
        let gzip = match self.get("encoding") {
            None | Some("\"identity\"") => false,
            Some("\"gzip\"") => true,
            Some(_) => return Err(self.wrong("encoding")),
        };
        let sent = if self.get("encoding").is_some() { length("encoded_length")? } else { None };
        let sent = match sent {
            Some(sent) => sent,
            None => length("length")?.ok_or_else(|| self.wrong("length"))?,
        };
        let digest = self.get("digest").and_then(|said| serde_json::from_str::<String>(said).ok());
        let digest = digest.filter(|digest| digest.starts_with("md5-"));
        if digest.as_deref().and_then(|digest| digest.get(4..)).is_some_and(|md5| erlang(md5.as_bytes()).is_none()) {
            return Err(self.wrong("digest"));
        }
        let unpacked = self.get("length").filter(|_| gzip).and_then(integer);
        Ok(Follows { length: sent, digest, gzip, unpacked })
    }

    /// Parses the length of bytes that follow: an integer that is not too large for any limit.
    fn length(&self, key: &str, said: &str) -> Result<u64, Error> {
        match said.parse() {
            Ok(length) => Ok(length),
            Err(_) if said.bytes().all(|byte| byte.is_ascii_digit()) => Err(Error::TooLarge(self.name.into())),
            Err(_) if said.strip_prefix('-').is_some_and(|rest| rest.parse::<u64>().is_ok()) => {
                Err(Unfit::Longer.into())
            }
            Err(_) => Err(self.wrong(key)),
        }
    }

    fn wrong(&self, key: &str) -> Error {
        Error::bad_request(format!("Invalid {key} for attachment {}", self.name))
    }
}

/// Parses a generation, also written with a decimal point: to Erlang, `1 == 1.0`.
fn integer(said: &str) -> Option<u64> {
    match said.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => whole.parse().ok(),
        _ => said.parse().ok(),
    }
}

/// Decodes a base64 JSON value as Erlang's `base64:decode/1` does: a string, or a list of its bytes.
fn decode(raw: &str) -> Option<Vec<u8>> {
    match raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(unquoted) if !unquoted.contains('\\') => erlang(unquoted.as_bytes()),
        Some(_) => erlang(serde_json::from_str::<String>(raw).ok()?.as_bytes()),
        None => erlang(&serde_json::from_str::<Vec<u8>>(raw).ok()?),
    }
}

/// The member for CouchDB's own attachments.
pub(in crate::document::write) const MEMBER: &str = "_attachments";

#[cfg(test)]
mod tests;
