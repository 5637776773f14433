//! All the settings with which a plan reaches its backends.

use serde_json::{Map, Value};

use super::super::members::Members;
use super::{Placement, Reference, Subject};
use crate::plan::{Merged, Settings};

impl Merged {
    /// Returns the settings with which stored attachments may be reachable: first those for storing this document's attachments, then those with the
    /// `params` of every other part of the plan, then the backends as defined.
    ///
    /// Invalid parts are skipped: an error in one is no reason not to read what other parts have stored.
    pub fn reaches(&self, subject: &Subject<'_>) -> impl Iterator<Item = Settings> {
        let own = self.decide(subject).ok().and_then(Placement::backend).map(|decision| decision.settings);
        let classes = self.part("plan").ok().flatten().into_iter().flat_map(Map::values);
        let parts = classes.filter_map(Value::as_object).flat_map(|class| self.parts_of(class));
        own.into_iter().chain(parts).chain(self.storages())
    }

    fn parts_of<'a>(&'a self, class: &'a Members) -> impl Iterator<Item = Settings> + 'a {
        let types = class.get("types").and_then(Value::as_object).into_iter().flat_map(Map::values);
        let entries = std::iter::once(None).chain(types.filter_map(Value::as_object).map(Some));
        entries.filter_map(|of_type| {
            let reference = Reference::of(("", Some(class)), ("", of_type)).ok()?;
            self.referred(&reference).ok().flatten()
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Subject;
    use crate::database::Class;
    use crate::plan::decision::tests::with_plan;

    #[test]
    fn the_documents_own_way_comes_first_and_what_is_broken_is_left_out() {
        let plan = with_plan(json!({
            "account": { "attachments": { "handler": "three" } },
            "modb": {
                "attachments": { "handler": "one", "params": { "bucket": "of-class" } },
                "types": {
                    "fax": { "attachments": { "params": { "bucket": "of-fax" } } },
                    "media": { "attachments": { "handler": "gone" } },
                    "call_recording": { "attachments": { "handler": "two" } },
                    "odd": 7,
                },
            },
            "yodb": "broken",
        }));
        let of = |document_type| {
            let subject = Subject { class: Class::Modb, database: "db", document_type: Some(document_type) };
            let shown = plan.reaches(&subject).map(|settings| {
                let bucket = settings.text("bucket").unwrap();
                format!("{}{}", settings.id(), bucket.map(|bucket| format!(" {bucket}")).unwrap_or_default())
            });
            shown.collect::<Vec<_>>()
        };
        let all = ["three", "one of-class", "one of-fax", "two of-class", "one first", "two", "three"];
        assert_eq!(of("fax"), [&["one of-fax"][..], &all].concat());
        assert_eq!(of("call_recording"), [&["two of-class"][..], &all].concat());
        assert_eq!(of("unknown"), [&["one of-class"][..], &all].concat());
        assert_eq!(of("media"), all, "what the plan cannot say of it is said by the others");
    }
}
