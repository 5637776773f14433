//! Tracks, from the changes feed, whether any plan uses connections or create options, and whether any covers attachments: if none does, routing a
//! database or reading a document needs no look-up.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};

/// What the changes feed has reported so far.
#[derive(Debug, Default)]
pub(super) struct Local {
    state: Mutex<FeedState>,
    /// Whether the feed has reported every document, and is still connected: read on every request.
    pub(super) is_complete: AtomicBool,
    /// Whether surely no plan uses connections or create options: read on every request.
    pub(super) is_sure: AtomicBool,
    /// Whether surely no plan covers attachments: read on every request.
    pub(super) stores_nothing: AtomicBool,
}

#[derive(Debug, Default)]
struct FeedState {
    /// Whether the feed has reported every document, and is still connected.
    all: bool,
    /// The documents that use connections or create options.
    speakers: HashSet<String>,
    /// The documents that may cover attachments.
    storers: HashSet<String>,
}

impl Local {
    fn change(&self, change: impl FnOnce(&mut FeedState)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        self.is_complete.store(state.all, Ordering::Release);
        self.is_sure.store(state.all && state.speakers.is_empty(), Ordering::Release);
        self.stores_nothing.store(state.all && state.storers.is_empty(), Ordering::Release);
    }

    /// Records that a document has changed, or was deleted if `document` is `None`.
    pub(super) fn changed(&self, id: &str, document: Option<&Value>) {
        self.say(id, document, true);
    }

    /// Records a document that was read before the feed reported it. It can only add to what is known: the feed reports when a document stops using
    /// something.
    pub(super) fn noticed(&self, id: &str, document: &Value) {
        self.say(id, Some(document), false);
    }

    fn say(&self, id: &str, document: Option<&Value>, forgets: bool) {
        let speaks = document.is_some_and(|document| connections(document) || create_options(document));
        let stores = document.is_some_and(attachments);
        if !(forgets || speaks || stores) {
            return;
        }
        self.change(|state| {
            for (speaks, speakers) in [(speaks, &mut state.speakers), (stores, &mut state.storers)] {
                if speaks {
                    speakers.insert(id.to_owned());
                } else if forgets {
                    speakers.remove(id);
                }
            }
        });
    }

    /// Records that the feed is caught up, or that there is no plans database. Documents already recorded are kept: the storage API records changes
    /// before the feed does.
    pub(super) fn all_told(&self) {
        if !self.is_sure.load(Ordering::Acquire) || !self.stores_nothing.load(Ordering::Acquire) {
            self.change(|state| state.all = true);
        }
    }

    /// Records that the feed is disconnected.
    pub(super) fn ends(&self) {
        self.change(|state| state.all = false);
    }
}

/// Returns whether a plan defines or names a connection, well-formed or not.
pub(super) fn connections(document: &Value) -> bool {
    let names = |entry: &Value| entry.get("connection").is_some_and(|id| !id.is_null());
    let defines = members(document, "connections").is_some_and(|all| !all.is_empty());
    defines || classes(document).any(|entry| names(entry) || types(entry).any(names))
}

/// Returns whether a plan may cover attachments: it has an entry for any class, well-formed or not.
fn attachments(document: &Value) -> bool {
    document.get("plan").is_some_and(|plan| match plan {
        Value::Null => false,
        Value::Object(classes) => classes.values().any(|entry| !entry.is_null()),
        _ => true,
    })
}

fn create_options(document: &Value) -> bool {
    let options = |entry: &Value| entry.get("database")?.get("create_options").cloned();
    classes(document).any(|entry| options(entry).is_some_and(|options| !options.is_null()))
}

fn classes(document: &Value) -> impl Iterator<Item = &Value> {
    members(document, "plan").into_iter().flat_map(Map::values)
}

fn types(entry: &Value) -> impl Iterator<Item = &Value> {
    members(entry, "types").into_iter().flat_map(Map::values)
}

fn members<'a>(value: &'a Value, key: &str) -> Option<&'a Map<String, Value>> {
    value.get(key)?.as_object()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Local;

    fn is_sure(local: &Local) -> bool {
        local.is_sure.load(std::sync::atomic::Ordering::Acquire)
    }

    #[test]
    fn it_is_sure_only_while_everything_has_been_told_and_nobody_speaks() {
        let local = Local::default();
        assert!(!is_sure(&local), "the feed has told nothing");
        local.changed("a", Some(&json!({"plan": {"modb": {"attachments": {"handler": "x"}}}})));
        assert!(!is_sure(&local), "there may be more");
        local.all_told();
        assert!(is_sure(&local));
        local.ends();
        assert!(!is_sure(&local), "it may have changed");
        local.all_told();
        local.changed("a", Some(&json!({"plan": {"modb": {"connection": "c"}}})));
        local.all_told();
        assert!(!is_sure(&local));
        local.changed("a", None);
        assert!(is_sure(&local));
        local.changed("b", Some(&json!({"plan": {"modb": {"connection": "c"}}})));
        local.ends();
        local.all_told();
        assert!(!is_sure(&local), "it has spoken, and the feed has not told that it is gone");
    }

    #[test]
    fn a_plan_of_any_class_may_store() {
        let nothing = |local: &Local| local.stores_nothing.load(std::sync::atomic::Ordering::Acquire);
        let local = Local::default();
        assert!(!nothing(&local), "the feed has told nothing");
        local.all_told();
        for document in [json!({}), json!(7), json!({"plan": null}), json!({"plan": {"modb": null}})] {
            local.changed("a", Some(&document));
            assert!(nothing(&local), "{document}");
        }
        for document in [json!({"plan": {"modb": {}}}), json!({"plan": 7}), json!({"plan": {"modb": 7}})] {
            local.changed("a", Some(&document));
            assert!(!nothing(&local) && is_sure(&local), "{document}");
        }
        local.ends();
        local.changed("a", None);
        assert!(!nothing(&local));
        local.all_told();
        assert!(nothing(&local));
    }

    #[test]
    fn who_speaks_of_it() {
        let speaks = |document: Value| {
            let local = Local::default();
            local.all_told();
            local.changed("a", Some(&document));
            !is_sure(&local)
        };
        for document in [
            json!({"connections": {"c": {}}}),
            json!({"plan": {"modb": {"connection": "c"}}}),
            json!({"plan": {"modb": {"connection": 7}}}),
            json!({"plan": {"modb": {"types": {"x": {"connection": "c"}}}}}),
            json!({"plan": {"yodb": {"database": {"create_options": {"q": 1}}}}}),
        ] {
            assert!(speaks(document.clone()), "{document}");
        }
        for document in [
            json!({}),
            json!(7),
            json!({"connections": {}, "plan": {"modb": {}}}),
            json!({"plan": {"modb": {"connection": null, "types": {"x": {}}, "database": {"names": ["a"]}}}}),
        ] {
            assert!(!speaks(document.clone()), "{document}");
        }
    }
}
