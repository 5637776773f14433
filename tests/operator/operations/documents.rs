//! `docs/operations.md`: metrics, labels and log lines match a running gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use stowage_storage::DRIVERS;

use super::exposition::Exposition;
use super::scrape::{experienced, scrape, value};
use stowage_testing::gateway::Setup;

const OPERATIONS: &str = include_str!("../../../docs/operations.md");

/// Returns the rows of the table below the heading, without backquotes around the cells.
fn table(heading: &str) -> Vec<Vec<String>> {
    let section = OPERATIONS.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}")).1;
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.skip(2).map(cells).collect()
}

/// Returns the words in backquotes in a cell.
fn quoted(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Returns the possible values of a label, if documented.
pub fn values(label: &str) -> Option<BTreeSet<String>> {
    let row = table("### Labels").into_iter().find(|row| quoted(&row[0]).contains(label))?;
    let values = quoted(&row[1]);
    (!values.is_empty()).then_some(values)
}

/// Returns the documented alerts.
pub fn alerts() -> BTreeSet<String> {
    table("## Alerts").iter().flat_map(|row| quoted(&row[0])).collect()
}

/// Returns the kind and the labels of every metric.
fn described(exposition: &Exposition) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let labels = |name: &str| exposition[name].labels().into_iter().map(str::to_owned).collect();
    exposition.iter().map(|(name, family)| (name.clone(), (family.kind.clone(), labels(name)))).collect()
}

/// Returns the source of the programs.
fn sources() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = |path: PathBuf| {
        fs::read_dir(path).expect("a readable folder").map(|entry| entry.expect("a readable entry").path())
    };
    let mut pending: Vec<PathBuf> = entries(root.join("crates")).map(|path| path.join("src")).collect();
    pending.push(root.join("src"));
    let mut text = String::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(entries(path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).expect("a readable file"));
        }
    }
    text
}

#[tokio::test]
async fn the_metrics_are_those_that_exist() {
    let gateway = experienced().await;
    let found = scrape(&gateway).await;
    let documented = table("### Every metric").into_iter().map(|row| {
        let name = quoted(&row[0]).pop_first().expect("a name");
        (name, (row[1].clone(), quoted(&row[2])))
    });
    assert_eq!(documented.collect::<BTreeMap<_, _>>(), described(&found));
    for sample in found.values().flat_map(|family| &family.samples) {
        for (label, value) in &sample.labels {
            if let Some(known) = values(label) {
                assert!(known.contains(value), "{label}={value} of {} is not documented", sample.name);
            }
        }
    }
    let backends: BTreeSet<_> = DRIVERS.iter().map(|driver| driver.handler.to_owned()).collect();
    let shown = found["stowage_backend_requests_total"].samples.iter().map(|sample| sample.labels["backend"].clone());
    assert_eq!(shown.collect::<BTreeSet<_>>(), backends);
    gateway.stop().await;
}

#[tokio::test]
async fn what_can_be_counted_is_there_from_the_start() {
    let (fresh, used) = (Setup::default().start().await, experienced().await);
    let (begins, all) = (scrape(&fresh).await, scrape(&used).await);
    let later: Vec<_> = all.keys().filter(|name| !begins.contains_key(*name)).collect();
    assert_eq!(later, ["stowage_backend_seconds", "stowage_requests_total"]);
    for (name, labels) in [
        ("stowage_objects_left_total", &[][..]),
        ("stowage_request_seconds_count", &[("route", "shed")]),
        ("stowage_backend_requests_total", &[("backend", "file"), ("operation", "get"), ("outcome", "missing")]),
    ] {
        assert!(value(&begins, name, labels).abs() < 0.5, "{name}");
    }
    for gateway in [fresh, used] {
        gateway.stop().await;
    }
}

#[test]
fn the_lines_shown_are_lines_of_this_program() {
    let fields = table("### The access line").iter().flat_map(|row| quoted(&row[0])).collect::<BTreeSet<_>>();
    let shown = OPERATIONS.lines().filter(|line| line.starts_with('{') && line.ends_with('}'));
    let mut access = 0;
    for line in shown {
        let line = super::access::checked(line, false);
        if line["message"] == "answered" {
            access += 1;
            let known: BTreeSet<String> = line.keys().cloned().collect();
            assert!(known.is_subset(&fields), "{known:?} has more than {fields:?}");
        }
    }
    assert!(access >= 2, "no access line is shown");
    let real = super::access::full_line();
    let keys: BTreeSet<String> = real.keys().cloned().collect();
    assert_eq!(keys, fields, "{real:?}");
}

#[test]
fn the_messages_of_the_log_are_those_of_the_programs() {
    let (rows, sources) = (table("## Logs"), sources());
    assert!(rows.len() >= 10, "{rows:?}");
    for row in rows {
        let message = quoted(&row[0]).pop_first().expect("a message");
        let said = message.strip_suffix(" ...").map_or_else(|| format!("\"{message}\""), |start| format!("\"{start}"));
        assert!(sources.contains(&said), "no log line is {message}");
    }
}

#[test]
fn every_key_of_the_sections_is_explained() {
    for key in ["log.format", "log.level", "log.access", "telemetry.otlp", "telemetry.sample", "admin.address"] {
        assert!(OPERATIONS.contains(&format!("`{key}")), "{key}");
    }
}
