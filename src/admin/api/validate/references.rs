//! Checks a plan's references: to its own storages and connections, and to those of the documents that it is merged over.
//!
//! Documents are merged key by key. A plan that redefines an id of a document below would use that document's secrets at an address of its own
//! choice, so it has to provide its own.

use serde_json::{Map, Value};
use stowage_couch::Document;
use stowage_storage::Registry;

use super::super::envelope::{Errors, Failure};
use crate::plan::{LOCAL, Merged, NameSource, Settings, compose, redacted};
use crate::upstream;

/// A plan with the documents below it.
#[derive(Debug)]
pub(in crate::admin::api) struct Ground {
    /// The plan's own members.
    pub(in crate::admin::api) own: Map<String, Value>,
    /// The documents below it, merged.
    below: Merged,
    /// All documents, merged.
    pub(in crate::admin::api) merged: Merged,
}

impl Ground {
    /// Merges `members` over what is below.
    pub(in crate::admin::api) fn new(below: Merged, members: &Map<String, Value>) -> Self {
        let merged = below.clone().under(&Value::Object(members.clone()));
        Self { own: members.clone(), below, merged }
    }

    /// Returns the ids that the plan itself defines in `attachments` or `connections`.
    pub(in crate::admin::api) fn own_ids(&self, part: &str) -> impl Iterator<Item = &String> {
        let entries = self.own.get(part).and_then(Value::as_object);
        entries.into_iter().flatten().filter(|(_, entry)| entry.is_object()).map(|(id, _)| id)
    }
}

fn defines(plan: &Merged, part: &str, id: &str) -> bool {
    plan.members().get(part).and_then(|entries| entries.get(id)).is_some_and(Value::is_object)
}

/// Refuses a plan that names something undefined, borrows secrets, or has settings that a driver rejects.
///
/// # Errors
/// Returns a 400 with each of them.
pub(in crate::admin::api) fn check_references(ground: &Ground, storages: &Registry) -> Result<(), Failure> {
    let mut errors = Errors::default();
    check_names(ground, &mut errors);
    check_settings(ground, storages, &mut errors);
    errors.check()
}

/// Checks that every handler and connection named by the plan is defined, and that it borrows no secrets of documents below.
fn check_names(ground: &Ground, errors: &mut Errors) {
    for path in places(&ground.own) {
        for (part, field, id) in named(&ground.own, &path) {
            if !defines(&ground.merged, part, id) {
                errors.say(&below(&path, field), "error", format!("invalid reference '{id}' to {part}"));
            }
        }
    }
    // A null removes what documents below define and still name.
    for path in places(ground.merged.members()) {
        for (part, _, id) in named(ground.merged.members(), &path) {
            if !defines(&ground.merged, part, id) && defines(&ground.below, part, id) {
                errors.say(&[part, id], "error", "the plan still refers to it");
            }
        }
    }
    for part in ["attachments", "connections"] {
        for id in ground.own_ids(part) {
            check_borrowed(ground, part, id, errors);
        }
    }
}

/// Checks the settings with their drivers, alone and with each `params` of the plan.
fn check_settings(ground: &Ground, storages: &Registry, errors: &mut Errors) {
    for id in ground.own_ids("attachments") {
        if let Some(settings) = ground.merged.storage(id) {
            let place = ["attachments", id, "settings"].map(str::to_owned);
            check_storage(&settings, storages, &place, errors);
        }
    }
    for id in ground.own_ids("connections").filter(|id| *id != LOCAL) {
        if let Ok(Some(settings)) = ground.merged.connection(id)
            && let Err(wrong) = upstream::check(&settings)
        {
            let keys = wrong.key().split('.').map(str::to_owned);
            let path: Vec<_> = ["connections", id, "settings"].map(str::to_owned).into_iter().chain(keys).collect();
            errors.say(&path, "invalid", format!("{} {}", wrong.key(), wrong.what()));
        }
    }
    for path in places(&ground.own) {
        let Some(own) = at(&ground.own, &path).and_then(|entry| entry.get("attachments")) else { continue };
        let chosen = |key: &str| {
            let member = |path: &[String]| at(ground.merged.members(), path)?.get("attachments")?.get(key);
            member(&path).or_else(|| member(path.get(..2)?))
        };
        let settings = chosen("handler").and_then(Value::as_str).and_then(|id| ground.merged.storage(id));
        let params = chosen("params").and_then(Value::as_object);
        if let (Some(mut settings), Some(params)) = (settings, params.filter(|_| own.get("params").is_some())) {
            settings.overlay(params);
            check_storage(&settings, storages, &below(&path, &["attachments", "params"]), errors);
        }
    }
}

/// Checks a storage's settings; `place` is their path in the plan.
fn check_storage(settings: &Settings, storages: &Registry, place: &[String], errors: &mut Errors) {
    if let Err(error) = storages.open(settings) {
        let Some(wrong) = error.setting() else {
            let entry = place.split_last().map_or(place, |(_, entry)| entry);
            return errors.say(entry, "invalid", error.to_string());
        };
        let mut path = place.to_vec();
        match wrong.key().split_once("headers.") {
            Some(("", name)) => path.extend(["headers".to_owned(), name.to_owned()]),
            _ => path.push(wrong.key().to_owned()),
        }
        return errors.say(&path, "invalid", format!("{} {}", wrong.key(), wrong.what()));
    }
    let sample = NameSource {
        account: Some("account"),
        database: "database",
        document_id: "document",
        attachment: "attachment",
        document: &Document::default(),
    };
    if let Err(error) = compose(settings, &sample) {
        errors.say(place, "invalid", error.to_string());
    }
}

/// Refuses an id that is defined below with secrets that this document does not replace.
fn check_borrowed(ground: &Ground, part: &str, id: &str, errors: &mut Errors) {
    let entry = |members: &Map<String, Value>| members.get(part)?.get(id).cloned();
    let Some(under) = entry(ground.below.members()) else { return };
    let masked = entry(&redacted(ground.below.members())).unwrap_or_default();
    let own = entry(&ground.own).unwrap_or_default();
    let mut path = vec![part.to_owned(), id.to_owned()];
    borrowed(&under, &masked, &own, &mut path, errors);
}

fn borrowed(under: &Value, masked: &Value, own: &Value, path: &mut Vec<String>, errors: &mut Errors) {
    match (under, masked) {
        (under, masked) if under == masked => {}
        // A value of another kind, including null, replaces all of it.
        (Value::Object(under), Value::Object(masked)) if own.is_object() => {
            for (key, member) in under {
                path.push(key.clone());
                match own.get(key) {
                    Some(own) => borrowed(member, masked.get(key).unwrap_or(&Value::Null), own, path, errors),
                    None if masked.get(key) != Some(member) => {
                        let message =
                            "A plan below this one defines this id with a secret here: give one, or take another id";
                        errors.say(path, "required", message);
                    }
                    None => {}
                }
                path.pop();
            }
        }
        _ => {}
    }
}

/// Returns what an entry names: the part of the plan that must define it, the field, and the id.
fn named<'a>(
    members: &'a Map<String, Value>,
    path: &[String],
) -> impl Iterator<Item = (&'static str, &'static [&'static str], &'a str)> {
    let entry = at(members, path);
    let handler = entry.and_then(|entry| entry.get("attachments")?.get("handler")?.as_str());
    let connection = entry.and_then(|entry| entry.get("connection")?.as_str()).filter(|id| *id != LOCAL);
    let handler = handler.map(|id| ("attachments", &["attachments", "handler"][..], id));
    handler.into_iter().chain(connection.map(|id| ("connections", &["connection"][..], id)))
}

/// Returns the paths of the entries of classes and types.
fn places(members: &Map<String, Value>) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for (class, entry) in members.get("plan").and_then(Value::as_object).into_iter().flatten() {
        let path = vec!["plan".to_owned(), class.clone()];
        let types = entry.get("types").and_then(Value::as_object).into_iter().flatten();
        let types: Vec<_> = types.map(|(name, _)| below(&path, &["types", name])).collect();
        paths.push(path);
        paths.extend(types);
    }
    paths
}

fn at<'a>(members: &'a Map<String, Value>, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(members.get(first)?, |value, key| value.get(key))
}

fn below(path: &[String], more: &[&str]) -> Vec<String> {
    path.iter().cloned().chain(more.iter().map(|key| (*key).to_owned())).collect()
}
