//! What waits to be done later, and which storages answer.

use serde_json::{Value, json};

use super::Api;
use super::envelope::{Failure, Success};
use super::request::Query;
use crate::gateway::Gateway;

impl Api {
    /// A hundred jobs, in the order of their ids; `start_key` is where an earlier answer ended.
    pub(super) async fn jobs(&self, query: &Query) -> Result<Success, Failure> {
        let from = query.get("start_key").unwrap_or_default();
        let page = self.0.gateway.jobs.page(from).await.map_err(Failure::queue)?;
        Ok(Success::new(json!({ "jobs": page.jobs, "next_start_key": page.next }), None))
    }
}

/// The storages that were used lately, those that do not answer first.
pub(super) fn health(gateway: &Gateway) -> Value {
    let mut standings: Vec<_> = gateway.storages.standings().collect();
    standings.sort_by(|one, other| (one.down.is_none(), &one.storage).cmp(&(other.down.is_none(), &other.storage)));
    let shown = standings.into_iter().map(|standing| {
        let (since, why) = standing.down.unzip();
        json!({
            "id": standing.storage,
            "handler": standing.handler,
            "in_flight": standing.in_flight,
            "down_since": since.map(|since| humantime::format_rfc3339_seconds(since).to_string()),
            "reason": why,
        })
    });
    shown.collect()
}
