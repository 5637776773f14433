//! Parsing one role of the list.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use stowage_base::reader::Problem;

use super::Role;

/// A role being parsed.
pub(super) struct Reading<'a> {
    pub(super) path: String,
    pub(super) members: Map<String, Value>,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl Reading<'_> {
    /// Returns the role if it is sound; reports its problems.
    pub(super) fn role(&mut self) -> Option<Role> {
        let before = self.problems.len();
        let name = self.text("name");
        let is_name =
            name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric());
        if !name.is_empty() && !is_name {
            self.problem("name", "must be latin letters and digits, and begin with a letter");
        }
        let roletype = self.text("roletype");
        if !roletype.is_empty() && roletype != "callstore" {
            self.problem("roletype", "must be \"callstore\"");
        }
        let iface = self.text("iface");
        let group = self.number("group").and_then(|group| {
            let group = u32::try_from(group).ok().filter(|group| (1..=9_999_999).contains(group));
            if group.is_none() {
                self.problem("group", "must be a whole number from 1 to 9999999");
            }
            group
        });
        let order = self.number("order");
        let include_domains = self.domains();
        let (cdr_enabled, sorm3_enabled) = (self.flag("cdr_enabled", true), self.flag("sorm3_enabled", false));
        let enabled = self.members.remove("enabled").filter(|enabled| !enabled.is_null());
        if enabled.is_some_and(|enabled| !enabled.is_boolean()) {
            self.problem("enabled", "must be true or false");
        }
        let ext = self.members.remove("ext").unwrap_or_default();
        if !(ext.is_null() || ext.is_object() || ext.is_array()) {
            self.problem("ext", "must be an object or a list");
        }
        let is_transactional = match self.members.remove("sync") {
            None | Some(Value::Null) => true,
            Some(Value::String(word)) if word == "local" || word == "transactional" => word == "transactional",
            Some(_) => {
                self.problem("sync", "must be \"local\" or \"transactional\"");
                false
            }
        };
        let unknown: Vec<_> = self.members.keys().cloned().collect();
        unknown.iter().for_each(|name| self.problem(name, "is not a known member"));
        let whole = self.problems.len() == before;
        let role = Role {
            name,
            iface,
            ext,
            group: group?,
            order: order?,
            include_domains,
            cdr_enabled,
            sorm3_enabled,
            is_transactional,
        };
        whole.then_some(role)
    }

    fn problem(&mut self, name: &str, message: &str) {
        self.problems.push(Problem { key: format!("{}.{name}", self.path), message: message.to_owned() });
    }

    fn text(&mut self, name: &str) -> String {
        match self.members.remove(name) {
            Some(Value::String(text)) if !text.is_empty() => text,
            None | Some(Value::Null | Value::String(_)) => {
                self.problem(name, "is required");
                String::new()
            }
            Some(_) => {
                self.problem(name, "must be a text");
                String::new()
            }
        }
    }

    fn number(&mut self, name: &str) -> Option<i64> {
        let value = self.members.remove(name).unwrap_or_default();
        let number = value.as_i64();
        if number.is_none() {
            self.problem(name, if value.is_null() { "is required" } else { "must be a whole number" });
        }
        number
    }

    fn flag(&mut self, name: &str, default: bool) -> bool {
        match self.members.remove(name) {
            None | Some(Value::Null) => default,
            Some(Value::Bool(flag)) => flag,
            Some(_) => {
                self.problem(name, "must be true or false");
                default
            }
        }
    }

    fn domains(&mut self) -> BTreeSet<String> {
        let list = match self.members.remove("include_domains") {
            None | Some(Value::Null) => return BTreeSet::new(),
            Some(Value::Array(list)) => list,
            Some(_) => {
                self.problem("include_domains", "must be a list of names");
                return BTreeSet::new();
            }
        };
        let mut domains = BTreeSet::new();
        for (place, value) in list.iter().enumerate() {
            let name =
                value.as_str().map(|name| name.trim_end_matches('.').to_lowercase()).filter(|name| !name.is_empty());
            match name {
                None => self.problem(&format!("include_domains[{place}]"), "must be a name"),
                Some(name) if domains.contains(&name) => {
                    self.problem(&format!("include_domains[{place}]"), "is named twice");
                }
                Some(name) => drop(domains.insert(name)),
            }
        }
        domains
    }
}
