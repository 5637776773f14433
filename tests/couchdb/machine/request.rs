//! Converts operations to requests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::features::Feature;
use super::memory::{Memory, Pair, Side};
use super::operation::{At, Branch, Carried, Edit, Form, Operation, Payload, RIGHT_TAG, Rev};

/// A request below a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: &'static str,
    /// The path after `/{db}`.
    pub rest: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// The boundary of multipart bodies, which no payload contains.
const BOUNDARY: &str = "machine.boundary";

/// Builds one side's request for an operation in step `step`; `None` if it is not applicable to the current documents.
pub fn build(operation: &Operation, memory: &Memory, side: Side, step: usize) -> Option<Request> {
    match operation {
        Operation::Put { document, name, rev, media_type, payload, gzip } => {
            let (query, mut headers) = named(over(memory, document, *rev, true)?.as_ref(), *rev, side);
            headers.push(("Content-Type".to_owned(), (*media_type).to_owned()));
            let mut body = payload.bytes();
            if *gzip {
                headers.push(("Content-Encoding".to_owned(), "gzip".to_owned()));
                body = stowage_testing::gzip(&body);
            }
            let rest = format!("{}/{}{query}", path(document), attachment_path(name));
            Some(Request { method: "PUT", rest, headers, body })
        }
        Operation::Delete { document, name, rev } => {
            let (query, headers) = named(over(memory, document, *rev, true)?.as_ref(), *rev, side);
            let rest = format!("{}/{}{query}", path(document), attachment_path(name));
            Some(Request { method: "DELETE", rest, headers, body: Vec::new() })
        }
        Operation::Read { document, name, at, head, headers } => {
            let leaf = memory.leaf(document, *at);
            let digest = leaf.and_then(|leaf| leaf.attachments.get(*name)?["digest"].as_str()?.strip_prefix("md5-"));
            let tag = format!("\"{}\"", digest.unwrap_or("none"));
            let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.replace(RIGHT_TAG, &tag)));
            let query = read_at(memory, document, *at, side)?;
            let rest = format!("{}/{}{query}", path(document), attachment_path(name));
            let method = if *head { "HEAD" } else { "GET" };
            Some(Request { method, rest, headers: headers.collect(), body: Vec::new() })
        }
        Operation::Write(form, edit) => write(*form, edit, memory, side, step),
        Operation::Bulk(edits) => bulk(edits, memory, side, step),
        Operation::Branch(branch) => replicated(branch, memory, side, step),
        Operation::Remove { document, rev } => {
            let (query, headers) = named(over(memory, document, *rev, false)?.as_ref(), *rev, side);
            Some(Request { method: "DELETE", rest: format!("{}{query}", path(document)), headers, body: Vec::new() })
        }
        Operation::Copy { from, at, to, rev } => {
            // A weight of 0 only excludes the operation during generation, not while shrinking.
            Feature::Copies.on().then_some(())?;
            let replaced = over(memory, to, *rev, true)?.map(|over| format!("?rev={}", text_of(&over, *rev, side)));
            let destination = format!("{}{}", encoded(to), replaced.unwrap_or_default());
            let rest = format!("{}{}", path(from), read_at(memory, from, *at, side)?);
            let headers = vec![("Destination".to_owned(), destination)];
            Some(Request { method: "COPY", rest, headers, body: Vec::new() })
        }
        Operation::Document { document, query, accept, head } => {
            let method = if *head { "HEAD" } else { "GET" };
            let headers = vec![("Accept".to_owned(), (*accept).to_owned())];
            Some(Request { method, rest: format!("{}{query}", path(document)), headers, body: Vec::new() })
        }
        Operation::Turn { .. } => None,
        Operation::Database { query } => {
            Some(Request { method: "GET", rest: format!("/{query}"), headers: Vec::new(), body: Vec::new() })
        }
    }
}

/// Returns the revision that a write follows, if any. Returns `None` if the write is not comparable.
#[expect(clippy::option_option, reason = "a write without a revision is not one that is left out")]
fn over(memory: &Memory, document: &str, rev: Rev, attachments: bool) -> Option<Option<Pair>> {
    let over = memory.rev(document, rev).ok()?;
    let followed = |pair: &Pair| over.as_ref().is_none_or(|over| over == pair);
    let revived = memory.leaves(document).iter().any(|leaf| leaf.deleted && followed(&leaf.pair));
    let left_out = attachments && revived && !Feature::Tombstones.on();
    (!left_out && !memory.is_ambiguous(document, over.as_ref())).then_some(over)
}

/// Returns whether an edit has stubs over a revision that is not a leaf.
fn is_stale(memory: &Memory, edit: &Edit, over: Option<&Pair>) -> bool {
    let stubs = edit.attachments.iter().any(|(_, carried)| !matches!(carried, Carried::Data(_)));
    stubs && over.is_some_and(|over| memory.leaves(edit.document).iter().all(|leaf| leaf.pair != *over))
}

/// Returns the query of a read.
fn read_at(memory: &Memory, document: &str, at: At, side: Side) -> Option<String> {
    match at {
        At::Winner => Some(String::new()),
        At::Leaf(_) => Some(format!("?rev={}", memory.leaf(document, at)?.pair.on(side))),
        At::Unknown => Some("?rev=2-0123456789abcdef0123456789abcdef".to_owned()),
    }
}

/// Returns `?rev=`, or a header with the revision.
fn named(over: Option<&Pair>, rev: Rev, side: Side) -> (String, Vec<(String, String)>) {
    match (over, rev) {
        (None, _) => (String::new(), Vec::new()),
        (Some(over), Rev::Elsewhere) => {
            (String::new(), vec![("If-Match".to_owned(), format!("\"{}\"", over.on(side)))])
        }
        (Some(over), _) => (format!("?rev={}", text_of(over, rev, side)), Vec::new()),
    }
}

/// Spells a revision for a request.
fn text_of(over: &Pair, rev: Rev, side: Side) -> String {
    let text = over.on(side);
    if matches!(rev, Rev::Spelt) { format!("00{}", text.to_ascii_uppercase()) } else { text.to_owned() }
}

fn write(form: Form, edit: &Edit, memory: &Memory, side: Side, step: usize) -> Option<Request> {
    let over = over(memory, edit.document, edit.rev, !edit.attachments.is_empty())?;
    (Feature::StaleStubs.on() || !is_stale(memory, edit, over.as_ref())).then_some(())?;
    let mut members = members(edit, over.as_ref(), &edit.attachments, memory, step);
    let mut query = String::new();
    if let Some(over) = &over {
        if matches!(edit.rev, Rev::Elsewhere) || matches!(form, Form::Post) {
            members.insert("_rev".to_owned(), text_of(over, edit.rev, side).into());
        } else {
            query = format!("?rev={}", text_of(over, edit.rev, side));
        }
    }
    Some(sent(form, edit.document, &query, members, &edit.attachments))
}

/// Returns whether CouchDB treats each document independently of others in the batch and shard. `couch_db:update_docs/4` only checks previous
/// revisions if one of a shard's documents has attachments: else it accepts a revision that follows an unknown one, or one that the batch itself has
/// deleted.
fn is_certain(edits: &[Edit], memory: &Memory) -> bool {
    let with = |edit: &&Edit| !edit.attachments.is_empty();
    let same = |document: &'static str| edits.iter().filter(move |edit| edit.document == document);
    let depends = |one: &Edit| {
        let from_nothing = matches!(one.rev, Rev::Unknown) && memory.leaves(one.document).is_empty();
        !same(one.document).any(|edit| with(&edit)) && (from_nothing || same(one.document).count() > 1)
    };
    !edits.iter().any(|edit| with(&edit)) || !edits.iter().any(depends)
}

fn bulk(edits: &[Edit], memory: &Memory, side: Side, step: usize) -> Option<Request> {
    is_certain(edits, memory).then_some(())?;
    let mut documents = Vec::new();
    for (index, edit) in edits.iter().enumerate() {
        let over = over(memory, edit.document, edit.rev, !edit.attachments.is_empty())?;
        let again = edits[..index].iter().any(|other| other.document == edit.document);
        let forked = memory.leaves(edit.document).len() > 1;
        (!again || Feature::Twice.on() && !forked).then_some(())?;
        (Feature::StaleStubs.on() || !is_stale(memory, edit, over.as_ref())).then_some(())?;
        let mut members = members(edit, over.as_ref(), &edit.attachments, memory, step * 10 + index);
        if let Some(over) = over {
            members.insert("_rev".to_owned(), text_of(&over, edit.rev, side).into());
        }
        documents.push(Value::Object(members));
    }
    Some(posted("/_bulk_docs", &json!({ "docs": documents })))
}

fn replicated(branch: &Branch, memory: &Memory, side: Side, step: usize) -> Option<Request> {
    let document = branch.document;
    let parent = branch.parent.map(|rev| memory.rev(document, rev)).transpose().ok()?.flatten();
    let is_leaf = |pair: &Pair| memory.leaves(document).iter().any(|leaf| leaf.pair == *pair);
    // The attachments of an older revision may be gone from the storage.
    let stubs = branch.attachments.iter().any(|(_, carried)| !matches!(carried, Carried::Data(_)));
    (!stubs || parent.as_ref().is_none_or(is_leaf)).then_some(())?;
    let hash = format!("{}{step:022x}", if branch.high { "ffffffffff" } else { "0000000000" });
    let generation = parent.as_ref().map_or(0, Pair::generation) + 1;
    let mut chain = vec![hash.clone()];
    if let Some(parent) = &parent {
        chain.extend(parent.on(side).split_once('-').map(|(_, hash)| hash.to_owned()));
    }
    let edit = Edit { document, rev: Rev::None, deleted: branch.deleted, attachments: branch.attachments.clone() };
    let mut members = members(&edit, parent.as_ref(), &branch.attachments, memory, step);
    if !Feature::RevposLeftOut.on() || branch.high {
        let entries = members.get_mut("_attachments").and_then(Value::as_object_mut).into_iter().flatten();
        for (_, entry) in entries.filter(|(_, entry)| entry.get("stub").is_none()) {
            entry["revpos"] = generation.into();
        }
    }
    members.insert("_rev".to_owned(), format!("{generation}-{hash}").into());
    members.insert("_revisions".to_owned(), json!({ "start": generation, "ids": chain }));
    if matches!(branch.form, Form::Bulk) {
        return Some(posted("/_bulk_docs", &json!({ "new_edits": false, "docs": [members] })));
    }
    Some(sent(branch.form, document, "?new_edits=false", members, &branch.attachments))
}

/// Returns a document's members without its revision.
fn members(
    edit: &Edit,
    over: Option<&Pair>,
    attachments: &[(&'static str, Carried)],
    memory: &Memory,
    step: usize,
) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("_id".to_owned(), edit.document.into());
    members.insert("n".to_owned(), step.into());
    members.insert("pvt_type".to_owned(), "call_recording".into());
    if edit.deleted {
        members.insert("_deleted".to_owned(), true.into());
    }
    let leaf = memory.leaves(edit.document).iter().find(|leaf| Some(&leaf.pair) == over);
    let entries = attachments.iter().map(|(name, carried)| {
        let entry = match carried {
            Carried::Data(payload) => {
                json!({ "content_type": "audio/mpeg", "data": STANDARD.encode(payload.bytes()) })
            }
            Carried::Bare => json!({ "stub": true }),
            Carried::Stub => {
                let shown = leaf.and_then(|leaf| leaf.attachments.get(*name)).cloned();
                shown.unwrap_or_else(|| json!({ "content_type": "audio/mpeg", "revpos": 1, "stub": true }))
            }
        };
        ((*name).to_owned(), entry)
    });
    let entries: Map<String, Value> = entries.collect();
    if !entries.is_empty() {
        members.insert("_attachments".to_owned(), Value::Object(entries));
    }
    members
}

fn sent(
    form: Form,
    document: &str,
    query: &str,
    mut members: Map<String, Value>,
    attachments: &[(&'static str, Carried)],
) -> Request {
    let form = if is_waited_for(attachments) && matches!(form, Form::Multipart) { Form::Json } else { form };
    match form {
        Form::Post | Form::Bulk => posted(query, &Value::Object(members)),
        Form::Json => {
            let body = Value::Object(members).to_string().into_bytes();
            let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
            Request { method: "PUT", rest: format!("{}{query}", path(document)), headers, body }
        }
        Form::Multipart => {
            let payloads = attachments.iter().filter_map(|(name, carried)| match carried {
                Carried::Data(payload) => Some((*name, *payload)),
                _ => None,
            });
            let payloads: Vec<_> = payloads.collect();
            for (name, payload) in &payloads {
                let entry = &mut members["_attachments"][*name];
                let revpos = entry.get("revpos").cloned();
                *entry = json!({ "content_type": "audio/mpeg", "length": payload.length, "follows": true });
                if let Some(revpos) = revpos {
                    entry["revpos"] = revpos;
                }
            }
            let body = multipart(&Value::Object(members), &payloads);
            let media_type = format!("multipart/related; boundary=\"{BOUNDARY}\"");
            let headers = vec![("Content-Type".to_owned(), media_type)];
            Request { method: "PUT", rest: format!("{}{query}", path(document)), headers, body }
        }
    }
}

/// Returns whether CouchDB 3.5.2 would wait five minutes for a first part: it does if a multipart body only contains the document.
fn is_waited_for(attachments: &[(&'static str, Carried)]) -> bool {
    let comes = attachments.iter().any(|(_, carried)| matches!(carried, Carried::Data(_)));
    !comes && std::env::var_os("COUCHDB_URL").is_some()
}

fn multipart(document: &Value, payloads: &[(&str, Payload)]) -> Vec<u8> {
    let mut body =
        format!("--{BOUNDARY}\r\nContent-Type: application/json\r\n\r\n{document}\r\n--{BOUNDARY}").into_bytes();
    for (name, payload) in payloads {
        let (name, length) = (encoded(name), payload.length);
        let head = format!(
            "\r\nContent-Disposition: attachment; filename=\"{name}\"\r\nContent-Type: audio/mpeg\r\nContent-Length: {length}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend(payload.bytes());
        body.extend_from_slice(format!("\r\n--{BOUNDARY}").as_bytes());
    }
    body.extend_from_slice(b"--");
    body
}

fn posted(rest: &str, body: &Value) -> Request {
    let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    Request { method: "POST", rest: rest.to_owned(), headers, body: body.to_string().into_bytes() }
}

pub fn path(document: &str) -> String {
    format!("/{}", encoded(document))
}

fn attachment_path(name: &str) -> String {
    let parts: Vec<_> = name.split('/').map(encoded).collect();
    parts.join("/")
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
