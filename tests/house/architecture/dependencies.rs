//! Only approved dependencies are used.

use std::fs;
use std::path::Path;

/// The checks of `cargo deny check bans sources`, for machines without it.
#[test]
fn dependencies_are_those_that_deny_toml_permits() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let parse = |name: &str| -> toml::Table {
        fs::read_to_string(root.join(name)).expect("a readable file").parse().expect("TOML")
    };
    let (rules, lock) = (parse("deny.toml"), parse("Cargo.lock"));
    let list = |table: &str, key: &str| rules[table][key].as_array().expect("an array").clone();
    let banned: Vec<_> = list("bans", "deny").iter().map(|ban| ban["crate"].clone()).collect();
    let registries = list("sources", "allow-registry");
    assert!(banned.len() > 5 && registries.len() == 1);

    let mut wrong = Vec::new();
    for package in lock["package"].as_array().expect("packages") {
        if banned.contains(&package["name"]) {
            wrong.push(format!("{} is banned", package["name"]));
        }
        // The workspace's own packages have no source.
        let source = package.get("source").and_then(toml::Value::as_str).unwrap_or_default();
        let known = registries.iter().filter_map(toml::Value::as_str).any(|url| source == format!("registry+{url}"));
        let is_own = |name: &str| name == "callstore" || name.starts_with(env!("CARGO_PKG_NAME"));
        if !known && !package["name"].as_str().is_some_and(is_own) {
            wrong.push(format!("{} comes from {source:?}", package["name"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
