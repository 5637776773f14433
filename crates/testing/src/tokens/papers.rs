//! The OAuth documents in CouchDB.

use serde_json::{Value, json};

use super::super::gateway::{self, Couch};
use super::{APP, GRANT, ISSUER, PROVIDER, REFRESH, SECRET, SERVICE, SUBJECT, ServiceKey, TokenServer};

impl TokenServer {
    /// Saves the documents of a grant ([`GRANT`]) from this provider in the test's database of OAuth documents.
    pub async fn documents(&self, couch: &Couch) {
        couch.request("PUT", &format!("/{}", couch.auth), "", b"").await;
        for (id, document) in [
            (GRANT, json!({ "pvt_app_id": APP, "pvt_refresh_token": REFRESH })),
            (APP, json!({ "pvt_secret": SECRET, "pvt_auth_provider": PROVIDER })),
            (PROVIDER, json!({ "auth_url": self.url() })),
        ] {
            save(couch, id, &document).await;
        }
    }

    /// Saves the documents of a service account and registers its key; `members` are added to its app ([`SERVICE`]). The provider's document
    /// is that of [`documents`](Self::documents), with KAZOO's `jwt_flow`.
    pub async fn service_account(&self, couch: &Couch, key: &ServiceKey, members: Value) {
        self.tokens.lock().key = Some(key.clone());
        let flow = json!({ "audience": self.url(), "auth_url": self.url(), "claims": ["iat", "exp"], "sub": "email" });
        change(couch, PROVIDER, |provider| provider["jwt_flow"] = flow).await;
        let mut app = json!({ "pvt_auth_provider": PROVIDER, "jwt_flow": { "iss": ISSUER } });
        for (name, value) in members.as_object().expect("an object") {
            app[name] = value.clone();
        }
        save(couch, SERVICE, &app).await;
    }

    /// Saves a grant ([`GRANT`]) of the service account on a user's behalf.
    pub async fn on_behalf(&self, couch: &Couch) {
        change(couch, GRANT, |grant| {
            *grant = json!({
                "_id": GRANT, "_rev": grant["_rev"], "pvt_app_id": SERVICE, "profile": { "email": SUBJECT },
            });
        })
        .await;
    }
}

/// Saves a new OAuth document.
pub async fn save(couch: &Couch, id: &str, document: &Value) {
    couch.save(&format!("/{}/{id}", couch.auth), document).await;
}

/// Reads an OAuth document.
pub async fn load(couch: &Couch, id: &str) -> Value {
    gateway::json(&couch.request("GET", &format!("/{}/{id}", couch.auth), "", b"").await)
}

/// Changes an OAuth document.
pub async fn change(couch: &Couch, id: &str, how: impl FnOnce(&mut Value)) {
    let mut document = load(couch, id).await;
    how(&mut document);
    save(couch, id, &document).await;
}
