//! Checkpoints: the progress of a replication, recorded at both ends.

use serde_json::{Map, Value, json};

use super::peer::{Peer, members};

/// The checkpoint at one end.
#[derive(Clone, Debug, Default)]
pub(super) struct Checkpoint {
    rev: Option<String>,
    session: Option<String>,
    seq: Value,
    history: Vec<Value>,
}

impl Checkpoint {
    pub(super) async fn read(peer: &Peer, id: &str) -> Result<Self, String> {
        let rest = format!("/_local/{id}");
        let answer = peer.ask("GET", &rest, &[("Accept", "application/json")], b"").await;
        let document = members(&answer, &[200, 404], &format!("GET {rest}"))?;
        if answer.status == 404 {
            return match document.get("error").and_then(Value::as_str) {
                Some("not_found") => Ok(Self::default()),
                other => Err(format!("GET {rest}: {other:?} instead of not_found")),
            };
        }
        let text = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            rev: Some(text("_rev").ok_or("a checkpoint without a revision")?),
            session: text("session_id"),
            seq: document.get("source_last_seq").cloned().unwrap_or_default(),
            history: document.get("history").and_then(Value::as_array).cloned().unwrap_or_default(),
        })
    }

    /// Returns where both ends agree: the newest session known to both. 0 if there is none.
    pub(super) fn common(&self, other: &Self) -> Value {
        if self.session.is_some() && self.session == other.session {
            return self.seq.clone();
        }
        let known = |session: &Value| other.history.iter().any(|entry| entry["session_id"] == *session);
        let found = self.history.iter().find(|entry| known(&entry["session_id"]));
        found.map_or_else(|| json!(0), |entry| entry["recorded_seq"].clone())
    }

    /// Records the progress of a session.
    pub(super) async fn write(&self, peer: &Peer, id: &str, session: &Map<String, Value>) -> Result<(), String> {
        let mut history = vec![Value::Object(session.clone())];
        history.extend(self.history.iter().take(49).cloned());
        let mut document = json!({
            "_id": format!("_local/{id}"),
            "session_id": session["session_id"],
            "source_last_seq": session["recorded_seq"],
            "replication_id_version": 4,
            "history": history,
        });
        if let Some(rev) = &self.rev {
            document["_rev"] = rev.as_str().into();
        }
        let rest = format!("/_local/{id}");
        let headers = [("Content-Type", "application/json")];
        let answer = peer.ask("PUT", &rest, &headers, document.to_string().as_bytes()).await;
        let saved = members(&answer, &[201], &format!("PUT {rest}"))?;
        match saved.get("rev").and_then(Value::as_str) {
            Some(rev) if rev.starts_with("0-") => Ok(()),
            other => Err(format!("PUT {rest}: {other:?} is no revision of a local document")),
        }
    }
}
