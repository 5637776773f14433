//! What a client wants to see of attachments, from its query and from bodies with options, each interpreted as CouchDB does.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;
use stowage_couch::{Document, canonical};
use stowage_http::target::query_pairs;

use crate::router::List;

/// What is wanted of a document's attachments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Requested {
    /// Whether bytes are wanted rather than stubs.
    pub(super) data: bool,
    /// Whether encodings are wanted (`att_encoding_info`).
    pub(super) encoding: bool,
    /// Only attachments newer than one of these revisions (`atts_since`).
    since: Option<Vec<String>>,
}

/// What is wanted in each row.
#[derive(Debug, Clone, Default)]
pub(super) struct RequestedRows {
    /// For all rows without their own options.
    all: Requested,
    /// For the rows, or results, that want something else. A request has up to millions of rows, so those that want the same take no memory.
    each: BTreeMap<usize, Requested>,
    /// The rows whose documents were requested by id, if any row wants something else.
    ids: Vec<(usize, Asked)>,
    /// Whether the request cannot be interpreted: CouchDB refuses it too, or the gateway does.
    pub(super) unclear: bool,
}

/// A requested document, possibly at a revision.
#[derive(Debug, Clone)]
struct Asked {
    id: String,
    rev: Option<String>,
}

/// Parses a list of revisions into CouchDB's form.
fn revs(list: &str) -> Option<Vec<String>> {
    let texts: Vec<String> = serde_json::from_str(list).ok()?;
    texts.iter().map(|text| canonical(text)).collect()
}

/// Returns whether a document's query asks for a list of revisions (`open_revs`). If the list is empty, CouchDB sends the document itself.
pub(super) fn names_revs(query: Option<&str>) -> bool {
    let list = query_pairs(query).filter(|(name, _)| name == "open_revs").last();
    list.is_some_and(|(_, list)| !serde_json::from_str::<Vec<Value>>(&list).is_ok_and(|revs| revs.is_empty()))
}

impl Requested {
    /// Parses a document's query (`chttpd_db:parse_doc_query`): `atts_since` implies bytes, even if it is empty. Returns `None` if it is invalid.
    fn of_query(query: Option<&str>) -> Option<Self> {
        let mut requested = Self::default();
        for (name, value) in query_pairs(query) {
            match (&*name, &*value) {
                ("attachments", "true") => requested.data = true,
                ("att_encoding_info", "true") => requested.encoding = true,
                ("atts_since", list) => requested.since = Some(revs(list)?),
                _ => {}
            }
        }
        requested.data |= requested.since.is_some();
        Some(requested)
    }

    /// Parses a list's query. `_changes` ignores the case of names (`chttpd_db:parse_changes_query`), other lists that of values
    /// (`couch_mrview_http:parse_param`), and `_find` has no such options.
    fn of_list(query: Option<&str>, list: List) -> Self {
        let mut requested = Self::default();
        for (name, value) in query_pairs(query) {
            let (name, value) = match list {
                List::Changes => (name.to_ascii_lowercase(), value.into_owned()),
                List::Rows | List::Queries => (name.into_owned(), value.to_ascii_lowercase()),
                List::Found => break,
            };
            requested.data |= (&*name, &*value) == ("attachments", "true");
            requested.encoding |= (&*name, &*value) == ("att_encoding_info", "true");
        }
        requested
    }

    /// Adds the options in the body of a request for rows: they can only add bytes to the query's.
    fn with_options(&self, options: &Document) -> Self {
        let flag = |name| options.value(name).is_some_and(|value| is_true(&value));
        Self {
            data: self.data || flag("attachments"),
            encoding: self.encoding || flag("att_encoding_info"),
            since: None,
        }
    }

    /// Returns whether the bytes of an attachment stored at this generation are wanted.
    pub(super) fn wants(&self, revpos: u64, known: Option<u64>) -> bool {
        self.data && known.is_none_or(|known| revpos > known)
    }

    /// Returns the generation of the newest revision in the document's history that the client has, or 0 if it has none of them; `None` if it did not
    /// say (`couch_db:find_ancestor_rev_pos`).
    pub(super) fn known(&self, document: &Document) -> Option<u64> {
        #[derive(serde::Deserialize)]
        struct Revisions {
            start: u64,
            ids: Vec<String>,
        }
        let since = self.since.as_ref()?;
        let told = document.raw("_revisions").and_then(|told| serde_json::from_str::<Revisions>(told.get()).ok());
        let Some(told) = told.filter(|_| !since.is_empty()) else { return Some(0) };
        let mut history = (0..=told.start).rev().zip(told.ids);
        let known = history.find(|(generation, id)| since.contains(&format!("{generation}-{id}")));
        Some(known.map_or(0, |(generation, _)| generation))
    }
}

fn is_true(value: &Value) -> bool {
    *value == Value::Bool(true) || value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

impl RequestedRows {
    /// Wants the same for all rows.
    fn alike(all: Requested) -> Self {
        Self { all, ..Self::default() }
    }

    fn unclear() -> Self {
        Self { unclear: true, ..Self::default() }
    }

    /// Parses the options for one document.
    pub(super) fn of_document_query(query: Option<&str>) -> Self {
        Requested::of_query(query).map_or_else(Self::unclear, Self::alike)
    }

    /// Parses the options for a list. A POST's body adds to the query; `Some(None)` is a body that cannot be decoded.
    pub(super) fn of_list(list: List, query: Option<&str>, body: Option<Option<&[u8]>>) -> Self {
        let all = Requested::of_list(query, list);
        let body = match body {
            None => return Self::alike(all),
            Some(None) => return Self::unclear(),
            Some(Some(body)) => body,
        };
        let Ok(options) = Document::parse(body) else { return Self::unclear() };
        if list == List::Rows {
            return Self::alike(all.with_options(&options));
        }
        let queries = options.raw("queries").and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok());
        let Some(queries) = queries else { return Self::unclear() };
        let each = queries.into_iter().map(|query| {
            let options = Document::parse(query.get().as_bytes()).unwrap_or_default();
            all.with_options(&options)
        });
        let each = each.enumerate().filter(|(_, requested)| *requested != all).collect();
        Self { each, ..Self::alike(all) }
    }

    /// Parses the options for `_bulk_get`: each document may name revisions that the client has (`chttpd_db:bulk_get_parse_args`).
    pub(super) fn of_bulk_get(query: Option<&str>, body: Option<&[u8]>) -> Self {
        let all = Requested::of_query(query);
        let documents = body.and_then(|body| Document::parse(body).ok());
        let documents = documents.as_ref().and_then(|body| body.raw("docs"));
        let documents = documents.and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok());
        let (Some(all), Some(documents)) = (all, documents) else { return Self::unclear() };
        // Each document has an `atts_since` of its own, or none.
        let all = Requested { since: None, ..all };
        let (mut each, mut ids) = (BTreeMap::new(), Vec::new());
        for (row, document) in documents.into_iter().enumerate() {
            // A document that is not an object gets an error row.
            let document = Document::parse(document.get().as_bytes()).unwrap_or_default();
            let since = document.raw("atts_since").and_then(|list| revs(list.get()));
            let since = since.filter(|list| !list.is_empty());
            if since.is_some() {
                each.insert(row, Requested { data: true, encoding: all.encoding, since });
            }
            if let Some(id) = document.text("id") {
                ids.push((row, Asked { id, rev: document.text("rev").and_then(|rev| canonical(&rev)) }));
            }
        }
        if each.is_empty() {
            ids = Vec::new();
        }
        Self { all, each, ids, unclear: false }
    }

    /// Returns what is wanted of the document in a row.
    pub(super) fn of(&self, row: usize) -> &Requested {
        self.each.get(&row).unwrap_or(&self.all)
    }

    /// Returns what is wanted of a document in a response that does not say which request it belongs to.
    pub(super) fn of_document(&self, id: &str, rev: &str) -> &Requested {
        let rev = canonical(rev);
        let mut its = self.ids.iter().filter(|(_, asked)| asked.id == id);
        let found = its.clone().find(|(_, asked)| asked.rev.is_some() && asked.rev == rev);
        let found = found.or_else(|| its.clone().find(|(_, asked)| asked.rev.is_none()));
        let found = found.or_else(|| its.next());
        found.map_or(&self.all, |(row, _)| self.of(*row))
    }

    /// Wants the bytes of all attachments, which multipart responses always have.
    pub(super) fn with_data(mut self) -> Self {
        self.all.data = true;
        self.each.values_mut().for_each(|requested| requested.data = true);
        self
    }

    /// Returns whether any bytes may be wanted.
    pub(super) fn any_data(&self) -> bool {
        self.all.data || self.each.values().any(|requested| requested.data)
    }

    /// Returns whether the documents' history is needed.
    pub(super) fn need_history(&self) -> bool {
        [&self.all]
            .into_iter()
            .chain(self.each.values())
            .any(|requested| requested.since.as_ref().is_some_and(|list| !list.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Requested, RequestedRows, names_revs};
    use crate::router::List;
    use stowage_couch::Document;

    #[test]
    fn only_what_came_after_a_known_revision_is_wanted() {
        let hash = "0123456789abcdef0123456789abcdef";
        let document = format!(r#"{{"_rev":"3-c","_revisions":{{"start":3,"ids":["c","{hash}","a"]}}}}"#);
        let document = Document::parse(document.as_bytes()).unwrap();
        let known = |query: &str| {
            Requested::of_query(Some(query)).map(|requested| (requested.data, requested.known(&document)))
        };
        assert_eq!(known("rev=1-a"), Some((false, None)));
        for (list, expected) in [
            ("[]".to_owned(), 0),
            (format!("[%221-a%22,%222-{hash}%22]"), 2),
            (format!("[%2202-{}%22]", hash.to_ascii_uppercase()), 2),
            ("[%222-x%22,%229-c%22]".to_owned(), 0),
            ("[%223-c%22]&atts_since=[%221-a%22]".to_owned(), 1),
        ] {
            assert_eq!(known(&format!("atts_since={list}")), Some((true, Some(expected))), "{list}");
        }
        for wrong in ["", "5", "{}", "[1]", "[%22x%22]", "no", "[%22-a%22]", "[%22+2-a%22]", "[%221-a%22"] {
            assert_eq!(known(&format!("atts_since={wrong}")), None, "{wrong}");
            assert!(RequestedRows::of_document_query(Some(&format!("atts_since={wrong}"))).unclear);
        }
        let none = Requested::of_query(Some("atts_since=[]")).unwrap();
        assert!(!none.wants(0, Some(0)) && none.wants(1, Some(0)));
    }

    #[test]
    fn queries_are_read_as_couchdb_reads_them() {
        let of_document = |query: &str| Requested::of_query(Some(query)).unwrap().data;
        for query in
            ["attachments=%74rue", "%61ttachments=true", "attachments=true&attachments=false", "x;attachments=true"]
        {
            assert!(of_document(query), "{query}");
            assert!(
                Requested::of_list(Some(query), List::Rows).data && Requested::of_list(Some(query), List::Changes).data
            );
        }
        for query in ["attachments=TRUE", "Attachments=true", "attachments=false", "attachments"] {
            assert!(!of_document(query), "{query}");
        }
        assert!(Requested::of_list(Some("attachments=True"), List::Rows).data);
        assert!(!Requested::of_list(Some("Attachments=true"), List::Queries).data);
        assert!(!Requested::of_list(Some("attachments=True"), List::Changes).data);
        assert!(Requested::of_list(Some("ATTACHMENTS=true"), List::Changes).data);
        assert!(!Requested::of_list(Some("attachments=true"), List::Found).data);
    }

    #[test]
    fn an_empty_list_of_revisions_is_none() {
        for query in
            ["open_revs=all", "open_revs=[%221-a%22]", "open_revs=[]&open_revs=all", "open_revs=x", "open_revs"]
        {
            assert!(names_revs(Some(query)), "{query}");
        }
        for query in ["", "rev=1-a", "open_revs=[]", "open_revs=%5B+%5D", "open_revs=all&open_revs=[]"] {
            assert!(!names_revs(Some(query)), "{query}");
        }
    }

    #[test]
    fn bodies_say_what_is_wanted_of_each() {
        let of = |list, query: &str, body: &str| RequestedRows::of_list(list, Some(query), Some(Some(body.as_bytes())));
        let rows = |query: &str, body: &str| of(List::Rows, query, body);
        assert!(
            rows("attachments=true", "{}").all.data && rows("attachments=true", r#"{"attachments":false}"#).all.data
        );
        assert!(rows("", r#"{"attachments":"TRUE"}"#).all.data && rows("", r#"{"\u0061ttachments":true}"#).all.data);
        assert!(!rows("", r#"{"attachments":true,"attachments":false}"#).all.data, "the last counts");
        assert!(!rows("", r#"{"queries":[{"attachments":true}]}"#).of(0).data);
        for unclear in ["", "[]", "{} x", "\u{feff}{}"] {
            assert!(rows("", unclear).unclear && of(List::Queries, "", unclear).unclear, "{unclear}");
        }
        assert!(RequestedRows::of_list(List::Rows, None, Some(None)).unclear);
        let queries = of(List::Queries, "", r#"{"attachments":true,"queries":[{},{"attachments":true},7]}"#);
        assert_eq!([0, 1, 2].map(|row| queries.of(row).data), [false, true, false]);
        assert!(of(List::Queries, "attachments=true", r#"{"queries":[{"attachments":false}]}"#).of(0).data);
    }

    #[test]
    fn a_bulk_get_says_it_of_each_document() {
        let of = |body: &str| RequestedRows::of_bulk_get(None, Some(body.as_bytes()));
        let got = of(
            r#"{"docs":[{"id":"a"},1,{"id":"b","atts_since":["1-a"]},{"id":"b","rev":"2-b"},{"id":"c","atts_since":[]},
            {"id":"c","atts_since":[1]}],"n":1e999}"#,
        );
        assert_eq!([0, 1, 2, 3, 4, 5].map(|row| got.of(row).data), [false, false, true, false, false, false]);
        assert!(got.need_history() && !got.unclear);
        assert!(
            got.of_document("b", "1-a").data && !got.of_document("b", "2-b").data && !got.of_document("x", "1-a").data
        );
        assert_eq!(of(r#"{"docs":[{"atts_since":["1-a"]}],"docs":[]}"#).each.len(), 0, "the last counts");
        assert_eq!(of(r#"{"\u0064ocs":[{"atts_since":["1-a"]}]}"#).each.len(), 1);
        let alike = of(r#"{"docs":[0,{"id":"a"},{"id":"b","rev":"1-b"}]}"#);
        assert_eq!((alike.each.len(), alike.ids.len()), (0, 0), "rows that want the same take no memory");
        for unclear in ["", "{}", "7", r#"{"docs":7}"#, r#"{"docs":{}}"#, r#"{"docs":[]} x"#] {
            assert!(of(unclear).unclear, "{unclear}");
        }
        assert!(RequestedRows::of_bulk_get(None, None).unclear);
    }
}
