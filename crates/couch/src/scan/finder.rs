//! Searches a document's text for members, without parsing it or holding it in memory.
//!
//! The text may arrive in arbitrary pieces, and rejecting invalid JSON is left to CouchDB.

use super::walk::{Skip, Token, Walker};

/// Kind of text to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// A document: matches its own members.
    Document,
    /// The body of `_bulk_docs`: matches the members of objects in its lists.
    Bulk,
}

impl Text {
    /// Returns the opening brackets of the containers that lead to the members, innermost last.
    const fn levels(self) -> &'static [u8] {
        match self {
            Self::Document => b"{",
            Self::Bulk => b"{[{",
        }
    }
}

/// Finds members by name (RFC 8259), including escaped names, and never inside strings.
#[derive(Debug)]
pub struct Finder {
    names: &'static [&'static str],
    levels: &'static [u8],
    /// Number of levels entered.
    depth: usize,
    walker: Walker,
}

impl Finder {
    /// Searches for members of these names.
    #[must_use]
    pub fn new(text: Text, names: &'static [&'static str]) -> Self {
        Self { names, levels: text.levels(), depth: 0, walker: Walker::behind_value() }
    }

    /// Returns whether one of the members begins in these bytes, which continue the previous call's.
    pub fn finds(&mut self, bytes: &[u8]) -> bool {
        let mut next = 0;
        loop {
            let index = next + self.walker.idle(bytes.get(next..).unwrap_or_default());
            let Some(byte) = bytes.get(index).copied() else { return false };
            next = index + 1;
            let is_object = self.depth > 0 && self.levels.get(self.depth - 1) == Some(&b'{');
            match self.walker.eat(byte, !is_object) {
                Token::Key if self.depth == self.levels.len() => {
                    if self.names.iter().any(|name| self.walker.key_is(name)) {
                        return true;
                    }
                }
                Token::Open if self.levels.get(self.depth) == Some(&byte) => {
                    self.depth += 1;
                    self.walker = if byte == b'{' { Walker::in_object() } else { Walker::behind_value() };
                }
                Token::Open => self.walker.skip(Skip::container()),
                Token::Close => {
                    self.depth = self.depth.saturating_sub(1);
                    self.walker = Walker::behind_value();
                }
                Token::Key | Token::KeyBegins | Token::Comma | Token::Nothing => {}
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::{Finder, Text};

    const NAMES: &[&str] = &["_attachments", "pvt_attachments"];

    /// Feeds a text in pieces of `size` bytes.
    fn finds(kind: Text, text: &str, size: usize) -> bool {
        let mut finder = Finder::new(kind, NAMES);
        text.as_bytes().chunks(size.max(1)).any(|piece| finder.finds(piece))
    }

    #[test]
    fn members_are_found_however_they_are_written() {
        for text in [
            r#"{"_attachments":{}}"#,
            r#" { "a" : [ {"b":"}"} ] , "_attachments" : 1 }"#,
            r#"{"a":"\"","\u005fattachments":{}}"#,
            r#"{"_\u0061ttachment\u0073":{}}"#,
            r#"{"x":"\\","pvt_attachments":{}}"#,
        ] {
            for size in 1..=text.len() {
                assert!(finds(Text::Document, text, size), "{text} in pieces of {size}");
                let bulk = format!(r#"{{"new_edits":false,"docs":[{{}},{text}]}}"#);
                assert!(finds(Text::Bulk, &bulk, size), "{bulk} in pieces of {size}");
                assert!(!finds(Text::Document, &bulk, size), "{bulk} in pieces of {size}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_them_is_not() {
        for text in [
            r#"{"a":"_attachments"}"#,
            r#"{"a":["_attachments","pvt_attachments"]}"#,
            r#"{"a":{"_attachments":{}}}"#,
            r#"{"a":"\",\"_attachments\":{}"}"#,
            r#"{"_attachmentsx":1,"_attachment":2,"\u0000_attachments":3,"_attachments\n":4}"#,
            r#"["_attachments",{"_attachments":1}]"#,
        ] {
            for size in 1..=text.len() {
                assert!(!finds(Text::Document, text, size), "{text} in pieces of {size}");
            }
        }
    }

    /// JSON values with relevant and similar names at any depth.
    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            prop::sample::select(vec!["", "_attachments", "\\", "\"", "{\"_attachments\":", "ü\n", "[,:]}"])
                .prop_map(Value::from),
        ];
        let key = prop::sample::select(vec!["a", "docs", "_attachments", "pvt_attachments", "_attachment", "\"", "ü"]);
        leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::vec((key.clone(), inner), 0..5).prop_map(|members| Value::Object(
                    members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>()
                )),
            ]
        })
    }

    fn has(value: &Value) -> bool {
        NAMES.iter().any(|name| value.as_object().is_some_and(|members| members.contains_key(*name)))
    }

    fn bulk_has(value: &Value) -> bool {
        let lists = value.as_object().into_iter().flat_map(Map::values).filter_map(Value::as_array);
        lists.flatten().any(has)
    }

    /// Escapes some letters of names, depending on `which`.
    fn escaped(text: &str, which: u8) -> String {
        match which {
            0 => text.to_owned(),
            1 => text.replace('_', "\\u005f"),
            2 => text.replace("tach", "\\u0074a\\u0063h"),
            _ => text.replace('a', "\\u0061").replace("f\\u0061lse", "false"),
        }
    }

    proptest! {
        #[test]
        fn it_finds_what_a_parser_finds(value in values(), which in 0_u8..3, size in 1_usize..40) {
            let text = escaped(&value.to_string(), which);
            let parsed: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(finds(Text::Document, &text, size), has(&parsed), "{}", text);
            prop_assert_eq!(finds(Text::Bulk, &text, size), bulk_has(&parsed), "{}", text);
        }

        #[test]
        fn no_bytes_stop_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Finder::new(Text::Document, NAMES).finds(&bytes);
            let _ = Finder::new(Text::Bulk, NAMES).finds(&bytes);
        }
    }
}
