//! Pointers that KAZOO wrote: `handler: {"kz_att_<x>": {..}}` in an entry of `pvt_attachments`.
//!
//! Every form since 2016 is read and none is written. Each reader turns a form into a location of today's driver, and the
//! settings that the form itself holds. Settings of today's plan win over those: keys get rotated.
//!
//! | file | reads |
//! |---|---|
//! | `term` | Erlang terms, bounded |
//! | `s3` | `kz_att_s3`: tuples with the folder, maps, maps with the key |
//! | `vendors` | `kz_att_azure`, `kz_att_google_storage`, `kz_att_google_drive`, `kz_att_dropbox`, `kz_att_onedrive` |
//! | `url` | `kz_att_http`, `kz_att_ftp` |
//! | `link` | `kz_att_link`: the attachment of another document |
//!
//! Source of the forms: `core/kazoo_attachments` of KAZOO, all versions of `kz_att_*.erl`.

mod link;
mod s3;
mod term;
#[cfg(test)]
mod tests;
mod url;
mod vendors;

use serde_json::{Map, Value};
use stowage_base::settings::Settings;
use stowage_storage::Location;

use self::term::Term;

pub use link::Link;

/// The attachment whose entry is read: some forms say only a part of the object's name.
#[derive(Debug, Clone, Copy)]
pub struct AttachmentAddress<'a> {
    /// The database's decoded name.
    pub database: &'a str,
    /// The document's id.
    pub document: &'a str,
    /// The attachment's name.
    pub attachment: &'a str,
}

/// What an old entry points at.
#[derive(Debug, Clone, PartialEq)]
pub enum KazooEntry {
    /// An object in a storage.
    Object(Object),
    /// The attachment of another document.
    Link(Link),
}

/// An object in a storage.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Where it is, in today's form and without credentials.
    pub location: Location,
    /// What the entry says about the storage, credentials included; for `handler` of today's name. Its id is KAZOO's name
    /// of the handler.
    pub inside: Settings,
    /// Whether its name shows that it was stored for another document than the one that is read.
    pub foreign: bool,
}

/// Reads the `handler` member of an entry. `None` for anything that KAZOO did not write.
#[must_use]
pub fn read(handler: &Value, at: AttachmentAddress<'_>) -> Option<KazooEntry> {
    let mut handlers = handler.as_object()?.iter();
    let (Some((module, Value::Object(props))), None) = (handlers.next(), handlers.next()) else { return None };
    let read = match module.as_str() {
        "kz_att_link" => return Link::read(props).map(KazooEntry::Link),
        "kz_att_s3" => s3::read(props, at),
        "kz_att_http" => url::http(props),
        "kz_att_ftp" => url::ftp(props),
        "kz_att_azure" => vendors::azure(props),
        "kz_att_google_storage" => vendors::google_storage(props),
        "kz_att_google_drive" => vendors::google_drive(props),
        "kz_att_dropbox" => vendors::dropbox(props),
        "kz_att_onedrive" => vendors::onedrive(props),
        _ => return None,
    }?;
    let foreign = read.name.is_some_and(|name| !names(&name, at.document));
    let inside = Settings::new(module, read.handler, read.settings);
    Some(KazooEntry::Object(Object { location: read.location, inside, foreign }))
}

/// What a reader finds.
struct Read {
    /// Today's name of the driver.
    handler: &'static str,
    location: Location,
    settings: Map<String, Value>,
    /// The object's name, where the entry has one.
    name: Option<String>,
}

/// A member that holds a term.
fn term(props: &Map<String, Value>, member: &str) -> Option<Term> {
    Term::read(props.get(member)?.as_str()?)
}

/// A tuple of two.
fn pair(term: Term) -> Option<(Term, Term)> {
    let Term::Tuple(elements) = term else { return None };
    let [first, second] = <[Term; 2]>::try_from(elements).ok()?;
    Some((first, second))
}

/// A location of texts.
fn location<const N: usize>(members: [(&str, String); N]) -> Location {
    members.into_iter().map(|(key, text)| (key.to_owned(), Value::String(text))).collect()
}

/// Whether a name has the document's id in it, raw or percent-encoded, and not as a part of a longer word.
fn names(name: &str, id: &str) -> bool {
    let decoded = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    [name, &*decoded].into_iter().any(|name| {
        name.match_indices(id).any(|(at, _)| {
            let before = name.get(..at).and_then(|before| before.chars().next_back());
            let after = name.get(at + id.len()..).and_then(|after| after.chars().next());
            ![before, after].into_iter().flatten().any(char::is_alphanumeric)
        })
    })
}
