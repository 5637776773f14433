//! An OAuth provider's token endpoint, and the tokens that the vendors' doubles accept.
//!
//! RFC 6749 sections 2.3.1, 5.1, 5.2 and 6 (refresh tokens, also ones that change with each use), RFC 7523 sections 2.1 and 3
//! (assertions of service accounts). It refuses what these refuse, and misbehaves as it is told.
//!
//! | file | is |
//! |---|---|
//! | `answers` | the endpoint: what it checks and what it says |
//! | `assertion` | checking the JWT of a service account, and its keys |
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

/// The id of the grant that [`TokenServer::documents`] saves.
pub const GRANT: &str = "oauth-grant";
/// The client id: the id of the app's document.
pub const APP: &str = "oauth-app";
/// The client's secret.
pub const SECRET: &str = "canary-client-secret";
/// The refresh token.
pub const REFRESH: &str = "canary-refresh-token";
/// The id of the provider's document.
pub const PROVIDER: &str = "oauth-provider";
/// The id of a service account's app, and of the grant that it has on a user's behalf.
pub const SERVICE: &str = "oauth-service";
/// The name of the service account.
pub const ISSUER: &str = "canary-robot@project.example";
/// On whose behalf the grant of the service account is.
pub const SUBJECT: &str = "somebody@company.example";

/// The tokens that are good now; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Arc<Mutex<Issued>>);

/// What the endpoint does once instead of what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instead {
    /// Answers with this status, a `Retry-After` if there is one, and this text.
    Answers(u16, Option<&'static str>, &'static str),
    /// Does what was asked, and closes the connection without saying so.
    LosesTheAnswer,
}

#[derive(Debug)]
struct Issued {
    good: HashSet<String>,
    asked: usize,
    revoked: bool,
    /// Which refresh tokens are good.
    refresh: HashSet<String>,
    /// Whether every refresh gives a new refresh token, and whether the old one is good no more.
    rotates: Option<bool>,
    secret: String,
    /// `expires_in`, as it stands in the answer.
    lifetime: serde_json::Value,
    instead: VecDeque<Instead>,
    /// The forms that came, decoded.
    forms: Vec<Vec<(String, String)>>,
    key: Option<ServiceKey>,
    /// `aud` of assertions.
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

    /// From now on every grant is refused.
    pub fn revoke(&self) {
        let mut issued = self.lock();
        issued.revoked = true;
        issued.good.clear();
    }

    /// From now on grants are good again, but refresh tokens only if they are this one: the user has consented anew.
    pub fn consent(&self, refresh_token: &str) {
        let mut issued = self.lock();
        issued.revoked = false;
        issued.refresh = HashSet::from([refresh_token.to_owned()]);
    }

    /// How many requests the endpoint has had.
    pub fn asked(&self) -> usize {
        self.lock().asked
    }

    /// A token that is good although none was asked for.
    pub fn give(&self) -> String {
        self.issue()
    }

    /// The forms that came.
    pub fn forms(&self) -> Vec<Vec<(String, String)>> {
        self.lock().forms.clone()
    }

    /// From now on every refresh gives a new refresh token; `once`: the old one is good no more.
    pub fn rotate(&self, once: bool) {
        self.lock().rotates = Some(once);
    }

    /// Whether a refresh token is good.
    pub fn knows(&self, refresh_token: &str) -> bool {
        self.lock().refresh.contains(refresh_token)
    }

    /// The client's secret from now on.
    pub fn secret(&self, secret: &str) {
        self.lock().secret = secret.to_owned();
    }

    /// `expires_in` from now on; null leaves it out.
    pub fn lifetime(&self, lifetime: impl Into<serde_json::Value>) {
        self.lock().lifetime = lifetime.into();
    }

    /// What the endpoint does once, after what was said before.
    pub fn instead(&self, what: Instead) {
        self.lock().instead.push_back(what);
    }

    /// Requests get no answer until [`release`](Self::release).
    pub fn hold(&self) {
        self.lock().held.send_replace(true);
    }

    /// Requests that wait get their answers.
    pub fn release(&self) {
        self.lock().held.send_replace(false);
    }

    /// From now on this token is good.
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
    /// Its tokens.
    pub tokens: Tokens,
}

impl TokenServer {
    /// Starts one that has issued nothing yet.
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

    /// The token endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/token", self.served.address())
    }
}
