//! Adopting another site, and handing it back.

use std::time::Duration;

use http::{Method, Response, StatusCode};
use serde_json::json;
use stowage_base::log;
use stowage_http::body::Body;

use super::{Api, failure, json_answer, not_allowed};

impl Api {
    /// `POST` adopts a site, so that its calls are finished here; `DELETE` hands it back. Both are idempotent.
    pub(super) async fn adopt(&self, head: http::request::Parts) -> Response<Body> {
        if let Err(answer) = self.require_operator(&head.headers, "the token is that of an account") {
            return *answer;
        }
        let name = head.uri.path().strip_prefix(BELOW).and_then(|path| path.strip_suffix("/adopt"));
        let Some(site) = self.0.others.iter().find(|site| Some(&*site.name) == name) else {
            return failure(StatusCode::NOT_FOUND, "not_found", "there is no such site in the configuration");
        };
        let is_adopted = match head.method {
            Method::POST => true,
            Method::DELETE => false,
            _ => return not_allowed("POST, DELETE"),
        };
        let mut adopted = self.0.own.state.adopted();
        if let Err(error) = self.0.own.adopt(&site.name, is_adopted).await {
            tracing::error!(error = log::chain(&error), "the journal does not take who is adopted");
            return failure(StatusCode::SERVICE_UNAVAILABLE, "journal", "the journal may not have it; say it again");
        }
        // The decision is in the journal. Waiting until it is folded here is a courtesy to the client's next request.
        let known = adopted.wait_for(|sites| sites.contains(&site.name) == is_adopted);
        let _ = tokio::time::timeout(FOLDED, known).await.is_ok();
        json_answer(StatusCode::OK, &json!({ "site": &*site.name, "is_adopted": is_adopted }))
    }
}

/// Path prefix of sites.
pub(super) const BELOW: &str = "/v1/sites/";
/// How long to wait for the fold.
const FOLDED: Duration = Duration::from_secs(5);
