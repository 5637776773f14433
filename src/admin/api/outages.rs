//! The health of storages.

use serde_json::{Value, json};
use stowage_storage::Standing;

use crate::gateway::Gateway;

/// Returns the recently used storages, those that are down first.
pub(super) fn health(gateway: &Gateway) -> Value {
    let mut standings: Vec<_> = gateway.storages.standings().collect();
    standings.sort_by(|one, other| (one.down.is_none(), &one.storage).cmp(&(other.down.is_none(), &other.storage)));
    standings.into_iter().map(shown).collect()
}

fn shown(standing: Standing) -> Value {
    let breaker = match (&standing.down, standing.is_probed) {
        (None, _) => "closed",
        (Some(_), false) => "open",
        (Some(_), true) => "half_open",
    };
    let (since, why) = standing.down.unzip();
    json!({
        "id": standing.storage,
        "handler": standing.handler,
        "breaker": breaker,
        "in_flight": standing.in_flight,
        "in_flight_limit": standing.in_flight_limit,
        "window": {
            "seconds": standing.window.as_secs(),
            "requests": standing.failed + standing.answered,
            "failures": standing.failed,
            "opens_at": standing.opens_at,
        },
        "down_since": since.map(|since| humantime::format_rfc3339_seconds(since).to_string()),
        "reason": why,
    })
}
