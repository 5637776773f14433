//! Compares two responses to one operation: status, headers and body must be the same, except for irrelevant parts.

use serde_json::{Map, Value, json};

use super::features::Feature;
use super::memory::Memory;
use stowage_testing::raw::RawResponse;
use stowage_testing::replicator::parts;

/// Irrelevant headers: time, product, request id, and hop-by-hop headers.
const OWN: [&str; 5] = ["date", "server", "x-couch-request-id", "x-couchdb-body-time", "connection"];

/// The subject of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// An attachment, or the result of a write.
    Bytes,
    /// One or several documents.
    Documents,
    /// A list whose ETag is a hash of everything in the database.
    List,
}

/// A server's name and its database's, as in `Location`.
#[derive(Debug)]
pub struct Names {
    pub host: String,
    pub database: String,
}

impl Names {
    fn removed(&self, text: &str) -> String {
        let encoded = self.database.replace('/', "%2F");
        text.replace(&self.host, "HOST").replace(&encoded, "DATABASE").replace(&self.database, "DATABASE")
    }
}

/// Describes the difference, if any.
pub fn difference(
    about: About,
    (direct, here): (&RawResponse, &Names),
    (gateway, there): (&RawResponse, &Names),
    memory: &Memory,
) -> Option<String> {
    // A request that makes CouchDB crash is refused, and changes nothing.
    if direct.status == 500 && gateway.status >= 400 {
        return None;
    }
    if (direct.status, &direct.reason) != (gateway.status, &gateway.reason) {
        return Some(format!(
            "status {} {} directly, {} {} through the gateway\n{}\n{}",
            direct.status,
            direct.reason,
            gateway.status,
            gateway.reason,
            excerpt(direct),
            excerpt(gateway)
        ));
    }
    if direct.complete != gateway.complete {
        return Some("one of the answers is not whole".to_owned());
    }
    // Which of several missing stubs is reported is random in the embedded store.
    if direct.status == 412 && [direct, gateway].iter().all(|answer| answer.text().contains("\"missing_stub\"")) {
        return None;
    }
    let mut one = headers(about, direct, |text| here.removed(text));
    // CouchDB sends a length of 0 in responses to HEAD, and in 304, if it knows none; RFC 9110 section 8.6 only permits that of the GET.
    if ["content-length", "transfer-encoding"].iter().all(|name| gateway.header(name).is_none()) {
        one.retain(|(name, value)| (name.as_str(), value.as_str()) != ("content-length", "0"));
    }
    let mut other = headers(about, gateway, |text| memory.translated(&there.removed(text)));
    // The length without gzip is only known after decompression, which the response does not wait for.
    let told = |answer: &RawResponse| answer.header("content-length").is_some();
    if memory.packed && about == About::Documents && told(direct) && !told(gateway) {
        one.retain(|(name, _)| name != "content-length");
        other.retain(|(name, _)| name != "transfer-encoding");
    }
    if one != other {
        let (here, there) = (excerpt(direct), excerpt(gateway));
        return Some(format!("headers\n  {one:?} directly,\n  {other:?} through the gateway\n{here}\n{there}"));
    }
    let json = direct.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    if json {
        let one = compared(memory, here.removed(&direct.text()));
        let other = compared(memory, memory.translated(&there.removed(&gateway.text())));
        let arranged = if memory.mixed { sorted } else { ordered };
        let parsed = |text: &str| serde_json::from_str(text).map(shown).map_or_else(|_| Value::from(text), arranged);
        let (one, other) = (parsed(&one), parsed(&other));
        return (one != other).then(|| format!("body\n  {one}\ndirectly,\n  {other}\nthrough the gateway"));
    }
    if let Some(essence) = multipart(direct) {
        let (one, other) = (
            listed(direct, essence, |text| compared(memory, text.to_owned())),
            listed(gateway, essence, |text| compared(memory, memory.translated(text))),
        );
        return (one != other).then(|| format!("parts\n  {one:#?}\ndirectly,\n  {other:#?}\nthrough the gateway"));
    }
    let (one, other) = (without_boundary(direct), without_boundary(gateway));
    let length = |bytes: &[u8]| bytes.iter().zip(&other).take_while(|(one, other)| one == other).count();
    (one != other).then(|| {
        let at = length(&one);
        format!(
            "body of {} bytes directly and {} bytes through the gateway, different from byte {at}",
            one.len(),
            other.len()
        )
    })
}

/// Removes the attachments' generations where these may be in two places: CouchDB sets its own generation for those in a copy that the gateway makes.
fn compared(memory: &Memory, text: String) -> String {
    if !memory.mixed {
        return text;
    }
    let mut parts = text.split("\"revpos\":");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |whole, part| {
        whole + "\"revpos\":0" + part.trim_start_matches(|character: char| character.is_ascii_digit())
    })
}

/// Returns the type of a response that contains documents in parts.
fn multipart(answer: &RawResponse) -> Option<&'static str> {
    let kind = answer.header("content-type")?;
    ["multipart/related", "multipart/mixed"].into_iter().find(|essence| kind.starts_with(essence))
}

/// Returns the parts of a response, including nested ones, each with headers and contents.
fn listed(answer: &RawResponse, essence: &str, hashes: impl Fn(&str) -> String + Copy) -> Vec<String> {
    let kind = answer.header("content-type").unwrap_or_default();
    parts_of(kind, essence, &answer.body, hashes).unwrap_or_else(|why| vec![why, excerpt(answer)])
}

fn parts_of(
    kind: &str,
    essence: &str,
    body: &[u8],
    hashes: impl Fn(&str) -> String + Copy,
) -> Result<Vec<String>, String> {
    let mut listed = Vec::new();
    for part in parts(kind, essence, body)? {
        let kind = part.header("content-type").unwrap_or_default();
        let held = if kind.starts_with("application/json") {
            let text = hashes(&String::from_utf8_lossy(&part.body));
            sorted(serde_json::from_str(&text).map(shown).map_err(|error| error.to_string())?).to_string()
        } else if kind.starts_with("multipart/related") {
            parts_of(kind, "multipart/related", &part.body, hashes)?.join("\n")
        } else {
            hex::encode(<md5::Md5 as md5::Digest>::digest(&part.body))
        };
        let boundary = kind.split_once("boundary=").map_or("none", |(_, boundary)| boundary.trim_matches('"'));
        listed.push(format!("{:?} {held}", part.headers).replace(boundary, "BOUNDARY"));
    }
    // The order of attachments and leaves differs.
    listed.sort();
    Ok(listed)
}

/// Sorts the members by name.
pub fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// Converts attachments to lists, whose order counts.
fn ordered(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let member = |(name, value)| match (name, value) {
                (name, Value::Object(entries)) if name == "_attachments" => {
                    let entries = entries.into_iter().map(|(name, entry)| json!([name, entry]));
                    (name, entries.collect())
                }
                (name, value) => (name, ordered(value)),
            };
            Value::Object(members.into_iter().map(member).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(ordered).collect()),
        other => other,
    }
}

/// Returns the beginning of a body, for printing.
fn excerpt(answer: &RawResponse) -> String {
    let text: String = answer.text().chars().take(800).collect();
    text.trim_end().replace(|character: char| character.is_control(), "?")
}

fn headers(about: About, answer: &RawResponse, names: impl Fn(&str) -> String) -> Vec<(String, String)> {
    let boundary = boundary(answer);
    let kept = answer.headers.iter().filter(|(name, _)| {
        let name = name.to_ascii_lowercase();
        let told = !OWN.contains(&name.as_str());
        let length = about == About::Bytes || name != "content-length" || Feature::PresentStubs.on();
        let tag = about != About::List || name != "etag";
        told && length && tag
    });
    let value = |value: &str| boundary.map_or_else(|| value.to_owned(), |boundary| value.replace(boundary, "BOUNDARY"));
    let mut headers: Vec<_> = kept.map(|(name, text)| (name.to_ascii_lowercase(), names(&value(text)))).collect();
    headers.sort();
    headers
}

fn boundary(answer: &RawResponse) -> Option<&str> {
    let (_, boundary) = answer.header("content-type")?.split_once("boundary=")?;
    Some(boundary.trim_matches('"'))
}

fn without_boundary(answer: &RawResponse) -> Vec<u8> {
    let Some(boundary) = boundary(answer).filter(|boundary| !boundary.is_empty()) else {
        return answer.body.clone();
    };
    let mut left = answer.body.as_slice();
    let mut body = Vec::new();
    while let Some(at) = left.windows(boundary.len()).position(|window| window == boundary.as_bytes()) {
        body.extend_from_slice(&left[..at]);
        body.extend_from_slice(b"BOUNDARY");
        left = &left[at + boundary.len()..];
    }
    body.extend_from_slice(left);
    body
}

/// Removes from JSON what depends on the order of hashes and on sequence numbers; without [`Feature::PresentStubs`], converts pointers to stubs.
pub fn shown(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(document(members)),
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(shown).collect();
            // The leaves of a document are ordered by their hashes.
            if items.iter().all(|item| {
                item.get("ok").is_some()
                    || item.is_string()
                    || item.get("rev").is_some_and(|_| item.get("id").is_none())
            }) {
                items.sort_by_key(Value::to_string);
            }
            Value::Array(items)
        }
        other => other,
    }
}

fn document(members: Map<String, Value>) -> Map<String, Value> {
    let ordered = ["_revisions", "_revs_info"];
    let mut shown_members: Map<String, Value> = Map::new();
    for (name, value) in members {
        let value = match name.as_str() {
            "seq" | "last_seq" => Value::Null,
            name if ordered.contains(&name) => value,
            _ => shown(value),
        };
        shown_members.insert(name, value);
    }
    if Feature::PresentStubs.on() {
        return shown_members;
    }
    let Some(Value::Object(mut pointers)) = shown_members.shift_remove("pvt_attachments") else {
        return shown_members;
    };
    let outside: Vec<String> =
        pointers.iter().filter(|(_, pointer)| pointer.get("stowage").is_some()).map(|(name, _)| name.clone()).collect();
    for name in outside {
        if let Some(Value::Object(mut stub)) = pointers.shift_remove(&name) {
            stub.shift_remove("stowage");
            stub.insert("stub".to_owned(), true.into());
            let entries = shown_members.entry("_attachments").or_insert_with(|| Value::Object(Map::new()));
            entries[&name] = Value::Object(stub);
        }
    }
    if !pointers.is_empty() {
        shown_members.insert("pvt_attachments".to_owned(), Value::Object(pointers));
    }
    shown_members
}
