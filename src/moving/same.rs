//! Saves by clients that read a document before its attachments were moved.
//!
//! To clients, a move only changes the revision. A change based on the previous revision applies equally to the moved one, as if the move had
//! happened before. Any gateway can verify that from the two revisions; and CouchDB accepts the save only if the document has not changed since.

use std::collections::BTreeMap;

use serde_json::json;
use stowage_couch::Document;

use crate::error::Error;
use crate::exchange::Requester;
use crate::pointer::{self, Entry, Outside, outside};
use crate::router::DocumentTarget;
use crate::upstream::read::{Answer, Home};
use crate::upstream::revision::{generation, rev_query};

/// Returns whether the current leaf is the revision that a move has created directly from this one.
pub(crate) async fn is_only_moved(
    home: &Home,
    target: &DocumentTarget,
    rev: &str,
    leaf: &Document,
    requester: Requester<'_>,
) -> Result<bool, Error> {
    // A leaf that descends from the revision, one generation later, is its child.
    if generation(leaf.rev().as_deref()) != generation(Some(rev)) + 1 || leaf.raw(pointer::MEMBER).is_none() {
        return Ok(false);
    }
    let (before, _) = home.read(&target.path, &rev_query(Some(rev)), requester).await?;
    Ok(match before {
        Answer::Found(before, _) => is_same_but_moved(&before, leaf, target),
        // CouchDB has compacted the revision away, so the move can no longer be verified.
        Answer::Missing(_) | Answer::Refused(_) => false,
    })
}

/// Returns whether two revisions look the same to a client, including their attachments, and at least one attachment has moved. A client's own save
/// moves none: its attachments get the generation of the save.
fn is_same_but_moved(before: &Document, after: &Document, target: &DocumentTarget) -> bool {
    let own = |key: &&str| !matches!(*key, "_rev" | super::native::NATIVE | pointer::MEMBER);
    let rest = |document: &Document| -> BTreeMap<String, String> {
        let keys = document.keys().filter(own);
        keys.filter_map(|key| Some((key.to_owned(), document.raw(key)?.get().to_owned()))).collect()
    };
    if rest(before) != rest(after) {
        return false;
    }
    let (before, after) = (attachments(before, target), attachments(after, target));
    let is_shown_same = before.len() == after.len()
        && before.iter().zip(&after).all(|(one, other)| one.0 == other.0 && one.1.0 == other.1.0);
    let is_moved = before.values().zip(after.values()).any(|((_, one), (_, other))| one != other);
    is_shown_same && is_moved
}

/// What clients see of each attachment, with its location: `None` in CouchDB, else in a storage. An entry that cannot be parsed matches no other.
type Attachments = BTreeMap<String, (String, Option<String>)>;

fn attachments(document: &Document, target: &DocumentTarget) -> Attachments {
    let mut found = Attachments::new();
    for entry in document.object(super::native::NATIVE).iter() {
        for name in entry.keys() {
            let stub = entry.object(name).unwrap_or_default();
            let members = ["content_type", "revpos", "digest", "length"];
            let shown: Vec<_> = members.iter().map(|key| stub.value(key).unwrap_or_default().to_string()).collect();
            found.insert(name.to_owned(), (shown.join("\n"), None));
        }
    }
    for Outside { name, entry, .. } in outside(document, &target.database.name, &target.document) {
        let (shown, place) = match &entry {
            Ok(Entry::Object(pointer)) => {
                let length = pointer.stowage.unpacked.or(pointer.length);
                let shown = [json!(pointer.content_type), pointer.revpos.into(), json!(pointer.digest), json!(length)];
                let place = json!([pointer.stowage.storage, pointer.stowage.location]).to_string();
                (shown.map(|value| value.to_string()).join("\n"), place)
            }
            Ok(Entry::Link(link)) => (format!("{link:?}"), String::new()),
            // Two such entries never compare equal.
            Err(_) => (uuid::Uuid::new_v4().to_string(), String::new()),
        };
        found.insert(name, (shown, Some(place)));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use stowage_couch::Document;

    use super::is_same_but_moved;
    use crate::router::Database;

    fn native(revpos: u64, length: u64) -> Value {
        json!({ "content_type": "audio/mpeg", "revpos": revpos, "digest": "md5-x", "length": length, "stub": true })
    }

    fn pointer(revpos: u64, length: u64, path: &str) -> Value {
        json!({ "content_type": "audio/mpeg", "revpos": revpos, "digest": "md5-x", "length": length, "stub": false,
            "stowage": { "v": 1, "storage": "s", "handler": "file", "location": { "path": path }, "sha256": null,
                "encoding": null, "stored_at": "" } })
    }

    fn is_moved(before: Value, after: Value) -> bool {
        let database = Database::of("account/aa/bb/cccccccccccccccccccccccccccc-202611").unwrap();
        let read = |value: Value| Document::parse(value.to_string().as_bytes()).unwrap();
        is_same_but_moved(&read(before), &read(after), &database.document("d"))
    }

    #[test]
    fn a_move_changes_nothing_that_clients_see() {
        let kept = json!({ "_rev": "1-a", "x": 1, "_attachments": { "a": native(1, 3), "b": native(1, 4) } });
        let one = json!({ "_rev": "2-b", "x": 1, "_attachments": { "b": native(1, 4) },
            "pvt_attachments": { "a": pointer(1, 3, "p") } });
        let both = json!({ "_rev": "2-b", "x": 1,
            "pvt_attachments": { "a": pointer(1, 3, "p"), "b": pointer(1, 4, "q") } });
        assert!(is_moved(kept.clone(), one.clone()));
        assert!(is_moved(kept.clone(), both.clone()));
        assert!(is_moved(one, both.clone()));
        let elsewhere = json!({ "_rev": "3-c", "x": 1,
            "pvt_attachments": { "a": pointer(1, 3, "p"), "b": pointer(1, 4, "r") } });
        assert!(is_moved(both.clone(), elsewhere));
        assert!(!is_moved(kept.clone(), kept.clone()), "a client has saved the same once more");
        assert!(!is_moved(both.clone(), both.clone()));
        let mut changed = both.clone();
        changed["x"] = json!(2);
        assert!(!is_moved(kept.clone(), changed));
        let mut more = both.clone();
        more["y"] = json!(2);
        assert!(!is_moved(kept.clone(), more));
        for (name, other) in [("a", pointer(2, 3, "p")), ("a", pointer(1, 4, "p")), ("c", pointer(1, 3, "p"))] {
            let mut stored = both.clone();
            stored["pvt_attachments"][name] = other;
            assert!(!is_moved(kept.clone(), stored), "a client has stored {name}");
        }
        let mut removed = both;
        removed["pvt_attachments"].as_object_mut().unwrap().remove("b");
        assert!(!is_moved(kept, removed));
    }
}
