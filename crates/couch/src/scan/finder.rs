//! Looking for members in the text of a document that is too long to be read, or that need not be.
//!
//! The text is never taken apart: it may come in any pieces, and what is no JSON is CouchDB's to refuse.

/// Which text it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// A document: its own members are looked at.
    Document,
    /// The body of `_bulk_docs`: the members of objects in lists in the body are.
    Bulk,
}

/// Finds members by their names (RFC 8259), also where these are written with escapes, and never inside of strings.
#[derive(Debug, Clone)]
pub struct Finder {
    names: &'static [&'static str],
    text: Text,
    /// Whether each of the outermost containers is an object.
    objects: [bool; 3],
    depth: u64,
    /// The next string is a member's name, if it is in an object.
    name_next: bool,
    state: State,
    name: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    /// In a string that does not matter.
    Text,
    TextEscape,
    Name,
    NameEscape,
    /// In the digits of an escape in a name, with what they say so far.
    Unicode {
        digits: u8,
        value: u32,
    },
}

impl Finder {
    /// Looks for members of these names.
    #[must_use]
    pub const fn new(text: Text, names: &'static [&'static str]) -> Self {
        let objects = [false; 3];
        Self { names, text, objects, depth: 0, name_next: false, state: State::Between, name: Vec::new() }
    }

    /// Whether one of the members turned up in these bytes, which follow those of the calls before.
    pub fn finds(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            match self.state {
                State::Between => self.structure(*byte),
                State::Text => match byte {
                    b'"' => self.state = State::Between,
                    b'\\' => self.state = State::TextEscape,
                    _ => rest = skip_text(after),
                },
                State::TextEscape => self.state = State::Text,
                State::Name => match byte {
                    b'"' => {
                        self.state = State::Between;
                        if self.names.iter().any(|name| name.as_bytes() == self.name) {
                            return true;
                        }
                    }
                    b'\\' => self.state = State::NameEscape,
                    byte => self.push(*byte),
                },
                State::NameEscape => self.escape(*byte),
                State::Unicode { digits, value } => self.unicode(*byte, digits, value),
            }
        }
        false
    }

    fn structure(&mut self, byte: u8) {
        match byte {
            b'"' if self.name_next && self.is_watched() => {
                self.name.clear();
                self.state = State::Name;
                self.name_next = false;
            }
            b'"' => self.state = State::Text,
            b'{' | b'[' => {
                let index = usize::try_from(self.depth).unwrap_or(usize::MAX);
                if let Some(object) = self.objects.get_mut(index) {
                    *object = byte == b'{';
                }
                self.depth = self.depth.saturating_add(1);
                self.name_next = byte == b'{';
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.name_next = false;
            }
            b',' => self.name_next = true,
            b':' => self.name_next = false,
            _ => {}
        }
    }

    /// Whether the members of the container that begins here last are looked at.
    fn is_watched(&self) -> bool {
        match self.text {
            Text::Document => self.depth == 1 && matches!(self.objects, [true, ..]),
            Text::Bulk => self.depth == 3 && matches!(self.objects, [true, false, true]),
        }
    }

    fn escape(&mut self, byte: u8) {
        self.state = State::Name;
        match byte {
            b'u' => self.state = State::Unicode { digits: 0, value: 0 },
            byte @ (b'"' | b'\\' | b'/') => self.push(byte),
            // A control character: in none of the names.
            _ => self.push(0),
        }
    }

    fn unicode(&mut self, byte: u8, digits: u8, value: u32) {
        let value = value * 16 + char::from(byte).to_digit(16).unwrap_or_default();
        if digits < 3 {
            self.state = State::Unicode { digits: digits + 1, value };
            return;
        }
        self.state = State::Name;
        match char::from_u32(value) {
            Some(char) => char.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| self.push(byte)),
            None => self.push(0),
        }
    }

    /// Longer names than any that is looked for need not be known.
    fn push(&mut self, byte: u8) {
        if self.name.len() <= LONGEST_NAME {
            self.name.push(byte);
        }
    }
}

/// What follows the part of a text that says nothing.
fn skip_text(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(bytes.len());
    bytes.get(end..).unwrap_or_default()
}

const LONGEST_NAME: usize = 32;

#[cfg(test)]
#[expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::{Finder, Text};

    const NAMES: &[&str] = &["_attachments", "pvt_attachments"];

    /// Reads a text in pieces of `size` bytes.
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

    /// Names that matter, with others beside them, at any depth.
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

    /// Writes letters of names as escapes, where `which` says so.
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
