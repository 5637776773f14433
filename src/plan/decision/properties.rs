//! Decisions of arbitrary plans.

#![expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]

use proptest::collection::btree_map;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::{decided, with_plan};
use super::*;

/// Plans that are mostly well-formed.
fn any_plan() -> impl Strategy<Value = Value> {
    let odd = prop_oneof![Just(json!(null)), Just(json!(1)), Just(json!("x")), Just(json!([]))];
    let id = prop_oneof![Just(json!("one")), Just(json!("gone")), Just(json!("local")), odd.clone()];
    let attachments = btree_map("handler|params|stub", id.clone(), 0..3).prop_map(|map| json!(map));
    let of_type = prop_oneof![
        4 => (id, attachments.clone())
            .prop_map(|(connection, attachments)| json!({ "connection": connection, "attachments": attachments })),
        2 => attachments.clone().prop_map(|attachments| json!({ "attachments": attachments })),
        1 => odd.clone(),
    ];
    let types = prop_oneof![
        4 => btree_map("fax|media|faxes", of_type.clone(), 0..3).prop_map(|map| json!(map)),
        1 => odd.clone(),
    ];
    let class = prop_oneof![
        6 => (of_type, types).prop_map(|(mut entry, types)| {
            if let Some(entry) = entry.as_object_mut() {
                entry.insert("types".to_owned(), types);
                entry.insert("database".to_owned(), json!({ "names": ["faxes"] }));
            }
            entry
        }),
        1 => odd,
    ];
    btree_map("modb|system|aggregate", class, 0..4).prop_map(|map| json!(map))
}

proptest! {
    #[test]
    fn a_class_without_handler_stores_nothing(entries in any_plan()) {
        let plan = with_plan(entries);
        for (class, database) in [(Class::Modb, "db"), (Class::Aggregate, "faxes"), (Class::System, "alerts")] {
            let outcomes = ["", "fax", "media", "other"]
                .map(|document_type| decided(&plan, class, database, document_type));
            if !plan.class_has_handler(class, database) {
                for outcome in outcomes {
                    // The connection may be undefined.
                    prop_assert!(outcome.starts_with("-@") || outcome.starts_with('!'), "{}", outcome);
                }
            }
        }
    }
}
