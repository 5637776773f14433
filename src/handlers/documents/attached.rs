//! What the `_attachments` of a document that a client writes say (`couch_att:from_json` of CouchDB).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::attachment::OCTETS;
use crate::couch::Document;

/// An attachment of a document that is written.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) name: String,
    pub(super) content_type: String,
    /// As the client says it; only for stubs and replicated revisions it means something.
    pub(super) revpos: Option<u64>,
    pub(super) content: Content,
}

/// Where its bytes are.
#[derive(Debug)]
pub(super) enum Content {
    /// With the revision before.
    Stub,
    /// In the document.
    Data(Bytes),
    /// In a part of the request.
    Follows(Follows),
}

/// What is said about bytes that follow.
#[derive(Debug, Clone)]
pub(super) struct Follows {
    /// In bytes, as they are sent.
    pub(super) length: u64,
    /// `md5-` and the MD5 of the bytes as they are sent.
    pub(super) digest: Option<String>,
    /// The length of what the bytes are the gzip of.
    pub(super) unpacked: Option<u64>,
}

/// The members of an entry that CouchDB reads.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    stub: Option<&'a RawValue>,
    #[serde(borrow)]
    follows: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    content_type: Option<String>,
    revpos: Option<u64>,
    length: Option<u64>,
    encoded_length: Option<u64>,
    encoding: Option<String>,
    digest: Option<String>,
}

/// Reads them, in their order. `None` where anything is CouchDB's to judge, or to refuse.
pub(super) fn read(document: &Document) -> Option<Vec<Attached>> {
    let Some(raw) = document.raw(MEMBER) else { return Some(Vec::new()) };
    let entries: IndexMap<String, &RawValue> = serde_json::from_str(raw.get()).ok()?;
    entries.into_iter().map(|(name, raw)| entry(name, raw.get())).collect()
}

fn entry(name: String, text: &str) -> Option<Attached> {
    // CouchDB refuses the first and keeps the second, which no storage could name.
    if name.starts_with('_') || name.is_empty() {
        return None;
    }
    let said: Said<'_> = serde_json::from_str(text).ok()?;
    let is_true = |member: Option<&RawValue>| member.is_some_and(|member| member.get() == "true");
    let content = if is_true(said.stub) {
        Content::Stub
    } else if is_true(said.follows) {
        Content::Follows(follows(&said)?)
    } else {
        Content::Data(decode(said.data?.get())?.into())
    };
    let content_type = said.content_type.unwrap_or_else(|| OCTETS.to_owned());
    Some(Attached { name, content_type, revpos: said.revpos, content })
}

fn follows(said: &Said<'_>) -> Option<Follows> {
    let digest = said.digest.clone().filter(|digest| digest.starts_with("md5-"));
    match said.encoding.as_deref() {
        None | Some("identity") => Some(Follows { length: said.length?, digest, unpacked: None }),
        Some("gzip") => {
            let length = said.encoded_length.or(said.length)?;
            Some(Follows { length, digest, unpacked: Some(said.length?) })
        }
        Some(_) => None,
    }
}

/// A JSON text in base64, as Erlang's `base64:decode/1` takes it: white space anywhere, padding where it belongs, and
/// whatever the last bits are.
fn decode(raw: &str) -> Option<Vec<u8>> {
    let unquoted = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !unquoted.contains('\\') {
        return BASE64.decode(unquoted).ok();
    }
    let mut text: String = serde_json::from_str(raw).ok()?;
    text.retain(|char| !matches!(char, ' ' | '\t' | '\n' | '\r'));
    BASE64.decode(text).ok()
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// CouchDB's own attachments.
pub(super) const MEMBER: &str = "_attachments";

#[cfg(test)]
mod tests {
    use super::{Content, decode, read};
    use crate::couch::Document;

    fn kinds(text: &str) -> Option<Vec<String>> {
        let document = Document::parse(format!(r#"{{"_attachments":{text}}}"#).as_bytes()).unwrap();
        Some(
            read(&document)?
                .into_iter()
                .map(|one| format!("{} {:?} {:?}", one.name, one.revpos, one.content))
                .collect(),
        )
    }

    #[test]
    fn entries_are_what_couchdb_takes_them_for() {
        assert_eq!(kinds("{}").unwrap().len(), 0);
        let text = r#"{"a":{"stub":true,"data":"***","revpos":3},"b":{"data":"aGVsbG8=","stub":false},"c":{"follows":true,"length":3}}"#;
        let [a, b, c] = kinds(text).unwrap().try_into().unwrap();
        assert_eq!(a, "a Some(3) Stub");
        assert_eq!(b, "b None Data(b\"hello\")");
        assert!(c.starts_with("c None Follows(Follows { length: 3"), "{c}");
        let gzip = r#"{"z":{"follows":true,"length":9,"encoding":"gzip","encoded_length":4,"digest":"md5-x"}}"#;
        let document = Document::parse(format!(r#"{{"_attachments":{gzip}}}"#).as_bytes()).unwrap();
        let [z] = read(&document).unwrap().try_into().unwrap();
        let Content::Follows(z) = z.content else { panic!("{z:?}") };
        assert_eq!((z.length, z.unpacked, z.digest.as_deref()), (4, Some(9), Some("md5-x")));
    }

    #[test]
    fn what_is_couchdbs_to_judge_is_left_to_it() {
        for text in [
            "[1]",
            "null",
            r#"{"a":1}"#,
            r#"{"_a":{"stub":true}}"#,
            r#"{"":{"data":""}}"#,
            r#"{"a":{}}"#,
            r#"{"a":{"data":null}}"#,
            r#"{"a":{"data":"***"}}"#,
            r#"{"a":{"follows":true}}"#,
            r#"{"a":{"follows":true,"length":1,"encoding":"br"}}"#,
            r#"{"a":{"data":"","revpos":-1}}"#,
            r#"{"a":{"data":"","content_type":1}}"#,
        ] {
            assert_eq!(kinds(text), None, "{text}");
        }
    }

    #[test]
    fn base64_is_erlangs() {
        let text = |base64: &str| decode(&serde_json::to_string(base64).unwrap());
        for taken in ["aGVsbG8=", " aGVs\nbG8\t=\r\n", "aGVsbG9="] {
            assert_eq!(text(taken).unwrap(), b"hello", "{taken:?}");
        }
        assert_eq!(decode(r#""aGV\u0073b\/8=""#).unwrap(), [0x68, 0x65, 0x6c, 0x6f, 0xff]);
        assert_eq!(text("").unwrap(), b"");
        for refused in ["aGVsbG8", "aGVsbG8==", "=", "a-_b", "aGVs\u{b}bG8=", "aGVsbG8=a"] {
            assert_eq!(text(refused), None, "{refused:?}");
        }
        assert_eq!(decode("[1]"), None);
    }
}
