//! Metadata as query parameters: `a=1`, `a[b]=c` for objects, `list[]=x` for arrays.

use serde_json::{Map, Value};
use stowage_http::target::encode;

/// Returns the parameters in member order, percent-encoded; nulls are omitted.
pub(super) fn query(metadata: &Map<String, Value>) -> String {
    let mut pairs = Vec::new();
    for (key, value) in metadata {
        add(&mut pairs, encode(key), value);
    }
    pairs.join("&")
}

fn add(pairs: &mut Vec<String>, key: String, value: &Value) {
    match value {
        Value::Null => {}
        Value::Bool(flag) => pairs.push(format!("{key}={flag}")),
        Value::Number(number) => pairs.push(format!("{key}={}", encode(&number.to_string()))),
        Value::String(text) => pairs.push(format!("{key}={}", encode(text))),
        Value::Array(list) => {
            let key = format!("{key}[]");
            for value in list {
                add(pairs, key.clone(), value);
            }
        }
        Value::Object(members) => {
            for (member, value) in members {
                add(pairs, format!("{key}[{}]", encode(member)), value);
            }
        }
    }
}
