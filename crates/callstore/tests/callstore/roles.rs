//! Validation of the whole list of roles.

use callstore::roles::Roles;
use serde_json::{Value, json};

fn role(name: &str, group: i64, order: i64, domains: &[&str]) -> Value {
    json!({ "name": name, "roletype": "callstore", "iface": "lan", "group": group, "order": order, "include_domains": domains })
}

fn problems(list: &Value) -> Vec<String> {
    let problems = Roles::read(&list.to_string()).err().unwrap_or_default();
    problems.into_iter().map(|problem| format!("{} {}", problem.key, problem.message)).collect()
}

#[test]
fn a_domain_belongs_to_who_names_its_nearest_ancestor() {
    let list = json!([
        role("callstore1", 11010, 1, &[]),
        role("callstore2", 11010, 2, &[]),
        role("callstore3", 2, 1, &["example.com", "deep.branch.example.org"]),
        role("callstore4", 3, 1, &["branch.example.com", "example.org"]),
        { "name": "mgc1", "roletype": "mgc", "whatever": true },
        { "name": "off", "roletype": "callstore", "enabled": false, "group": "wrong" },
    ]);
    let roles = Roles::read(&list.to_string()).unwrap();
    for (domain, group) in [
        ("example.com", 2),
        ("a.b.example.com", 2),
        ("branch.example.com", 3),
        ("x.branch.example.com", 3),
        ("example.org", 3),
        ("deep.branch.example.org", 2),
        ("y.deep.branch.example.org", 2),
        ("branch.example.org", 3),
        ("notexample.com", 11010),
        ("com", 11010),
        ("", 11010),
    ] {
        assert_eq!(roles.owner(domain), Some(group), "{domain}");
    }
    assert_eq!(roles.all().len(), 4);
}

#[test]
fn every_problem_is_named_with_its_path() {
    let list = json!([
        role("callstore1", 1, 1, &[]),
        role("callstore1", 1, 2, &[]),
        role("callstore3", 1, 2, &["a.example"]),
        role("callstore4", 2, 1, &["a.example", "a.example"]),
        role("callstore5", 3, 1, &["b.example"]),
        role("callstore6", 4, 1, &["b.example"]),
        role("callstore7", 5, 1, &[]),
        { "name": "1st", "roletype": "callstore", "group": 0, "order": "one", "ext": "text", "unknown": 1, "sync": "never", "cdr_enabled": "yes" },
        "no object",
    ]);
    let found = problems(&list);
    for expected in [
        "roles[1].name is that of roles[0] too",
        "roles[2].order is taken in group 1 by roles[1]",
        "roles[2].include_domains differs from roles[0] of the same group",
        "roles[3].include_domains[1] is named twice",
        "roles[5].include_domains b.example is named by group 3 too",
        "roles[6].include_domains is empty, and group 1 serves the root already",
        "roles[7].name must be latin letters and digits, and begin with a letter",
        "roles[7].iface is required",
        "roles[7].group must be a whole number from 1 to 9999999",
        "roles[7].order must be a whole number",
        "roles[7].ext must be an object or a list",
        "roles[7].sync must be \"local\" or \"transactional\"",
        "roles[7].cdr_enabled must be true or false",
        "roles[7].unknown is not a known member",
        "roles[8] must be an object",
    ] {
        assert!(found.iter().any(|problem| problem == expected), "{expected} is not in {found:#?}");
    }
    assert_eq!(found.len(), 15, "{found:#?}");
    assert_eq!(
        problems(&json!([role("a1", 1, 1, &["x.example"])])),
        ["roles no group serves the root: one has to have no include_domains"]
    );
    assert_eq!(
        problems(&json!([role("a1", 1, -1, &[]), role("a2", 1, 1 << 32, &[]), role("a3", 1, (1 << 32) - 1, &[])])),
        [
            "roles[0].order must be a whole number from 0 to 4294967295",
            "roles[1].order must be a whole number from 0 to 4294967295"
        ]
    );
    assert_eq!(problems(&json!({})), ["roles must be a list"]);
}
