//! The order of a document's attachments.
//!
//! CouchDB lists an attachment that was added by itself before all others, and clients such as KAZOO take the first one for the latest. A document with
//! attachments in both places has a list of each. Their generations tell how the two interleave, except where one document was sent with both:
//! there, those in storages come first.

use stowage_couch::Document;

use super::{MEMBER, NATIVE, Outside, outside};

/// Takes the pointers that come before an attachment in CouchDB of this generation. `pointers` are in their order.
pub fn ahead_of(pointers: &mut Vec<Outside>, native_revpos: u64) -> Vec<Outside> {
    let count = pointers.iter().take_while(|pointer| pointer.age() >= native_revpos).count();
    pointers.drain(..count).collect()
}

/// Returns the names of the attachments that clients see, in the order in which CouchDB would list them.
#[must_use]
pub fn order(document: &Document, database: &str, id: &str) -> Vec<String> {
    let mut pointers = outside(document, database, id);
    let shown: Vec<String> = pointers.iter().map(|pointer| pointer.name.clone()).collect();
    let natives = document.object(NATIVE).unwrap_or_default();
    let mut names = Vec::new();
    for name in natives.keys().filter(|name| !shown.iter().any(|other| other == name)) {
        names.extend(ahead_of(&mut pointers, revpos(&natives, name)).into_iter().map(|pointer| pointer.name));
        names.push(name.to_owned());
    }
    names.extend(pointers.into_iter().map(|pointer| pointer.name));
    names
}

/// Moves the entries of these names before the others, in this order. CouchDB keeps attachments in the order in which the document was sent with
/// them; one added by itself comes first.
///
/// # Errors
/// Never fails for members that were parsed.
pub fn arrange<'a>(document: &mut Document, names: impl IntoIterator<Item = &'a str>) -> Result<(), serde_json::Error> {
    let Some(mut entries) = document.object(MEMBER) else { return Ok(()) };
    entries.begin_with(names);
    document.set_object(MEMBER, &entries)
}

/// Returns the generation of one of CouchDB's entries.
#[must_use]
pub fn revpos(natives: &Document, name: &str) -> u64 {
    natives.object(name).and_then(|entry| entry.value("revpos")?.as_u64()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};
    use stowage_couch::Document;

    use super::order;

    fn ordered(natives: &[(&str, u64)], pointers: &[(&str, u64)]) -> Vec<String> {
        let natives: Map<String, Value> =
            natives.iter().map(|(name, revpos)| ((*name).to_owned(), json!({ "revpos": revpos }))).collect();
        let pointer = |revpos: u64| {
            json!({ "content_type": "x/y", "length": 3, "digest": "md5-x", "revpos": revpos, "stub": false,
                "stowage": { "storage": "s", "handler": "file", "location": { "path": "a" }, "encoding": null, "stored_at": "" } })
        };
        let pointers: Map<String, Value> =
            pointers.iter().map(|(name, revpos)| ((*name).to_owned(), pointer(*revpos))).collect();
        let text = json!({ "_attachments": natives, "pvt_attachments": pointers }).to_string();
        order(&Document::parse(text.as_bytes()).unwrap(), "d", "i")
    }

    #[test]
    fn the_newest_comes_first_wherever_it_lies() {
        assert_eq!(ordered(&[("old", 2)], &[("new", 3)]), ["new", "old"]);
        assert_eq!(ordered(&[("new", 3)], &[("old", 2)]), ["new", "old"]);
        assert_eq!(ordered(&[("d", 5), ("b", 3)], &[("c", 4), ("a", 2)]), ["d", "c", "b", "a"]);
        assert_eq!(ordered(&[("b", 2)], &[("a", 2)]), ["a", "b"]);
    }

    #[test]
    fn a_list_keeps_its_own_order() {
        assert_eq!(ordered(&[("a", 1), ("b", 5)], &[]), ["a", "b"]);
        assert_eq!(ordered(&[], &[("a", 1), ("b", 5)]), ["a", "b"]);
        assert_eq!(ordered(&[("a", 3), ("b", 5)], &[("c", 1), ("d", 4)]), ["a", "b", "c", "d"]);
    }

    #[test]
    fn of_two_with_one_name_the_newer_has_its_place() {
        assert_eq!(ordered(&[("x", 5), ("y", 1)], &[("p", 3), ("x", 2)]), ["x", "p", "y"]);
        assert_eq!(ordered(&[("y", 4), ("x", 1)], &[("x", 5), ("p", 3)]), ["x", "y", "p"]);
    }
}
