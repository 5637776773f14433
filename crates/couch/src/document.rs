//! A document that preserves its members as CouchDB wrote them.
//!
//! Only what the gateway changes is parsed. Numbers keep their digits, members their order, and a document of several megabytes
//! is never expanded into a tree.

use indexmap::IndexMap;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

/// A JSON document.
#[derive(Debug, Clone, Default)]
pub struct Document {
    members: IndexMap<String, Box<RawValue>>,
}

/// The input is not a JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what CouchDB sent is not a document")]
pub struct NotADocument;

impl Document {
    /// Parses a document.
    ///
    /// # Errors
    /// [`NotADocument`]
    pub fn parse(bytes: &[u8]) -> Result<Self, NotADocument> {
        serde_json::from_slice(bytes).map(|members| Self { members }).map_err(|_| NotADocument)
    }

    /// Serializes the document.
    ///
    /// # Errors
    /// Never for members that were parsed or set here.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&self.members)
    }

    /// Returns a member as raw JSON.
    #[must_use]
    pub fn raw(&self, key: &str) -> Option<&RawValue> {
        self.members.get(key).map(|member| &**member)
    }

    /// Returns a member as a parsed value.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<Value> {
        serde_json::from_str(self.raw(key)?.get()).ok()
    }

    /// Returns a string member.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.raw(key)?.get()).ok()
    }

    /// Returns the revision.
    #[must_use]
    pub fn rev(&self) -> Option<String> {
        self.text("_rev")
    }

    /// Returns whether this is a deleted revision.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.value("_deleted").is_some_and(|deleted| deleted == true)
    }

    /// Sets a member; a new one is appended.
    ///
    /// # Errors
    /// Never for strings, numbers, lists and objects.
    pub fn set(&mut self, key: &str, value: &Value) -> Result<(), serde_json::Error> {
        self.members.insert(key.to_owned(), to_raw_value(value)?);
        Ok(())
    }

    /// Sets a member to raw JSON; a new one is appended.
    pub fn set_raw(&mut self, key: &str, value: &RawValue) {
        self.members.insert(key.to_owned(), value.to_owned());
    }

    /// Returns an object member with its members as raw JSON; `None` if it is missing or not an object.
    #[must_use]
    pub fn object(&self, key: &str) -> Option<Self> {
        serde_json::from_str(self.raw(key)?.get()).ok().map(|members| Self { members })
    }

    /// Sets an object member.
    ///
    /// # Errors
    /// Never for members that were parsed or set here.
    pub fn set_object(&mut self, key: &str, object: &Self) -> Result<(), serde_json::Error> {
        self.members.insert(key.to_owned(), to_raw_value(&object.members)?);
        Ok(())
    }

    /// Removes a member, preserving the order of the others.
    pub fn remove(&mut self, key: &str) -> bool {
        self.members.shift_remove(key).is_some()
    }

    /// Moves these members to the front, in this order.
    pub fn begin_with<'a>(&mut self, keys: impl IntoIterator<Item = &'a str>) {
        let mut place = 0;
        for key in keys {
            if let Some(at) = self.members.get_index_of(key).filter(|at| *at >= place) {
                self.members.move_index(at, place);
                place += 1;
            }
        }
    }

    /// Returns whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Returns the names of the members, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// Returns the fields KAZOO shows of a document: all keys that begin with neither `_` nor `pvt_`, plus its `id` (KAZOO's
    /// `kz_doc:public_fields`).
    #[must_use]
    pub fn public_fields(&self, id: &str) -> Map<String, Value> {
        let public = self.keys().filter(|key| !key.starts_with('_') && !key.starts_with("pvt_"));
        let mut fields: Map<_, _> = public.filter_map(|key| Some((key.to_owned(), self.value(key)?))).collect();
        fields.insert("id".to_owned(), id.into());
        fields
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.members.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::Document;

    #[test]
    fn members_stay_as_they_are() {
        let text = r#"{"_id":"a","big":12345678901234567890123,"f":1.0,"e":1E5,"z":{"b":1,"a":[ 1 , 2]},"a":"\u00fc"}"#;
        let document = Document::parse(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(document.to_bytes().unwrap()).unwrap(), text);
        assert_eq!(document.text("a").as_deref(), Some("ü"));
        assert_eq!(document.public_fields("doc").len(), 6);
    }

    #[test]
    fn members_are_moved_to_the_front() {
        let mut document = Document::parse(br#"{"a":1,"b":2,"c":3,"d":4}"#).unwrap();
        document.begin_with(["c", "x", "a", "c"]);
        assert_eq!(document.keys().collect::<Vec<_>>(), ["c", "a", "b", "d"]);
    }

    #[test]
    fn what_is_no_object_is_no_document() {
        for text in ["[1]", "1", "", "{", "null"] {
            assert!(Document::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
