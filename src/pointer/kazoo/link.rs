//! `kz_att_link`: an attachment of another document.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// An attachment of another document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The database's decoded name.
    pub database: String,
    /// The document's id.
    pub document: String,
    /// The attachment's name; `None` stands for any attachment.
    pub attachment: Option<String>,
}

impl Link {
    /// Parses the members that KAZOO writes. Names with a leading underscore are rejected: they are CouchDB's own.
    pub(super) fn read(props: &Map<String, Value>) -> Option<Self> {
        let text = |key: &str| match props.get(key) {
            None | Some(Value::Null) => Some(None),
            Some(Value::String(text)) => Some(Some(text.clone())),
            Some(_) => None,
        };
        let database = decoded(&text("att_dbname")??)?;
        let (document, attachment) = (text("att_docid")??, text("att_name")?.filter(|name| !name.is_empty()));
        let sound = |name: &str| !name.is_empty() && !name.starts_with('_');
        let all = sound(&database) && sound(&document) && attachment.as_deref().is_none_or(sound);
        all.then_some(Self { database, document, attachment })
    }
}

/// Decodes a database name, which KAZOO writes in either form. A name itself contains no percent sign.
fn decoded(database: &str) -> Option<String> {
    percent_decode_str(database).decode_utf8().ok().map(String::from)
}
