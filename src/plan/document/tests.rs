use serde_json::{Value, json};

use super::*;

pub(super) const ACCOUNT: &str = "account0000000000000000000000004";

fn backend(bucket: &str) -> Value {
    json!({ "handler": "s3", "settings": { "bucket": bucket } })
}

fn system() -> Value {
    json!({
        "_id": "system", "pvt_type": "storage",
        "attachments": { "a": backend("of-system"), "b": backend("of-system") },
        "plan": { "modb": { "attachments": { "handler": "a" } } },
    })
}

fn named() -> Value {
    json!({
        "_id": "reseller-plan", "pvt_type": "storage_plan",
        "attachments": { "a": { "settings": { "bucket": "of-plan" } } },
    })
}

fn account() -> Value {
    json!({
        "_id": ACCOUNT, "pvt_type": "storage", "pvt_plan_id": "reseller-plan",
        "attachments": { "a": { "settings": { "region": "of-account" } } },
        "plan": { "account": { "attachments": { "handler": "b" } } },
    })
}

fn owner() -> Value {
    json!({
        "_id": "user1", "pvt_type": "storage", "pvt_account_id": ACCOUNT,
        "plan": { "modb": { "attachments": { "handler": "b" } } },
    })
}

fn with(mut document: Value, key: &str, value: Value) -> Value {
    document[key] = value;
    document
}

pub(super) fn merged(
    system: Option<&Value>,
    named: Option<&Value>,
    account: Option<&Value>,
    owner: Option<&Value>,
) -> Merged {
    Merged::from_documents(&Documents { account_id: Some(ACCOUNT), system, named, account, owner })
}

#[test]
fn without_documents_the_default_stands() {
    let expected = json!({
        "attachments": {}, "connections": { "local": {} },
        "plan": { "account": {}, "modb": {}, "system": {}, "yodb": {} },
    });
    let plan = Merged::from_documents(&Documents::default());
    assert_eq!(Value::Object(plan.members().clone()), expected);
    assert!(plan.sources().is_empty());
    assert_eq!(plan, Merged::default());
}

#[test]
fn later_documents_win_key_by_key() {
    let plan = merged(Some(&system()), Some(&named()), Some(&account()), Some(&owner()));
    assert_eq!(plan.sources(), ["system", "reseller-plan", ACCOUNT, "user1"]);
    let expected = json!({
        "attachments": {
            "a": { "handler": "s3", "settings": { "bucket": "of-plan", "region": "of-account" } },
            "b": { "handler": "s3", "settings": { "bucket": "of-system" } },
        },
        "connections": { "local": {} },
        "plan": {
            "account": { "attachments": { "handler": "b" } },
            "modb": { "attachments": { "handler": "b" } },
            "system": {}, "yodb": {},
        },
    });
    assert_eq!(Value::Object(plan.members().clone()), expected);
}

#[test]
fn documents_of_another_kind_or_account_count_as_absent() {
    let all = ["system", "reseller-plan", ACCOUNT, "user1"];
    let cases = [
        // The new type of the system, named, account and owner document, and which of them still count.
        (["storage_plan", "", "", ""], [false, true, true, true]),
        (["", "storage", "", ""], [true, false, true, true]),
        // Without the account's document, nothing names the plan.
        (["", "", "storage_plan", ""], [true, false, false, true]),
        (["", "", "", "user"], [true, true, true, false]),
    ];
    for (types, counts) in cases {
        let documents = [system(), named(), account(), owner()];
        let documents: Vec<Value> = documents
            .into_iter()
            .zip(types)
            .map(|(document, kind)| match kind {
                "" => document,
                kind => with(document, "pvt_type", json!(kind)),
            })
            .collect();
        let [system, named, account, owner] = documents.as_slice() else {
            unreachable!("four documents");
        };
        let plan = merged(Some(system), Some(named), Some(account), Some(owner));
        let expected: Vec<&str> = all.into_iter().zip(counts).filter_map(|(id, counts)| counts.then_some(id)).collect();
        assert_eq!(plan.sources(), expected, "{types:?}");
    }
}

#[test]
fn deleted_documents_count_as_absent() {
    for (key, value) in [("pvt_deleted", json!(true)), ("pvt_deleted", json!("true")), ("_deleted", json!(true))] {
        let deleted = with(system(), key, value);
        assert_eq!(merged(Some(&deleted), None, None, None), Merged::default());
    }
    let kept = with(system(), "pvt_deleted", json!(false));
    assert_eq!(merged(Some(&kept), None, None, None).sources(), ["system"]);
}

#[test]
fn the_account_of_a_document_has_to_fit() {
    let sources = |account: Value, owner: Value| {
        let merged = merged(None, None, Some(&account), Some(&owner));
        merged.sources().to_vec()
    };
    let other = json!("account0000000000000000000000005");
    assert_eq!(sources(account(), owner()), [ACCOUNT, "user1"]);
    let own = with(account(), "pvt_account_id", json!(ACCOUNT));
    assert_eq!(sources(own, owner()), [ACCOUNT, "user1"]);
    let foreign = with(account(), "pvt_account_id", other.clone());
    assert_eq!(sources(foreign, owner()), ["user1"]);
    let foreign = with(owner(), "pvt_account_id", other);
    assert_eq!(sources(account(), foreign), [ACCOUNT]);
    let nobodys = with(owner(), "pvt_account_id", Value::Null);
    assert_eq!(sources(account(), nobodys), [ACCOUNT]);
}

#[test]
fn without_an_account_only_the_system_counts() {
    let plan = Merged::from_documents(&Documents {
        account_id: None,
        system: Some(&system()),
        named: Some(&named()),
        account: Some(&account()),
        owner: Some(&owner()),
    });
    assert_eq!(plan.sources(), ["system"]);
}

#[test]
fn a_plan_counts_only_where_the_account_names_one() {
    let unnamed = with(account(), "pvt_plan_id", Value::Null);
    let plan = merged(None, Some(&named()), Some(&unnamed), None);
    assert_eq!(plan.sources(), [ACCOUNT]);
    assert_eq!(plan_id(&account(), ACCOUNT), Some("reseller-plan"));
    assert_eq!(plan_id(&unnamed, ACCOUNT), None);
    assert_eq!(plan_id(&account(), "x"), Some("reseller-plan"));
    let deleted = with(account(), "pvt_deleted", json!(true));
    assert_eq!(plan_id(&deleted, ACCOUNT), None);
    let foreign = with(account(), "pvt_account_id", json!("x"));
    assert_eq!(plan_id(&foreign, ACCOUNT), None);
}

#[test]
fn only_the_three_members_take_part() {
    let extra = with(system(), "ui_metadata", json!({ "x": 1 }));
    let plan = merged(Some(&extra), None, None, None);
    let keys: Vec<&str> = plan.members().keys().map(String::as_str).collect();
    assert_eq!(keys, MEMBERS);
}

#[test]
fn documents_that_are_no_objects_do_no_harm() {
    for odd in [json!(null), json!("x"), json!([1]), json!(1)] {
        let plan = merged(Some(&odd), Some(&odd), Some(&odd), Some(&odd));
        assert_eq!(plan, Merged::default());
        assert_eq!(plan_id(&odd, ACCOUNT), None);
    }
}

#[test]
fn debug_hides_settings() {
    let secret = with(system(), "attachments", json!({ "a": { "settings": { "key": "canary" } } }));
    let documents = Documents { system: Some(&secret), ..Documents::default() };
    let plan = Merged::from_documents(&documents);
    assert!(!format!("{documents:?}{plan:?}").contains("canary"));
}

#[test]
fn values_that_are_no_objects_are_replaced() {
    let cases = [
        (vec![], json!(null)),
        (vec![json!({ "a": [1, 2] }), json!({ "a": [3] })], json!({ "a": [3] })),
        (vec![json!({ "a": { "b": 1 } }), json!({ "a": 2 })], json!({ "a": 2 })),
        (vec![json!({ "a": 2 }), json!({ "a": { "b": 1 } })], json!({ "a": { "b": 1 } })),
        (vec![json!({ "a": 2 }), json!({ "a": null })], json!({ "a": null })),
        (
            vec![json!({ "a": { "b": 1 } }), json!({ "a": { "c": 2 } }), json!({ "d": 3 })],
            json!({ "a": { "b": 1, "c": 2 }, "d": 3 }),
        ),
    ];
    for (documents, expected) in cases {
        assert_eq!(merge(&documents), expected, "{documents:?}");
    }
}
