//! An OAuth provider's token endpoint, and the tokens accepted by the vendors' doubles.
//!
//! RFC 6749 sections 2.3.1, 5.1, 5.2 and 6 (refresh tokens, including rotating ones), RFC 7523 sections 2.1 and 3 (assertions of
//! service accounts). It rejects what these reject, and misbehaves on request.
//!
//! | file | is |
//! |---|---|
//! | `answers` | the endpoint's checks and responses |
//! | `assertion` | verifying a service account's JWT, and its keys |
//! | `papers` | the documents in CouchDB |

mod answers;
pub mod assertion;
pub mod papers;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{AUTHORIZATION, HeaderMap};
use hyper::service::service_fn;
use tokio::sync::watch;

pub use self::assertion::ServiceKey;
use super::serve::{Served, listen, serve};

/// The id of the grant saved by [`TokenServer::documents`].
pub const GRANT: &str = "oauth-grant";
/// The client id, which is the id of the app's document.
pub const APP: &str = "oauth-app";
/// The client secret.
pub const SECRET: &str = "canary-client-secret";
/// The refresh token.
pub const REFRESH: &str = "canary-refresh-token";
/// The id of the provider's document.
pub const PROVIDER: &str = "oauth-provider";
/// The id of a service account's app, and of its grant on a user's behalf.
pub const SERVICE: &str = "oauth-service";
/// The name of the service account.
pub const ISSUER: &str = "canary-robot@project.example";
/// The user on whose behalf the service account has a grant.
pub const SUBJECT: &str = "somebody@company.example";

/// The currently valid tokens; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Arc<Mutex<Issued>>);

/// What the endpoint does once instead of its normal behavior.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instead {
    /// Responds with this status, an optional `Retry-After`, and this text.
    Answers(u16, Option<&'static str>, &'static str),
    /// Handles the request, and closes the connection without a response.
    LosesTheAnswer,
}

#[derive(Debug)]
struct Issued {
    good: HashSet<String>,
    asked: usize,
    revoked: bool,
    /// The valid refresh tokens.
    refresh: HashSet<String>,
    /// Whether every refresh issues a new refresh token, and whether that revokes the old one.
    rotates: Option<bool>,
    secret: String,
    /// `expires_in` as sent in the response.
    lifetime: serde_json::Value,
    instead: VecDeque<Instead>,
    /// The forms received, decoded.
    forms: Vec<Vec<(String, String)>>,
    key: Option<ServiceKey>,
    /// Expected `aud` of assertions.
    audience: String,
    /// Requests wait while this is true.
    held: watch::Sender<bool>,
}

impl Default for Issued {
    fn default() -> Self {
        Self {
            good: HashSet::new(),
            asked: 0,
            revoked: false,
            refresh: HashSet::from([REFRESH.to_owned()]),
            rotates: None,
            secret: SECRET.to_owned(),
            lifetime: 3600.into(),
            instead: VecDeque::new(),
            forms: Vec::new(),
            key: None,
            audience: String::new(),
            held: watch::Sender::new(false),
        }
    }
}

impl Tokens {
    /// Returns whether a request carries a valid token.
    pub fn admit(&self, headers: &HeaderMap) -> bool {
        let given = headers.get_all(AUTHORIZATION).iter().collect::<Vec<_>>();
        let [given] = given[..] else { return false };
        given
            .to_str()
            .ok()
            .and_then(|text| text.strip_prefix("Bearer "))
            .is_some_and(|token| self.lock().good.contains(token))
    }

    /// Invalidates all tokens issued so far.
    pub fn expire(&self) {
        self.lock().good.clear();
    }

    /// Refuses all grants from now on.
    pub fn revoke(&self) {
        let mut issued = self.lock();
        issued.revoked = true;
        issued.good.clear();
    }

    /// Accepts grants again, with this as the only valid refresh token: the user has given consent again.
    pub fn consent(&self, refresh_token: &str) {
        let mut issued = self.lock();
        issued.revoked = false;
        issued.refresh = HashSet::from([refresh_token.to_owned()]);
    }

    /// Returns how many requests the endpoint has received.
    pub fn asked(&self) -> usize {
        self.lock().asked
    }

    /// Issues a valid token without a request.
    pub fn give(&self) -> String {
        self.issue()
    }

    /// Returns the forms received.
    pub fn forms(&self) -> Vec<Vec<(String, String)>> {
        self.lock().forms.clone()
    }

    /// Rotates refresh tokens from now on; with `once`, the old one is revoked.
    pub fn rotate(&self, once: bool) {
        self.lock().rotates = Some(once);
    }

    /// Returns whether a refresh token is valid.
    pub fn knows(&self, refresh_token: &str) -> bool {
        self.lock().refresh.contains(refresh_token)
    }

    /// Sets the client secret.
    pub fn secret(&self, secret: &str) {
        self.lock().secret = secret.to_owned();
    }

    /// Sets `expires_in`; null omits it.
    pub fn lifetime(&self, lifetime: impl Into<serde_json::Value>) {
        self.lock().lifetime = lifetime.into();
    }

    /// Queues what the endpoint does instead of its normal behavior.
    pub fn instead(&self, what: Instead) {
        self.lock().instead.push_back(what);
    }

    /// Holds responses until [`release`](Self::release).
    pub fn hold(&self) {
        self.lock().held.send_replace(true);
    }

    /// Releases held responses.
    pub fn release(&self) {
        self.lock().held.send_replace(false);
    }

    /// Makes this token valid.
    pub fn accept(&self, token: &str) {
        self.lock().good.insert(token.to_owned());
    }

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
    /// The tokens it has issued.
    pub tokens: Tokens,
}

impl TokenServer {
    /// Starts an endpoint that has not issued any tokens yet.
    pub async fn start() -> Self {
        let (listener, address) = listen().await;
        let tokens = Tokens::default();
        tokens.lock().audience = format!("http://{address}/token");
        let shared = tokens.clone();
        let served = serve(listener, move |_| {
            let tokens = shared.clone();
            service_fn(move |request| answers::answer(tokens.clone(), request))
        });
        Self { served, tokens }
    }

    /// Returns the URL of the token endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/token", self.served.address())
    }
}
