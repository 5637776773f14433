//! Splits a composed name into folders and a file name.

use crate::{Error, Kind, Result};

/// A composed name, split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    /// From the outermost.
    pub(super) folders: Vec<String>,
    pub(super) name: String,
}

impl Path {
    /// Splits a composed name at its slashes; empty segments are ignored, as in KAZOO.
    ///
    /// # Errors
    /// `Refused` for an empty name, and for `.` and `..`: in Drive these would be ordinary names, which is never intended.
    pub(super) fn of(name: &str) -> Result<Self> {
        let mut parts: Vec<String> = name.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        if parts.iter().any(|part| part == "." || part == "..") {
            return Err(Error::new(Kind::Refused, "the object's name leaves its folder"));
        }
        let name = parts.pop().ok_or_else(|| Error::new(Kind::Refused, "the object's name is empty"))?;
        Ok(Self { folders: parts, name })
    }
}

/// Builds the query for what has a name in a folder: folders (`=`), or files (`!=`) ("Search for files and folders").
pub(super) fn query(parent: &str, name: &str, is: &str) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let (parent, name) = (quoted(parent), quoted(name));
    format!("name = {name} and {parent} in parents and mimeType {is} '{FOLDER}' and trashed = false")
}

/// Returns whether a text may be an id. Drive's ids consist of letters, digits, hyphens and underscores.
pub(super) fn is_id(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// The media type of folders ("Google Workspace and Google Drive supported MIME types").
pub(super) const FOLDER: &str = "application/vnd.google-apps.folder";
/// For [`query`].
pub(super) const FOLDERS: &str = "=";
/// For [`query`].
pub(super) const FILES: &str = "!=";

#[cfg(test)]
#[expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]
mod tests {
    use proptest::prelude::*;

    use super::{FOLDERS, Path, is_id, query};

    #[test]
    fn a_name_is_folders_and_a_name() {
        let path = |name: &str| Path::of(name).map(|path| (path.folders.join("|"), path.name)).ok();
        let some = |folders: &str, name: &str| Some((folders.to_owned(), name.to_owned()));
        assert_eq!(path("a.mp3"), some("", "a.mp3"));
        assert_eq!(path("/x//y/a.mp3"), some("x|y", "a.mp3"));
        assert_eq!(path("x%2Fy/..z"), some("x%2Fy", "..z"));
        for wrong in ["", "/", "..", "a/../b", "./a"] {
            assert_eq!(path(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn quotes_and_backslashes_are_escaped() {
        let expected = r"name = 'a\'b\\' and 'root' in parents and mimeType = 'application/vnd.google-apps.folder' and trashed = false";
        assert_eq!(query("root", r"a'b\", FOLDERS), expected);
    }

    #[test]
    fn ids_are_plain() {
        assert!(is_id("1aB-_9"));
        for wrong in ["", "..", "a/b", "a?b", "a b", &"x".repeat(257)] {
            assert!(!is_id(wrong), "{wrong}");
        }
    }

    proptest! {
        /// For any name: the quoted text ends at the first unescaped quote, and unescapes to the name.
        #[test]
        fn a_name_cannot_end_its_quotes(name in ".*") {
            let text = query("root", &name, FOLDERS);
            let rest = text.strip_prefix("name = '").unwrap();
            let (mut read, mut characters) = (String::new(), rest.chars());
            loop {
                match characters.next().unwrap() {
                    '\\' => read.push(characters.next().unwrap()),
                    '\'' => break,
                    character => read.push(character),
                }
            }
            prop_assert_eq!(read, name);
            prop_assert!(characters.as_str().starts_with(" and 'root' in parents"));
        }
    }
}
