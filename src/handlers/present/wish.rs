//! What a client wants to see of attachments: from its query, its `Accept`, and bodies that hold options.

use http::header::{ACCEPT, HeaderMap};
use serde_json::{Map, Value};

use crate::couch::Document;
use crate::http::target::query_value;

/// What is wanted of the attachments of a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// Their bytes, not stubs.
    pub(super) data: bool,
    /// How they are packed (`att_encoding_info`).
    pub(super) encoding: bool,
    /// Only what came after one of these revisions (`atts_since`).
    pub(super) since: Vec<String>,
}

/// What is wanted row by row.
#[derive(Debug, Clone, Default)]
pub(super) struct Wishes {
    /// Of all rows that say nothing themselves.
    pub(super) all: Wish,
    /// Of the rows, or results, one after another.
    pub(super) each: Vec<Wish>,
    /// The documents that they are about, where they were asked for by id.
    ids: Vec<String>,
}

impl Wish {
    /// As CouchDB reads a query (`chttpd_db:parse_doc_query`): `atts_since` wants bytes by itself, also an empty one.
    pub(super) fn of_query(query: Option<&str>) -> Self {
        let flag = |name| query_value(query, name).as_deref() == Some("true");
        let since: Option<Vec<String>> =
            query_value(query, "atts_since").and_then(|list| serde_json::from_str(&list).ok());
        let data = flag("attachments") || since.is_some();
        Self { data, encoding: flag("att_encoding_info"), since: since.unwrap_or_default() }
    }

    /// With what the body of a request for rows says, which counts more.
    fn with_options(&self, options: &Map<String, Value>) -> Self {
        let flag = |name, before| options.get(name).map_or(before, is_true);
        Self {
            data: flag("attachments", self.data),
            encoding: flag("att_encoding_info", self.encoding),
            since: Vec::new(),
        }
    }

    /// Whether the bytes of an attachment are wanted that a revision of this generation stored.
    pub(super) fn wants(&self, revpos: u64, known: Option<u64>) -> bool {
        self.data && known.is_none_or(|known| revpos > known)
    }

    /// The generation of the newest revision in the document's history that the client has, where it has one.
    pub(super) fn known(&self, document: &Document) -> Option<u64> {
        #[derive(serde::Deserialize)]
        struct Revisions {
            start: u64,
            ids: Vec<String>,
        }
        if self.since.is_empty() {
            return None;
        }
        let told = serde_json::from_str::<Revisions>(document.raw("_revisions")?.get()).ok()?;
        let history = (0..=told.start).rev().zip(&told.ids);
        let mut known = history.filter(|(generation, id)| self.since.contains(&format!("{generation}-{id}")));
        known.next().map(|(generation, _)| generation)
    }
}

fn is_true(value: &Value) -> bool {
    *value == Value::Bool(true) || value.as_str() == Some("true")
}

impl Wishes {
    /// The same of all.
    pub(super) const fn alike(all: Wish) -> Self {
        Self { all, each: Vec::new(), ids: Vec::new() }
    }

    /// Of a list of rows that a POST asks for: its body may hold what could be in the query, or many such (`queries`).
    pub(super) fn of_rows(query: Option<&str>, body: &[u8]) -> Self {
        let all = Wish { since: Vec::new(), ..Wish::of_query(query) };
        let Ok(options) = serde_json::from_slice::<Map<String, Value>>(body) else { return Self::alike(all) };
        let queries = options.get("queries").and_then(Value::as_array);
        let each = queries.into_iter().flatten().filter_map(Value::as_object);
        let each = each.map(|options| all.with_options(options)).collect();
        Self { all: all.with_options(&options), each, ids: Vec::new() }
    }

    /// Of a `_bulk_get`: every document may name revisions that the client has.
    pub(super) fn of_bulk_get(query: Option<&str>, body: &[u8]) -> Self {
        #[derive(serde::Deserialize)]
        struct Wanted {
            docs: Vec<Map<String, Value>>,
        }
        let all = Wish { since: Vec::new(), ..Wish::of_query(query) };
        let Ok(wanted) = serde_json::from_slice::<Wanted>(body) else { return Self::alike(all) };
        let each = wanted.docs.iter().map(|document| {
            let since = document.get("atts_since").and_then(Value::as_array);
            let since: Vec<String> = since.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
            Wish { data: all.data || !since.is_empty(), encoding: all.encoding, since }
        });
        let id =
            |document: &Map<String, Value>| document.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { each: each.collect(), ids: wanted.docs.iter().map(id).collect(), all }
    }

    /// What is wanted of a document in this row.
    pub(super) fn of(&self, row: usize) -> &Wish {
        self.each.get(row).unwrap_or(&self.all)
    }

    /// The same where an answer leaves out which of the wanted documents one is.
    pub(super) fn of_document(&self, id: &str) -> &Wish {
        self.ids.iter().position(|known| known == id).map_or(&self.all, |row| self.of(row))
    }

    /// Whether no document was asked for.
    pub(super) fn is_about_nothing(&self) -> bool {
        self.each.is_empty()
    }

    /// The bytes of all attachments, as multipart answers have them whether asked for or not.
    pub(super) fn with_data(mut self) -> Self {
        self.all.data = true;
        self.each.iter_mut().for_each(|wish| wish.data = true);
        self
    }

    /// Whether any bytes may be wanted.
    pub(super) fn any_data(&self) -> bool {
        self.all.data || self.each.iter().any(|wish| wish.data)
    }

    /// Whether documents have to tell of their history.
    pub(super) fn need_history(&self) -> bool {
        !self.all.since.is_empty() || self.each.iter().any(|wish| !wish.since.is_empty())
    }
}

/// Whether the client takes a media type, as CouchDB sees it (`mochiweb_request:accepts_content_type`): without an `Accept` it
/// takes everything.
pub(super) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if values.peek().is_none() {
        return true;
    }
    let (main, _) = media_type.split_once('/').unwrap_or((media_type, ""));
    let (mut taken, mut refused) = (false, false);
    for item in values.flat_map(|value| value.split(',')) {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        let quality = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("q="));
        let none = quality.is_some_and(|quality| quality.parse::<f32>().is_ok_and(|quality| quality <= 0.0));
        let name = name.trim();
        let own = name == media_type || name.strip_suffix("/*") == Some(main);
        taken |= !none && (own || name == "*/*");
        refused |= none && own;
    }
    taken && !refused
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, HeaderMap};

    use super::{Wish, Wishes, accepts};
    use crate::couch::Document;

    #[test]
    fn accept_is_read_as_couchdb_reads_it() {
        let related = |accept: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(ACCEPT, accept.parse().unwrap());
            }
            accepts(&headers, "multipart/related")
        };
        for (accept, expected) in [
            (None, true),
            (Some("*/*"), true),
            (Some("multipart/related"), true),
            (Some("multipart/*;q=0.5"), true),
            (Some("application/json, */*;q=0.1"), true),
            (Some("application/json"), false),
            (Some("multipart/mixed"), false),
            (Some("*/*;q=0"), false),
            (Some("*/*, multipart/related;q=0"), false),
        ] {
            assert_eq!(related(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn only_what_came_after_a_known_revision_is_wanted() {
        let document = Document::parse(br#"{"_rev":"3-c","_revisions":{"start":3,"ids":["c","b","a"]}}"#).unwrap();
        let known = |since: &str| Wish::of_query(Some(&format!("atts_since={since}"))).known(&document);
        assert_eq!(known("[]"), None);
        assert_eq!(known("[%221-a%22,%222-b%22]"), Some(2));
        assert_eq!(known("[%222-x%22]"), None);
        assert!(Wish::of_query(Some("atts_since=[%221-a%22]")).data);
        assert!(Wish::of_query(Some("atts_since=[]")).data);
        assert!(!Wish::of_query(Some("rev=1-a")).data);
    }

    #[test]
    fn bodies_say_what_is_wanted_of_each() {
        let rows = |body: &str| Wishes::of_rows(Some("attachments=true"), body.as_bytes());
        assert!(rows("").all.data && rows(r#"{"keys":[]}"#).all.data);
        assert!(!rows(r#"{"attachments":false}"#).all.data);
        let queries = rows(r#"{"queries":[{"attachments":false},{}]}"#);
        assert_eq!((queries.of(0).data, queries.of(1).data), (false, true));
        let got = Wishes::of_bulk_get(None, br#"{"docs":[{"id":"a"},{"id":"b","atts_since":["1-a"]}]}"#);
        assert_eq!((got.of(0).data, got.of(1).data, got.need_history()), (false, true, true));
    }
}
