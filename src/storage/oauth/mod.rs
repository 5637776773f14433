//! Access tokens for vendors that want OAuth: kept until shortly before they expire, fetched once however many wait.
//!
//! | file | is |
//! |---|---|
//! | `documents` | what CouchDB's OAuth documents say: how a token is to be had |
//! | `jwt` | the assertion of a service account |
//! | `request` | asking the provider's token endpoint |

mod documents;
mod jwt;
mod request;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use http::header::HeaderValue;
use moka::Expiry;
use moka::future::Cache;

use self::documents::Documents;
use super::api::{Api, Call, Lost, Reply};
use super::error::{Error, Kind, Result};
use crate::couch::Couch;
use crate::http::client::Client;

/// All tokens of the gateway; cheap to clone.
#[derive(Debug, Clone)]
pub struct OAuth(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    documents: Documents,
    client: Client,
    tokens: Cache<Key, Token>,
    /// Grants that a provider has refused, with the versions of the documents that described them: until one of these
    /// changes, the provider is not asked again.
    refused: Cache<Key, (String, Arc<str>)>,
}

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) subject: Subject,
    /// Separated by spaces (RFC 6749 section 3.3).
    pub(super) scope: &'static str,
    /// The token endpoint in place of the one that the provider document names.
    pub(super) endpoint: Option<String>,
}

/// Which document says how a token is to be had.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// `oauth_doc_id`: somebody's grant.
    Document(String),
    /// `oauth_app_id`: a service account.
    App(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(id) | Self::App(id) => f.write_str(id),
        }
    }
}

/// A token, or why there is none.
#[derive(Clone)]
struct Token {
    state: State,
    until: Instant,
}

#[derive(Clone)]
enum State {
    /// What `Authorization` has to say.
    Granted(HeaderValue),
    /// The provider says that the grant is not, or no longer, good.
    Revoked(Arc<str>),
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Granted(_) => "Granted",
            State::Revoked(_) => "Revoked",
        })
    }
}

struct AsTheySay;

impl Expiry<Key, Token> for AsTheySay {
    fn expire_after_create(&self, _: &Key, token: &Token, now: Instant) -> Option<Duration> {
        Some(token.until.saturating_duration_since(now))
    }

    fn expire_after_update(&self, _: &Key, token: &Token, now: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(token.until.saturating_duration_since(now))
    }
}

impl OAuth {
    /// `couch` is asked with the gateway's own account for the documents of `database`.
    #[must_use]
    pub fn new(couch: Couch, database: &str, client: Client) -> Self {
        let tokens = Cache::builder().max_capacity(MOST_TOKENS).expire_after(AsTheySay).build();
        let refused = Cache::new(MOST_TOKENS);
        Self(Arc::new(Shared { documents: Documents::new(couch, database), client, tokens, refused }))
    }

    /// What `Authorization` has to say.
    async fn authorization(&self, key: &Key) -> Result<HeaderValue> {
        let token = self.0.tokens.try_get_with_by_ref(key, self.fetch(key)).await;
        match token.map_err(|error| error.again())?.state {
            State::Granted(value) => Ok(value),
            State::Revoked(reason) => Err(Error::new(Kind::Refused, &*reason)),
        }
    }

    /// The vendor does not take this token: unless somebody else has replaced it already, the next one is a new one.
    async fn refused(&self, key: &Key, value: &HeaderValue) {
        let current = self.0.tokens.get(key).await;
        if current.is_some_and(|token| matches!(&token.state, State::Granted(current) if current == value)) {
            self.0.tokens.invalidate(key).await;
        }
    }

    async fn fetch(&self, key: &Key) -> Result<Token> {
        let shared = &self.0;
        let grant = shared.documents.read(key).await?;
        let known = shared.refused.get(key).await.filter(|(version, _)| *version == grant.version);
        if let Some((_, reason)) = known {
            return Ok(Token { state: State::Revoked(reason), until: Instant::now() + LOOK_AGAIN });
        }
        match request::token(&shared.client, grant.way, key.endpoint.is_some()).await? {
            Ok((authorization, lifetime)) => {
                shared.refused.invalidate(key).await;
                let until = Instant::now() + lifetime.saturating_sub(margin(lifetime));
                Ok(Token { state: State::Granted(authorization), until })
            }
            Err(code) => {
                let subject = &key.subject;
                let reason: Arc<str> =
                    format!("the provider refuses the grant of OAuth document {subject}: {code}").into();
                tracing::error!(document = %subject, code, "a grant was refused; it is not asked for again until its documents change");
                shared.refused.insert(key.clone(), (grant.version, Arc::clone(&reason))).await;
                Ok(Token { state: State::Revoked(reason), until: Instant::now() + LOOK_AGAIN })
            }
        }
    }
}

/// How long before its end a token is not used any more: a request takes time.
fn margin(lifetime: Duration) -> Duration {
    (lifetime / 4).min(LONGEST_MARGIN)
}

/// A vendor's API as one grant may use it.
#[derive(Debug)]
pub(super) struct Authorized {
    api: Api,
    oauth: OAuth,
    key: Key,
}

impl Authorized {
    pub(super) const fn new(api: Api, oauth: OAuth, key: Key) -> Self {
        Self { api, oauth, key }
    }

    /// The API without the token, for addresses that carry their own authorisation.
    pub(super) const fn api(&self) -> &Api {
        &self.api
    }

    /// Sends a call with the token; after a 401 once more, with a new one.
    ///
    /// # Errors
    /// Where there is no token, or no answer.
    pub(super) async fn ask(&self, call: &Call) -> std::result::Result<Reply, Lost> {
        let unsent = |error| Lost { error, seen: false };
        let first = self.oauth.authorization(&self.key).await.map_err(unsent)?;
        let reply = self.api.ask(call, Some(&first)).await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        self.oauth.refused(&self.key, &first).await;
        let doubtful = reply.doubtful;
        let seen_before = |lost: Lost| Lost { seen: lost.seen || doubtful, ..lost };
        let second = self.oauth.authorization(&self.key).await.map_err(unsent).map_err(seen_before)?;
        if second == first {
            return Ok(reply);
        }
        let mut reply = self.api.ask(call, Some(&second)).await.map_err(seen_before)?;
        reply.doubtful |= doubtful;
        Ok(reply)
    }
}

/// Tokens in memory; the least used go first.
const MOST_TOKENS: u64 = 10_000;
/// How long it takes until the documents of a refused grant are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
const LONGEST_MARGIN: Duration = Duration::from_secs(60);
