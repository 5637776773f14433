use serde_json::{Value, json};

use super::*;
use crate::plan::{Documents, Fault};

const UUID: &str = "403f90f67d1b71341f2ea6426eed3d90";

pub(in crate::plan) fn plan(mut document: Value) -> Merged {
    document["pvt_type"] = json!("storage");
    Merged::from_documents(&Documents { system: Some(&document), ..Documents::default() })
}

/// Creates a plan with three backends, one connection and the given `plan`.
pub(in crate::plan) fn with_plan(entries: Value) -> Merged {
    plan(json!({
        "attachments": {
            "one": { "handler": "s3", "name": "One", "settings": { "bucket": "first", "key": "canary" } },
            "two": { "handler": "http", "settings": { "url": "http://h/x" } },
            "three": { "handler": "file", "settings": { "directory": "d" } },
        },
        "connections": { "far": { "driver": "kazoo_couch", "settings": { "ip": "10.1.1.1", "port": "5984" } } },
        "plan": entries,
    }))
}

fn subject<'a>(class: Class, database: &'a str, document_type: &'a str) -> Subject<'a> {
    Subject { class, database, document_type: (!document_type.is_empty()).then_some(document_type) }
}

/// Formats a decision: `storage@connection`, `-@connection` for a pass-through, or `!id` for an error.
pub(super) fn decided(plan: &Merged, class: Class, database: &str, document_type: &str) -> String {
    match plan.decide(&subject(class, database, document_type)) {
        Ok(Placement::PassThrough { connection }) => format!("-@{connection}"),
        Ok(Placement::Store(decision)) => format!("{}@{}", decision.storage(), decision.connection),
        Err(error) => format!("!{}", error.id()),
    }
}

pub(in crate::plan) fn store(plan: &Merged, document_type: &str) -> Decision {
    match plan.decide(&subject(Class::Modb, "db", document_type)) {
        Ok(Placement::Store(decision)) => decision,
        other => panic!("not stored: {other:?}"),
    }
}

#[test]
fn the_published_example_stores_voicemail_only() {
    let document = json!({
        "attachments": { UUID: {
            "handler": "http", "name": "My HTTP server",
            "settings": { "url": "http://my.http.server:37635/some_prefix", "verb": "post" },
        } },
        "plan": { "modb": { "types": { "mailbox_message": { "attachments": { "handler": UUID } } } } },
    });
    let plan = plan(document);
    let decision = store(&plan, "mailbox_message");
    assert_eq!((decision.storage(), decision.handler()), (UUID, "http"));
    assert_eq!(decision.connection, LOCAL);
    assert!(!decision.stub);
    assert_eq!(decision.settings.text("verb"), Ok(Some("post".to_owned())));
    assert_eq!(decided(&plan, Class::Modb, "db", "fax"), "-@local");
    assert_eq!(decided(&plan, Class::Modb, "db", ""), "-@local");
    assert_eq!(decided(&plan, Class::Account, "db", "mailbox_message"), "-@local");
    assert!(plan.class_has_handler(Class::Modb, "db"));
    assert!(!plan.class_has_handler(Class::Account, "db"));
    assert!(!plan.class_has_handler(Class::Yodb, "db"));
}

#[test]
fn a_type_goes_over_its_class() {
    let plan = with_plan(json!({
        "modb": {
            "connection": "far",
            "attachments": { "handler": "one", "params": { "folder_path": "f" }, "stub": true },
            "types": {
                "fax": { "attachments": { "handler": "two" } },
                "media": { "connection": "local" },
                "call_recording": { "attachments": { "params": { "path": "p" }, "stub": "false" } },
                "off": { "attachments": { "handler": null } },
                "nothing": null,
                "odd": { "unknown": 1 },
            },
        },
    }));
    for (document_type, expected) in [
        ("", "one@far"),
        ("unheard_of", "one@far"),
        ("fax", "two@far"),
        ("media", "one@local"),
        ("call_recording", "one@far"),
        ("off", "-@far"),
        ("nothing", "one@far"),
        ("odd", "one@far"),
    ] {
        assert_eq!(decided(&plan, Class::Modb, "db", document_type), expected, "{document_type}");
    }
    let fax = store(&plan, "fax");
    assert_eq!(fax.settings.text("folder_path"), Ok(Some("f".to_owned())), "params stay where the type has none");
    assert!(fax.stub);
    let recording = store(&plan, "call_recording");
    assert_eq!(recording.settings.text("folder_path"), Ok(None), "params replace the class's");
    assert_eq!(recording.settings.text("path"), Ok(Some("p".to_owned())));
    assert!(!recording.stub);
}

#[test]
fn each_class_has_its_entry() {
    let plan = with_plan(json!({
        "account": { "attachments": { "handler": "one" } },
        "modb": { "attachments": { "handler": "two" } },
        "yodb": { "attachments": { "handler": "three" } },
    }));
    assert_eq!(decided(&plan, Class::Account, "db", "x"), "one@local");
    assert_eq!(decided(&plan, Class::Modb, "db", "x"), "two@local");
    assert_eq!(decided(&plan, Class::Yodb, "db", "x"), "three@local");
    assert_eq!(decided(&plan, Class::System, "system_media", "x"), "-@local");
    assert_eq!(decided(&plan, Class::Aggregate, "faxes", "x"), "-@local");
}

#[test]
fn an_aggregate_that_lists_others_falls_back_to_system() {
    let system = json!({ "attachments": { "handler": "one" } });
    let aggregate = |database: Value| {
        with_plan(json!({
            "system": system,
            "aggregate": { "attachments": { "handler": "two" }, "database": database },
        }))
    };
    let without = with_plan(json!({ "system": system }));
    assert_eq!(decided(&without, Class::Aggregate, "faxes", ""), "one@local");
    for (database, expected) in [
        (json!({ "names": ["accounts", "faxes"] }), "two@local"),
        (json!({ "names": ["accounts"] }), "one@local"),
        (json!({ "names": [1, null] }), "one@local"),
        (json!({ "names": [] }), "two@local"),
        (json!({ "names": null }), "two@local"),
        (json!({ "create_options": { "q": 1 } }), "two@local"),
        (json!({}), "two@local"),
        (json!(null), "two@local"),
        (json!({ "names": [1, null, "faxes"] }), "two@local"),
        (json!({ "names": "faxes" }), "!plan.aggregate.database.names"),
        (json!("faxes"), "!plan.aggregate.database"),
    ] {
        let plan = aggregate(database.clone());
        assert_eq!(decided(&plan, Class::Aggregate, "faxes", ""), expected, "{database}");
        assert!(plan.class_has_handler(Class::Aggregate, "faxes"));
        assert_eq!(decided(&plan, Class::System, "alerts", ""), "one@local");
    }
}

#[test]
fn system_databases_are_types_themselves() {
    let types = json!({
        "system_media": { "attachments": { "handler": "one" } },
        "media": { "attachments": { "handler": "two" } },
        "numbers/+1415": { "attachments": { "handler": "one" } },
        "numbers": { "attachments": { "handler": "three" } },
        "faxes": { "attachments": { "handler": "three" } },
        "account_database": { "attachments": { "handler": "three" } },
    });
    let plan = with_plan(json!({ "system": { "types": types }, "account": { "types": types } }));
    for (class, database, document_type, expected) in [
        (Class::System, "system_media", "", "one@local"),
        (Class::System, "system_media", "other", "one@local"),
        (Class::System, "system_media", "media", "two@local"),
        (Class::System, "alerts", "", "-@local"),
        (Class::System, "numbers/+1415", "number", "one@local"),
        (Class::System, "numbers/+1416", "number", "three@local"),
        (Class::Aggregate, "faxes", "", "three@local"),
        (Class::Account, "account_database", "", "-@local"),
    ] {
        let case = format!("{database} {document_type}");
        assert_eq!(decided(&plan, class, database, document_type), expected, "{case}");
    }
}

#[test]
fn a_null_handler_leaves_a_database_out_of_its_class() {
    let mut system =
        json!({ "attachments": { "handler": "one" }, "types": { "tasks": { "attachments": { "handler": null } } } });
    let left_out = with_plan(json!({ "system": system }));
    assert_eq!(decided(&left_out, Class::System, "tasks", "task"), "-@local");
    assert_eq!(decided(&left_out, Class::System, "alerts", "alert"), "one@local");
    system["types"]["task"] = json!({});
    let named = with_plan(json!({ "system": system }));
    assert_eq!(decided(&named, Class::System, "tasks", "task"), "one@local", "the type's entry goes first");
}

#[test]
fn what_is_not_defined_is_refused_by_name() {
    let plan = with_plan(json!({
        "modb": { "attachments": { "handler": "gone" } },
        "account": { "connection": "gone", "types": { "x": { "connection": "far" } } },
        "yodb": { "attachments": { "handler": "" } },
    }));
    let error = plan.decide(&subject(Class::Modb, "db", "")).unwrap_err();
    assert_eq!(*error.fault(), Fault::Unknown { what: "handler", id: "gone".to_owned() });
    assert!(error.to_string().contains("handler `gone`"), "{error}");
    let error = plan.decide(&subject(Class::Account, "db", "")).unwrap_err();
    assert_eq!(*error.fault(), Fault::Unknown { what: "connection", id: "gone".to_owned() });
    assert_eq!(decided(&plan, Class::Account, "db", "x"), "-@far");
    assert_eq!(decided(&plan, Class::Yodb, "db", ""), "!");
    assert!(plan.home(Class::Account, "db").is_err(), "its refusal must not be missed");
}

#[test]
fn malformed_backends_are_refused() {
    for (attachments, expected) in [
        (json!("x"), "!attachments"),
        (json!({ "b": "x" }), "!b"),
        (json!({ "b": {} }), "!b"),
        (json!({ "b": null }), "!b"),
        (json!({ "b": { "handler": 1 } }), "!b.handler"),
        (json!({ "b": { "handler": "s3", "settings": [] } }), "!b.settings"),
    ] {
        let uses = json!({ "modb": { "attachments": { "handler": "b" } } });
        let plan = plan(json!({ "attachments": attachments, "plan": uses }));
        assert_eq!(decided(&plan, Class::Modb, "db", "t"), expected, "{attachments}");
        assert!(plan.class_has_handler(Class::Modb, "db"), "{attachments}");
    }
}

#[test]
fn malformed_parts_of_a_plan_are_refused_and_never_pass_through() {
    for (modb, expected) in [
        (json!([]), "!plan.modb"),
        (json!({ "types": "x" }), "!plan.modb.types"),
        (json!({ "types": { "t": 1 } }), "!plan.modb.types.t"),
        (json!({ "attachments": "b" }), "!plan.modb.attachments"),
        (json!({ "connection": 1 }), "!plan.modb.connection"),
        (json!({ "attachments": { "handler": ["b"] } }), "!plan.modb.attachments.handler"),
        (json!({ "attachments": { "handler": "b", "params": "x" } }), "!b"),
        (json!({ "attachments": { "handler": "b", "stub": "x" } }), "!b"),
        (json!({ "types": { "t": { "attachments": { "handler": 5 } } } }), "!plan.modb.types.t.attachments.handler"),
    ] {
        let backends = json!({ "b": { "handler": "s3" } });
        let plan = plan(json!({ "attachments": backends, "plan": { "modb": modb } }));
        assert_eq!(decided(&plan, Class::Modb, "db", "t"), expected, "{modb}");
        let is_seen = plan.class_has_handler(Class::Modb, "db") || plan.home(Class::Modb, "db").is_err();
        assert!(is_seen, "{modb}");
    }
    let odd = plan(json!({ "plan": "x" }));
    assert_eq!(decided(&odd, Class::Modb, "db", "t"), "!plan");
}

#[test]
fn what_a_decision_does_not_need_may_be_malformed() {
    let modb = json!({ "attachments": { "params": 1 }, "types": { "u": 1 } });
    let odd = plan(json!({ "attachments": 1, "plan": { "modb": modb, "yodb": 1 } }));
    assert_eq!(decided(&odd, Class::Modb, "db", "t"), "-@local");
    let nulls = plan(json!({ "attachments": null, "connections": null, "plan": null }));
    assert_eq!(decided(&nulls, Class::Modb, "db", "t"), "-@local");
}

#[test]
fn debug_of_a_decision_hides_secrets() {
    let plan = with_plan(json!({ "modb": { "attachments": { "handler": "one" } } }));
    let shown = format!("{:?}", store(&plan, ""));
    assert!(shown.contains("one") && !shown.contains("canary"), "{shown}");
}
