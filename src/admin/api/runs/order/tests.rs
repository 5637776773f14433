//! Invalid options are reported by field.

use serde_json::{Value, json};

use super::super::super::schema::Schemas;
use super::*;

fn read(kind: Kind, options: &Value) -> Result<Order, Vec<String>> {
    let schemas = Schemas::new().unwrap();
    Order::read(kind, options.as_object().unwrap(), &schemas).map_err(|failure| {
        assert_eq!(failure.status(), http::StatusCode::BAD_REQUEST);
        failure.data().as_object().unwrap().keys().cloned().collect()
    })
}

#[test]
fn everything_that_the_commands_take_is_taken() {
    let order = read(
        Kind::Migration,
        &json!({
            "databases": ["account/*-202611"], "accounts": ["0123456789abcdef0123456789abcdef"], "all": null,
            "types": ["fax"], "since": "2026-11-30", "until": "2026-11-30T12:00:00Z", "direction": "rehome", "dry_run": true,
            "compact": true, "jobs": 3, "rate": 2,
        }),
    );
    let order = order.unwrap();
    assert_eq!((order.scope.databases.len(), order.scope.accounts.len(), order.scope.all), (1, 1, false));
    assert_eq!(order.scope.until.unwrap().duration_since(order.scope.since.unwrap()).unwrap().as_secs(), 12 * 3600);
    let Work::Migration(migration) = order.work else { panic!("{order:?}") };
    assert_eq!((migration.direction, migration.dry_run, migration.compact), (Direction::Rehome, true, true));
    let order = read(
        Kind::Verification,
        &json!({"all": true, "read": true, "orphans": true, "older_than": "2h", "repair": true}),
    );
    let Work::Verification(verification) = order.unwrap().work else { panic!("no verification") };
    assert!(verification.read && !verification.remove && verification.repair);
    assert_eq!(verification.orphans, Some(Duration::from_secs(7200)));
}

#[test]
fn what_the_commands_refuse_is_refused_by_its_field() {
    for (kind, options, fields) in [
        (Kind::Migration, json!({}), &["all"][..]),
        (Kind::Migration, json!({"all": "yes"}), &["all"]),
        (Kind::Migration, json!({"all": true, "read": true}), &["read"]),
        (Kind::Migration, json!({"databases": ["a**b"]}), &["databases"]),
        (Kind::Migration, json!({"accounts": ["0123456789ABCDEF/123456789abcdef"]}), &["accounts"]),
        (Kind::Migration, json!({"all": true, "direction": "up"}), &["direction"]),
        (Kind::Migration, json!({"all": true, "since": "soon", "until": "2026-13-01"}), &["since", "until"]),
        (Kind::Migration, json!({"all": true, "jobs": 0, "rate": 0}), &["jobs", "rate"]),
        (Kind::Verification, json!({"all": true, "dry_run": true}), &["dry_run"]),
        (Kind::Verification, json!({"all": true, "remove_orphans": true}), &["remove_orphans"]),
        (Kind::Verification, json!({"databases": ["*"], "orphans": true}), &["databases"]),
        (Kind::Verification, json!({"all": true, "orphans": true, "types": ["fax"]}), &["types"]),
        (Kind::Verification, json!({"all": true, "older_than": "long"}), &["older_than"]),
    ] {
        assert_eq!(read(kind, &options).unwrap_err(), fields, "{options}");
    }
}
