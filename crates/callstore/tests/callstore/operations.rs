//! The operators' documentation matches a running call store.

use std::collections::BTreeSet;

use callstore::app::World;
use serde_json::{Value, json};

use crate::running;

const PAGE: &str = include_str!("../../../../docs/call-store.md");
const ALERTS: &str = include_str!("../../../../docs/operations/callstore-alerts.yml");
const DASHBOARD: &str = include_str!("../../../../docs/operations/callstore-dashboard.json");

/// Returns the names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("callstore_")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_alerts_and_dashboard_are_about_what_is_there() {
    let store = running::start(&[("SITES", running::NORTH)], World::default()).await;
    store.get("/v1/nodes").await;
    let scraped = store.ask("GET", "/metrics", &[], b"").await.text();
    let there: BTreeSet<_> =
        scraped.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).map(str::to_owned).collect();
    let own: BTreeSet<_> = there.iter().filter(|name| name.starts_with("callstore_")).cloned().collect();
    assert_eq!(own, names(PAGE), "docs/call-store.md has every metric, and no other");
    for (name, text) in [("alerts", ALERTS), ("dashboard", DASHBOARD)] {
        let strange: Vec<_> = names(text).difference(&own).cloned().collect();
        assert!(strange.is_empty(), "the {name} speak of {strange:?}");
    }
    assert_eq!(names(DASHBOARD), own, "every metric has its panel");
    for alert in ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(PAGE.contains(&format!("| `{alert}` |")), "docs/call-store.md says nothing of {alert}");
    }
    serde_json::from_str::<Value>(DASHBOARD).unwrap();
    store.stop().await;
}

/// A standby has no failures, and one group may have its active instance while another has none.
#[tokio::test(flavor = "multi_thread")]
async fn alerts_watch_each_group_by_the_instance_that_acts() {
    let folder = tempfile::tempdir().unwrap();
    let roles = folder.path().join("roles.json");
    let role = json!([{ "name": "one", "roletype": "callstore", "iface": "lan", "group": 11010, "order": 1 }]);
    std::fs::write(&roles, role.to_string()).unwrap();
    let settings = [("ROLES", roles.to_str().unwrap()), ("INSTANCE", "one")];
    let store = running::start(&settings, World::default()).await;
    let scraped = store.ask("GET", "/metrics", &[], b"").await.text();
    let alerts: Vec<_> = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    for name in ["callstore_active", "callstore_records_waiting"] {
        assert!(scraped.contains(&format!("{name}{{group=\"11010\"}} ")), "{scraped}");
        let of_group = format!("max by (group) ({name}");
        assert!(alerts.iter().any(|alert| alert.starts_with(&of_group)), "{alerts:?}");
    }
    assert!(alerts.iter().all(|alert| !alert.contains("min(")), "{alerts:?}");
    // All instances count the same deaths.
    let dead: Vec<_> = alerts.iter().filter(|alert| alert.contains("kind=\"dead\"")).collect();
    assert!(matches!(dead.as_slice(), [alert] if alert.starts_with("max(")), "{dead:?}");
    store.stop().await;
}

/// Such an instance would keep its group from ending calls, and a group of nothing else misses none.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_cdr_enabled_does_not_count_as_active() {
    for (other, active) in [(false, None), (true, Some("0"))] {
        let folder = tempfile::tempdir().unwrap();
        let roles = folder.path().join("roles.json");
        let role = |name: &str, order: u32, cdr: bool| json!({ "name": name, "roletype": "callstore", "iface": "lan", "group": 11010, "order": order, "cdr_enabled": cdr });
        std::fs::write(&roles, json!([role("one", 1, false), role("two", 2, other)]).to_string()).unwrap();
        let settings = [("ROLES", roles.to_str().unwrap()), ("INSTANCE", "one")];
        let store = running::start(&settings, World::default()).await;
        store.ready().await;
        let scraped = store.ask("GET", "/metrics", &[], b"").await.text();
        let shown = scraped.lines().find_map(|line| line.strip_prefix("callstore_active{group=\"11010\"} "));
        assert_eq!(shown, active, "{scraped}");
        assert_eq!(store.get("/v1/groups").await["is_active"], false);
        store.stop().await;
    }
}

#[test]
fn every_path_of_the_page_is_described() {
    let described: Value = serde_json::from_str(include_str!("../../src/api/page/openapi.json")).unwrap();
    for path in described["paths"].as_object().unwrap().keys() {
        assert!(PAGE.contains(path.as_str()), "docs/call-store.md says nothing of {path}");
    }
}
