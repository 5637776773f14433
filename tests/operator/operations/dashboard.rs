//! `docs/operations/dashboard.json`: a valid Grafana dashboard of existing metrics.

use std::collections::BTreeSet;

use serde_json::Value;

use super::documents::values;
use super::exposition::Exposition;
use super::queries::{faults, parse};
use super::scrape::{experienced, scrape};

fn dashboard() -> Value {
    serde_json::from_str(include_str!("../../../docs/operations/dashboard.json")).expect("JSON")
}

/// Collects every string under this key, at any depth.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| match value {
            Value::String(text) if name == key => found.push(text),
            value => texts(value, key, found),
        }),
        Value::Array(values) => values.iter().for_each(|value| texts(value, key, found)),
        _ => {}
    }
}

fn shown<'a>(dashboard: &'a Value, exposition: &Exposition) -> BTreeSet<&'a str> {
    let mut queries = Vec::new();
    texts(dashboard, "expr", &mut queries);
    assert!(queries.len() > 20, "{}", queries.len());
    let mut faulty = Vec::new();
    for text in &queries {
        // Grafana's variable is a regular expression that matches instances.
        match parse(text) {
            Ok(query) => faulty.extend(faults(&query, exposition, &values).into_iter().map(|fault| (*text, fault))),
            Err(fault) => faulty.push((*text, fault)),
        }
    }
    assert!(faulty.is_empty(), "{faulty:#?}");
    queries.into_iter().collect()
}

#[tokio::test]
async fn panels_use_only_what_exists_and_leave_nothing_out() {
    let gateway = experienced().await;
    let exposition = scrape(&gateway).await;
    let dashboard = dashboard();
    let queries = shown(&dashboard, &exposition);
    let drawn = |name: &String| queries.iter().any(|query| query.contains(name.as_str()));
    let missing: Vec<_> =
        exposition.keys().filter(|name| name.starts_with("stowage_")).filter(|name| !drawn(name)).collect();
    assert!(missing.is_empty(), "no panel shows {missing:?}");
    gateway.stop().await;
}

#[test]
fn panels_lie_side_by_side() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().expect("an id")).collect();
    assert_eq!(ids.len(), panels.len(), "an id is there twice");
    let number = |panel: &Value, key: &str| panel["gridPos"][key].as_u64().expect("a place");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let (x, y, w, h) = (number(panel, "x"), number(panel, "y"), number(panel, "w"), number(panel, "h"));
        assert!(x + w <= 24, "{panel}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{} lies on another", panel["title"]);
        }
    }
}
