//! What the reason in CouchDB's response to a failed request says.

/// Returns whether a 404 is due to a deleted document.
#[must_use]
pub fn is_deleted(body: &[u8]) -> bool {
    reason(body).is_some_and(|reason| reason == "deleted")
}

/// Returns whether a 404 is CouchDB's own about a document that it does not have, rather than a proxy's.
#[must_use]
pub fn is_without_document(body: &[u8]) -> bool {
    reason(body).is_some_and(|reason| reason == "missing" || reason == "deleted")
}

/// Returns whether a 404 is due to a missing database.
#[must_use]
pub fn is_without_database(body: &[u8]) -> bool {
    reason(body).is_some_and(|reason| reason.starts_with(NO_DATABASE))
}

fn reason(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Refusal {
        reason: String,
    }
    serde_json::from_slice::<Refusal>(body).ok().map(|refusal| refusal.reason)
}

/// Prefix of CouchDB's reason for a missing database.
const NO_DATABASE: &str = "Database does not exist";
