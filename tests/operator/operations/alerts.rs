//! `docs/operations/alerts.yml`: well-formed, complete, and only with existing metrics.

use std::collections::BTreeSet;

use super::documents::{alerts, values};
use super::queries::{faults, parse};
use super::scrape::{experienced, scrape};

const ALERTS: &str = include_str!("../../../docs/operations/alerts.yml");

struct Rule {
    name: String,
    lines: Vec<(String, String)>,
}

impl Rule {
    fn get(&self, key: &str) -> &str {
        let found = self.lines.iter().find(|(name, _)| name == key);
        &found.unwrap_or_else(|| panic!("{} has no {key}", self.name)).1
    }
}

/// Parses the subset of YAML in the file: all rules have the same lines, each with a key and a plain or quoted string.
fn rules() -> Vec<Rule> {
    let mut lines = ALERTS.lines().skip_while(|line| line.starts_with('#'));
    for expected in ["groups:", "  - name: stowage", "    rules:"] {
        assert_eq!(lines.next(), Some(expected));
    }
    let mut rules: Vec<Rule> = Vec::new();
    for line in lines {
        if let Some(name) = line.strip_prefix("      - alert: ") {
            rules.push(Rule { name: name.to_owned(), lines: Vec::new() });
            continue;
        }
        let rule = rules.last_mut().expect("a rule");
        let keys: &[&str] = &["expr", "for", "labels", "  severity", "annotations", "  summary"];
        let (key, value) = line.strip_prefix("        ").and_then(|line| line.split_once(':')).expect("a key");
        assert_eq!(Some(&key), keys.get(rule.lines.len()), "{}", rule.name);
        let text = value.strip_prefix(' ').unwrap_or(value);
        let quoted = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
        let plain = !text.contains(": ") && !text.contains(" #") && !text.starts_with(['{', '[', '\'', '"', '&', '*']);
        assert!(quoted.map_or(plain, |quoted| !quoted.contains('\'')), "{line}");
        rule.lines.push((key.trim().to_owned(), quoted.unwrap_or(text).to_owned()));
    }
    rules
}

#[test]
fn every_alert_is_whole_and_explained() {
    let mut names = BTreeSet::new();
    for rule in rules() {
        assert!(names.insert(rule.name.clone()), "{} is there twice", rule.name);
        assert!(["page", "ticket"].contains(&rule.get("severity")), "{}", rule.name);
        let wait = rule.get("for").strip_suffix('m').and_then(|minutes| minutes.parse::<u32>().ok());
        assert!(wait.is_some(), "{}", rule.name);
        assert!(!rule.get("summary").is_empty(), "{}", rule.name);
    }
    assert_eq!(names, alerts());
}

#[tokio::test]
async fn alerts_use_only_what_exists() {
    let gateway = experienced().await;
    let exposition = scrape(&gateway).await;
    for rule in rules() {
        let query = parse(rule.get("expr")).unwrap_or_else(|fault| panic!("{}: {fault}", rule.name));
        let faults = faults(&query, &exposition, &values);
        assert!(faults.is_empty(), "{}: {faults:?}", rule.name);
        for label in rule.get("summary").split("$labels.").skip(1) {
            let label: String = label.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let grouped = query.groups.is_empty() || query.groups.contains(&label);
            assert!(grouped, "{}: {label} is not in the result", rule.name);
        }
    }
    gateway.stop().await;
}
