//! Merges of arbitrary documents.

#![expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]

use proptest::collection::btree_map;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::{ACCOUNT, merged};
use super::*;

/// Any small document.
fn any_document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..4_i32).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            btree_map("[a-c]", inner, 0..4).prop_map(|members| json!(members)),
        ]
    })
}

/// Documents of one shape: objects of objects of numbers.
fn shaped_document() -> impl Strategy<Value = Value> {
    btree_map("[a-c]", btree_map("[a-c]", 0..9_i32, 0..4), 0..4).prop_map(|members| json!(members))
}

proptest! {
    #[test]
    fn merging_a_document_with_itself_changes_nothing(document in any_document()) {
        prop_assert_eq!(&merge([&document, &document]), &document);
    }

    #[test]
    fn merging_goes_step_by_step(a in any_document(), b in any_document(), c in any_document()) {
        let stepwise = merge([&merge([&a, &b]), &c]);
        prop_assert_eq!(merge([&a, &b, &c]), stepwise);
    }

    #[test]
    fn merging_documents_of_one_shape_is_associative(
        a in shaped_document(), b in shaped_document(), c in shaped_document()
    ) {
        prop_assert_eq!(merge([&merge([&a, &b]), &c]), merge([&a, &merge([&b, &c])]));
    }

    #[test]
    fn every_member_of_the_last_document_is_there(a in any_document(), b in shaped_document()) {
        let merged = merge([&a, &b]);
        for (key, members) in b.as_object().into_iter().flatten() {
            for (inner, value) in members.as_object().into_iter().flatten() {
                prop_assert_eq!(&merged[key][inner], value);
            }
        }
    }

    #[test]
    fn any_documents_merge_without_harm(
        a in any_document(), b in any_document(), c in any_document(), d in any_document()
    ) {
        let of = |kind: &str, part: &Value| json!({
            "pvt_type": kind, "pvt_account_id": ACCOUNT, "pvt_plan_id": "p",
            "attachments": part, "connections": part, "plan": part,
        });
        let (a, b, c, d) = (of("storage", &a), of("storage_plan", &b), of("storage", &c), of("storage", &d));
        let plan = merged(Some(&a), Some(&b), Some(&c), Some(&d));
        prop_assert_eq!(plan.sources().len(), 4);
        prop_assert_eq!(plan.members().len(), 3);
    }
}
