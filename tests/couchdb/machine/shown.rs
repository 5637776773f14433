//! Formats operations for readers.

use std::fmt::{self, Display, Formatter};

use super::operation::{Carried, Edit, Operation};

impl Display for Carried {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(payload) => write!(f, "{} bytes", payload.length),
            Self::Stub => f.write_str("stub"),
            Self::Bare => f.write_str("bare stub"),
        }
    }
}

/// `{call.mp3: stub, ...}`
struct Shown<'a>(&'a [(&'static str, Carried)]);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let entries: Vec<_> = self.0.iter().map(|(name, carried)| format!("{name:?}: {carried}")).collect();
        write!(f, "{{{}}}", entries.join(", "))
    }
}

impl Display for Edit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let deleted = if self.deleted { ", deleted" } else { "" };
        write!(f, "{:?} over {:?}{deleted} with {}", self.document, self.rev, Shown(&self.attachments))
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { document, name, rev, media_type, payload, gzip } => {
                let packed = if *gzip { ", packed" } else { "" };
                let length = payload.length;
                write!(f, "put {name:?} of {document:?} over {rev:?}: {length} bytes of {media_type:?}{packed}")
            }
            Self::Delete { document, name, rev } => write!(f, "delete {name:?} of {document:?} over {rev:?}"),
            Self::Read { document, name, at, head, headers } => {
                let verb = if *head { "head" } else { "get" };
                write!(f, "{verb} {name:?} of {document:?} at {at:?} {headers:?}")
            }
            Self::Write(form, edit) => write!(f, "write ({form:?}) {edit}"),
            Self::Bulk(edits) => {
                let edits: Vec<_> = edits.iter().map(Edit::to_string).collect();
                write!(f, "bulk [{}]", edits.join("; "))
            }
            Self::Branch(one) => {
                let parent = one.parent.map_or_else(|| "nothing".to_owned(), |parent| format!("{parent:?}"));
                let height = if one.high { "high" } else { "low" };
                let deleted = if one.deleted { ", deleted" } else { "" };
                let (document, form, shown) = (one.document, one.form, Shown(&one.attachments));
                write!(
                    f,
                    "replicate ({form:?}) a {height} revision of {document:?} after {parent}{deleted} with {shown}"
                )
            }
            Self::Remove { document, rev } => write!(f, "remove {document:?} over {rev:?}"),
            Self::Copy { from, at, to, rev } => write!(f, "copy {from:?} at {at:?} to {to:?} over {rev:?}"),
            Self::Document { document, query, accept, head } => {
                let verb = if *head { "head" } else { "get" };
                write!(f, "{verb} {document:?} {query} as {accept}")
            }
            Self::Database { query } => write!(f, "get {query}"),
            Self::Turn { to, after: None } => write!(f, "the storage: {to:?}"),
            Self::Turn { to, after: Some(after) } => write!(f, "the storage: {to:?}, {after} ms into the next step"),
        }
    }
}
