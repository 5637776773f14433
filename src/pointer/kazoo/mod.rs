//! Pointers written by KAZOO: `handler: {"kz_att_<x>": {..}}` in an entry of `pvt_attachments`.
//!
//! Every form since 2016 is read, and none is written. Each reader converts a form to a location of the current driver, and to the settings in the
//! form itself. Settings of the current plan take precedence over those, since keys are rotated.
//!
//! | file | reads |
//! |---|---|
//! | `term` | Erlang terms, bounded |
//! | `s3` | `kz_att_s3`: tuples with the folder, maps, maps with the key |
//! | `vendors` | `kz_att_azure`, `kz_att_google_storage`, `kz_att_google_drive`, `kz_att_dropbox`, `kz_att_onedrive` |
//! | `url` | `kz_att_http`, `kz_att_ftp` |
//! | `link` | `kz_att_link`: an attachment of another document |
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
use crate::database::{ACCOUNT_PATH_LENGTH, class_of};

pub use link::Link;

/// The attachment whose entry is being read: some forms contain only part of the object's name.
#[derive(Debug, Clone, Copy)]
pub struct AttachmentAddress<'a> {
    /// The database's decoded name.
    pub database: &'a str,
    /// The document's id.
    pub document: &'a str,
    /// The attachment's name.
    pub attachment: &'a str,
}

/// The target of a KAZOO entry.
#[derive(Debug, Clone, PartialEq)]
pub enum KazooEntry {
    /// An object in a storage.
    Object(Object),
    /// An attachment of another document.
    Link(Link),
}

/// An object in a storage.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The location in the current form, without credentials.
    pub location: Location,
    /// The storage settings in the entry, credentials included, with the current name of the driver. Their id is KAZOO's name of the handler.
    pub inside: Settings,
    /// Whether the object's name shows that it was stored for another document than the one being read, or for one in another database.
    pub foreign: bool,
}

/// Parses the `handler` member of an entry. Returns `None` for anything that KAZOO did not write.
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
    let foreign = read.name.is_some_and(|name| !names(&name, at.document) || names_other_database(&name, at.database));
    let inside = Settings::new(module, read.handler, read.settings);
    Some(KazooEntry::Object(Object { location: read.location, inside, foreign }))
}

/// The result of a reader.
struct Read {
    /// The current name of the driver.
    handler: &'static str,
    location: Location,
    settings: Map<String, Value>,
    /// The object's name, if the entry contains one.
    name: Option<String>,
}

/// Parses a member that holds a term.
fn term(props: &Map<String, Value>, member: &str) -> Option<Term> {
    Term::read(props.get(member)?.as_str()?)
}

/// Destructures a pair.
fn pair(term: Term) -> Option<(Term, Term)> {
    let Term::Tuple(elements) = term else { return None };
    let [first, second] = <[Term; 2]>::try_from(elements).ok()?;
    Some((first, second))
}

/// Builds a location from strings.
fn location<const N: usize>(members: [(&str, String); N]) -> Location {
    members.into_iter().map(|(key, text)| (key.to_owned(), Value::String(text))).collect()
}

/// Returns whether a name contains the document's id as a whole word, raw or percent-encoded.
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

/// Returns whether a name contains an account's database, raw or percent-encoded, other than the given one: a replicated document keeps its id, and its
/// entries name the objects of the original.
fn names_other_database(name: &str, database: &str) -> bool {
    // Azure's names are encoded twice.
    let once = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    let plain = percent_encoding::percent_decode_str(&once).decode_utf8_lossy();
    plain.match_indices(ACCOUNT).filter_map(|(at, _)| plain.get(at..)).any(|text| {
        let account = text.split_at_checked(ACCOUNT.len() + ACCOUNT_PATH_LENGTH).map(|(account, _)| account);
        account.is_some_and(|account| class_of(account).is_some()) && !begins_with(text, database)
    })
}

/// Returns whether a text begins with this database's name, rather than with that of one of its months or years.
fn begins_with(text: &str, database: &str) -> bool {
    text.strip_prefix(database).is_some_and(|rest| {
        let period = rest.strip_prefix('-').map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
        !rest.starts_with(char::is_alphanumeric) && !matches!(period, 4 | 6)
    })
}

/// The beginning of the names of accounts' databases.
const ACCOUNT: &str = "account/";
