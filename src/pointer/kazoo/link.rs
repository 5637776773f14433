//! `kz_att_link`: the attachment of another document.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// The attachment of another document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The database's decoded name.
    pub database: String,
    /// The document's id.
    pub document: String,
    /// The attachment's name; where it is missing, any attachment is meant.
    pub attachment: Option<String>,
}

impl Link {
    /// Reads the members that KAZOO writes. Nothing that begins with an underscore is meant: these are CouchDB's own.
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

/// KAZOO has names of databases in both forms. A name itself has no percent sign.
fn decoded(database: &str) -> Option<String> {
    percent_decode_str(database).decode_utf8().ok().map(String::from)
}
