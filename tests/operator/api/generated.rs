//! A thousand invalid documents: each is refused, none is saved, none results in a 500.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use crate::api::{MINE, OPERATOR, SECOND, of, setup};
use stowage_testing::gateway::STORAGE;
use stowage_testing::raw::RawClient;

/// Returns a valid plan with all members.
fn right() -> Value {
    let reference = json!({"handler": STORAGE, "params": {"folder_path": "x"}, "stub": false});
    let class = json!({"attachments": reference, "connection": SECOND, "database": {"names": ["faxes"]},
        "types": {"fax": {"attachments": reference, "connection": "local"}}});
    json!({
        "attachments": {
            STORAGE: {"handler": "file", "name": "n", "settings": {"directory": "a"}, "field_separator": "/"},
            SECOND: {"handler": "s3", "settings": {"bucket": "recordings", "key": "k", "secret": "s", "port": 443,
                "scheme": "https", "host": "127.0.0.1", "bucket_after_host": true}},
            "00000000000000000000000000000000": {"handler": "http", "settings": {"url": "http://127.0.0.1/", "verb": "put",
                "headers": {"X": "y"}, "field_list": [{"arg": "id"}, {"group": [{"const": "x"}]}]}},
        },
        "connections": {SECOND: {"driver": "kazoo_couch", "name": "n", "settings": {"ip": "127.0.0.1", "port": 5984,
            "credentials": {"username": "u", "password": "p"}, "pool": {"name": "p", "size": 1}}}},
        "plan": {"account": class, "modb": class, "system": class, "yodb": class, "aggregate": class},
        "ui_metadata": {"a": 1},
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no such number", |number| number.is_finite()).prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        prop::sample::select(vec!["", "********", "../..", "http://[", "\u{0}", "handler", "🎺"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((".{0,12}", inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Collects every place in a value, as JSON pointers.
fn places(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, member)| places(member, &format!("{path}/{key}"), found))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{path}/{index}"), found));
        }
        _ => {}
    }
}

/// Changes one place. Returns `None` if the result may still be valid.
fn spoilt(index: usize, change: usize, other: &Value) -> Option<Value> {
    let mut plan = right();
    let mut found = Vec::new();
    places(&plan, "", &mut found);
    let place = &found[index % found.len()];
    if place.starts_with("/ui_metadata/") {
        return None;
    }
    let before = plan.pointer(place)?.clone();
    let same = std::mem::discriminant(&before) == std::mem::discriminant(other);
    let target = plan.pointer_mut(place)?;
    match (change % 4, target) {
        // Another type: strings are accepted for numbers and booleans, and null for a missing member.
        (0 | 1, target) if !same && !other.is_null() && !place.is_empty() => {
            let tolerated =
                other.is_string() || before.is_boolean() || before.is_number() || place.ends_with("password");
            let bare = place.contains("field_list/") || place.ends_with("/plan");
            if tolerated || bare {
                return None;
            }
            *target = other.clone();
        }
        (2, Value::Object(members)) if place.is_empty() || place.starts_with("/plan") => {
            if place.ends_with("/types") || place.ends_with("/database") {
                return None;
            }
            members.insert("not a member".to_owned(), other.clone()).is_none().then_some(())?;
            if other.is_null() {
                return None;
            }
        }
        (3, Value::String(text))
            if ["bucket", "scheme", "verb", "driver", "handler"].iter().any(|key| place.ends_with(key)) =>
        {
            text.push_str("\u{1}x");
        }
        (3, Value::Object(members)) if place.ends_with("/settings") => members.clear(),
        (3, Value::Object(members)) if matches!(place.as_str(), "/attachments" | "/connections") => {
            let entry = members.values().next()?.clone();
            members.insert(format!("Bad {index}"), entry);
        }
        _ => return None,
    }
    Some(plan)
}

async fn put(client: &mut RawClient, body: &str) -> crate::api::RawResponse {
    save(client, "PUT", body).await
}

async fn save(client: &mut RawClient, method: &str, body: &str) -> crate::api::RawResponse {
    let target = format!("{}?validate_settings=false", of(MINE));
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {OPERATOR}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.exchange(format!("{head}{body}")).await.unwrap()
}

#[tokio::test]
async fn a_thousand_bad_documents_are_refused() {
    let gateway = setup().set("timeouts.connect", "50ms").start().await;
    let mut client = RawClient::connect(gateway.app.admin.unwrap()).await.unwrap();
    let mut runner = TestRunner::deterministic();
    let inputs = (any::<usize>(), any::<usize>(), any_json());
    let mut bad = 0;
    while bad < 1000 {
        let (index, change, other) = inputs.new_tree(&mut runner).unwrap().current();
        let Some(plan) = spoilt(index, change, &other) else { continue };
        let answer = put(&mut client, &json!({ "data": plan }).to_string()).await;
        assert_eq!(answer.status, 400, "{plan:#}: {}", answer.text());
        bad += 1;
    }
    let answer = crate::api::ask(&gateway, "GET", &of(MINE), None).await;
    assert_eq!(answer.status, 404, "one was saved: {}", answer.text());
    let answer = crate::api::ask(&gateway, "PUT", &of(MINE), Some(&right())).await;
    assert_eq!(answer.status, 201, "only the spoilt ones are bad: {}", answer.text());
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn a_bad_document_replaces_nothing() {
    let gateway = setup().set("timeouts.connect", "50ms").start().await;
    assert_eq!(crate::api::ask(&gateway, "PUT", &of(MINE), Some(&right())).await.status, 201);
    let before = crate::api::stored(&gateway, MINE).await;
    let mut client = RawClient::connect(gateway.app.admin.unwrap()).await.unwrap();
    let mut runner = TestRunner::deterministic();
    let inputs = (any::<usize>(), any::<usize>(), any_json());
    let mut bad = 0;
    while bad < 200 {
        let (index, change, other) = inputs.new_tree(&mut runner).unwrap().current();
        let Some(plan) = spoilt(index, change, &other) else { continue };
        let answer = save(&mut client, "POST", &json!({ "data": plan }).to_string()).await;
        assert_eq!(answer.status, 400, "{plan:#}: {}", answer.text());
        bad += 1;
    }
    assert_eq!(crate::api::stored(&gateway, MINE).await, before);
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn anything_at_all_is_no_500() {
    let gateway = setup().set("timeouts.connect", "50ms").start().await;
    let mut client = RawClient::connect(gateway.app.admin.unwrap()).await.unwrap();
    let mut runner = TestRunner::deterministic();
    for _ in 0..if stowage_testing::is_long() { 5000 } else { 500 } {
        let (key, other) = ("[a-z0-9]{32}", any_json()).new_tree(&mut runner).unwrap().current();
        for data in [
            other.clone(),
            json!({"attachments": other}),
            json!({"attachments": {key.clone(): other}}),
            json!({"attachments": {key.clone(): {"handler": "http", "settings": other}}}),
            json!({"attachments": {key.clone(): {"handler": "http", "settings": {"url": other}}}}),
            json!({"connections": {key.clone(): {"driver": "kazoo_couch", "settings": {"ip": other, "port": 1}}}}),
            json!({"plan": {"modb": other}}),
            json!({"plan": {"modb": {"types": other}}}),
        ] {
            let answer = put(&mut client, &json!({ "data": data }).to_string()).await;
            assert!(matches!(answer.status, 201 | 400), "{data}: {}", answer.text());
            if answer.status == 201 {
                let answer = crate::api::ask(&gateway, "DELETE", &of(MINE), None).await;
                assert_eq!(answer.status, 200, "{data}: {}", answer.text());
            }
        }
    }
    drop(client);
    gateway.stop().await;
}
