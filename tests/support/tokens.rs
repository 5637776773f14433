//! An OAuth provider's token endpoint, and the tokens that the vendors' doubles accept.
//!
//! RFC 6749 section 6 (refresh tokens), RFC 7523 section 2.1 (assertions).

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::gateway::Couch;
use super::serve::{Served, listen, serve};

/// The id of the grant that [`TokenServer::documents`] saves.
pub const GRANT: &str = "oauth-grant";
/// The client id: the id of the app's document.
pub const APP: &str = "oauth-app";
/// The client's secret.
pub const SECRET: &str = "canary-client-secret";
/// The refresh token.
pub const REFRESH: &str = "canary-refresh-token";
/// The id of the provider's document.
const PROVIDER: &str = "oauth-provider";

/// The tokens that are good now; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Arc<Mutex<Issued>>);

#[derive(Debug, Default)]
struct Issued {
    good: HashSet<String>,
    asked: usize,
    revoked: bool,
}

impl Tokens {
    /// Whether a request carries a good token.
    pub fn admit(&self, headers: &HeaderMap) -> bool {
        let given = headers.get_all(AUTHORIZATION).iter().collect::<Vec<_>>();
        let [given] = given[..] else { return false };
        given
            .to_str()
            .ok()
            .and_then(|text| text.strip_prefix("Bearer "))
            .is_some_and(|token| self.lock().good.contains(token))
    }

    /// Makes every token that was issued so far worthless.
    pub fn expire(&self) {
        self.lock().good.clear();
    }

    /// From now on the refresh token is refused.
    pub fn revoke(&self) {
        let mut issued = self.lock();
        issued.revoked = true;
        issued.good.clear();
    }

    /// How many requests the endpoint has had.
    pub fn asked(&self) -> usize {
        self.lock().asked
    }

    /// A new token, as the endpoint issues them.
    pub fn issue(&self) -> String {
        let token = format!("canary-access-{}", uuid::Uuid::new_v4().simple());
        self.lock().good.insert(token.clone());
        token
    }

    fn lock(&self) -> MutexGuard<'_, Issued> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running token endpoint.
#[derive(Debug)]
pub struct TokenServer {
    served: Served,
    /// Its tokens.
    pub tokens: Tokens,
}

impl TokenServer {
    /// Starts one that has issued nothing yet.
    pub async fn start() -> Self {
        let (listener, _) = listen().await;
        let tokens = Tokens::default();
        let shared = tokens.clone();
        let served = serve(listener, move |_| {
            let tokens = shared.clone();
            service_fn(move |request| answer(tokens.clone(), request))
        });
        Self { served, tokens }
    }

    /// The token endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/token", self.served.address())
    }

    /// Saves the documents of a grant ([`GRANT`]) of this provider in `system_auth`.
    pub async fn documents(&self, couch: &Couch) {
        couch.request("PUT", "/system_auth", "", b"").await;
        for (id, document) in [
            (GRANT, json!({ "pvt_app_id": APP, "pvt_refresh_token": REFRESH })),
            (APP, json!({ "pvt_secret": SECRET, "pvt_auth_provider": PROVIDER })),
            (PROVIDER, json!({ "auth_url": self.url() })),
        ] {
            let target = format!("/system_auth/{id}");
            let saved = couch.request("PUT", &target, "application/json", document.to_string().as_bytes()).await;
            assert_eq!(saved.status, 201, "{saved:?}");
        }
    }
}

async fn answer(tokens: Tokens, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    tokens.lock().asked += 1;
    let form_type = "application/x-www-form-urlencoded";
    let sound = request.method() == Method::POST
        && request.uri().path() == "/token"
        && request.headers().get(CONTENT_TYPE).is_some_and(|value| value == form_type);
    let body = request.into_body().collect().await?.to_bytes();
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    if !sound || field("grant_type") != "refresh_token" {
        return Ok(reply(StatusCode::BAD_REQUEST, &json!({ "error": "invalid_request" })));
    }
    if field("client_id") != APP || field("client_secret") != SECRET {
        return Ok(reply(StatusCode::UNAUTHORIZED, &json!({ "error": "invalid_client" })));
    }
    if field("refresh_token") != REFRESH || tokens.lock().revoked {
        let refusal = json!({ "error": "invalid_grant", "error_description": "Token has been expired or revoked." });
        return Ok(reply(StatusCode::BAD_REQUEST, &refusal));
    }
    Ok(reply(StatusCode::OK, &json!({ "access_token": tokens.issue(), "token_type": "Bearer", "expires_in": 3600 })))
}

fn reply(status: StatusCode, document: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(document.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, "application/json".parse().expect("a media type"));
    response
}
