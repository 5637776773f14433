//! OAuth access tokens: cached until shortly before they expire, and fetched once however many requests wait.
//!
//! | file | is |
//! |---|---|
//! | `authorized` | calls to a vendor's API with a token, retried once with a new one |
//! | `documents` | access to CouchDB's OAuth documents |
//! | `grant` | parsed documents: how to obtain a token |
//! | `jwt` | the assertion of a service account |
//! | `request` | requests to the provider's token endpoint |
//! | `known` | state remembered about grants between reads of their documents |
//!
//! Documented in `docs/backends/oauth.md`.

mod authorized;
mod documents;
mod grant;
mod jwt;
mod known;
mod request;
pub(super) mod steps;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::HeaderValue;
use moka::Expiry;
use moka::future::Cache;

pub(super) use self::authorized::Authorized;
use self::documents::Documents;
pub use self::documents::{Document, OAuthDocuments};
use self::grant::Way;
use self::known::{Failure, Granted, Memory};
use super::error::{Error, Kind, Result};
use crate::engine::finish::to_completion;
use stowage_base::tasks::Tasks;
use stowage_http::client::Client;

/// All tokens of the gateway; cheap to clone.
#[derive(Debug, Clone)]
pub struct OAuth(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    documents: Documents,
    client: Client,
    tasks: Tasks,
    /// How long a grant's documents are considered fresh.
    pause: Duration,
    /// Results that need no look at the documents.
    answers: Cache<Key, Timed>,
    memory: Memory,
}

/// Identifies a token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) subject: Subject,
    /// Separated by spaces (RFC 6749 section 3.3).
    pub(super) scope: &'static str,
    /// Overrides the token endpoint named in the documents.
    pub(super) endpoint: Option<String>,
}

/// The document that defines how to obtain a token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// `oauth_doc_id`: a user's grant.
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

/// A token or the reason why there is none, and how long that holds without another look.
#[derive(Debug, Clone)]
struct Timed {
    outcome: std::result::Result<Granted, Failure>,
    until: Instant,
}

struct UntilItEnds;

impl Expiry<Key, Timed> for UntilItEnds {
    fn expire_after_create(&self, _: &Key, timed: &Timed, now: Instant) -> Option<Duration> {
        Some(timed.until.saturating_duration_since(now))
    }

    fn expire_after_update(&self, _: &Key, timed: &Timed, now: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(timed.until.saturating_duration_since(now))
    }
}

impl OAuth {
    /// Creates a token cache that follows these documents.
    #[must_use]
    pub fn new(documents: Arc<dyn OAuthDocuments>, client: Client, tasks: Tasks) -> Self {
        Self::looking_every(LOOK_AGAIN, documents, client, tasks)
    }

    /// Like [`new`](Self::new), with another interval between looks at the documents.
    #[must_use]
    pub fn looking_every(pause: Duration, documents: Arc<dyn OAuthDocuments>, client: Client, tasks: Tasks) -> Self {
        let answers = Cache::builder().max_capacity(MOST_GRANTS).expire_after(UntilItEnds).build();
        let documents = Documents(documents);
        Self(Arc::new(Shared { documents, client, tasks, pause, answers, memory: Memory::new(MOST_GRANTS) }))
    }

    /// Returns whether an OAuth document with this id exists.
    ///
    /// # Errors
    /// If that cannot be determined.
    pub async fn knows(&self, id: &str) -> Result<bool> {
        self.0.documents.knows(id).await
    }

    /// Returns the value of `Authorization`.
    async fn authorization(&self, key: &Key) -> Result<HeaderValue> {
        let timed = match self.0.answers.get(key).await {
            Some(timed) => Ok(timed),
            None => self.refresh(key).await,
        };
        let granted = timed.and_then(|timed| timed.outcome.map_err(|failure| failure.error()));
        granted.map(|granted| granted.value).map_err(Error::of_login)
    }

    /// Reads the documents, and requests a token if there is no valid one; once for all waiting requests. Cancelling one of them does not
    /// affect the others' token: the provider may have rotated the refresh token already.
    async fn refresh(&self, key: &Key) -> Result<Timed> {
        let (this, key) = (self.clone(), key.clone());
        to_completion(&self.0.tasks, "OAuth token", async move {
            let looked = this.0.answers.try_get_with_by_ref(&key, this.find(&key)).await;
            looked.map_err(|error| error.again())
        })
        .await
    }

    /// Discards a token rejected by the vendor. Returns whether another request may get a new one.
    async fn renew(&self, key: &Key, refused: &HeaderValue) -> bool {
        let is_current = |timed: &Timed| timed.outcome.as_ref().is_ok_and(|granted| granted.value == *refused);
        if !self.0.memory.give_up(key, refused) {
            return false;
        }
        if self.0.answers.get(key).await.is_some_and(|timed| is_current(&timed)) {
            self.0.answers.invalidate(key).await;
        }
        true
    }

    async fn find(&self, key: &Key) -> Result<Timed> {
        let shared = &self.0;
        let soon = Instant::now() + shared.pause;
        let known = shared.memory.of(key);
        let grant = match shared.documents.read(key).await {
            Ok(grant) => grant,
            // A request with a token can do without CouchDB for a while. Only a definite statement of the documents revokes it.
            Err(error) => match known.usable().filter(|_| error.kind() != Kind::Settings) {
                Some(granted) => return Ok(Timed { until: soon.min(granted.ends), outcome: Ok(granted) }),
                None => return Err(error),
            },
        };
        if let Way::Static(value) = grant.way {
            return Ok(Timed { until: soon, outcome: Ok(Granted { value, renew_at: soon, ends: soon }) });
        }
        if let Some(granted) = known.granted(&grant) {
            return Ok(Timed { until: soon.min(granted.renew_at), outcome: Ok(granted) });
        }
        if let Some(failure) = known.refused(&grant) {
            return Ok(Timed { until: soon, outcome: Err(failure) });
        }
        match request::token(&shared.client, key, &grant, known.newest(&grant)).await {
            Ok(request::Outcome::Granted(token)) => {
                if let Some(refresh_token) = &token.rotated {
                    shared.documents.keep(&grant, refresh_token).await;
                }
                let granted = shared.memory.granted(key, &grant, token);
                Ok(Timed { until: soon.min(granted.renew_at), outcome: Ok(granted) })
            }
            Ok(request::Outcome::Refused(code)) => {
                let failure = shared.memory.refused(key, &grant, &code);
                Ok(Timed { until: soon, outcome: Err(failure) })
            }
            Err(error) => {
                let failure = Failure::passing(key, &error);
                // A delay requested by a provider applies to all its requests.
                let until = Instant::now() + error.retry_after().unwrap_or_default().min(LONGEST_REST);
                // A malformed response is not a refusal either.
                match known.usable_for(&grant) {
                    Some(granted) => Ok(Timed { until: soon.min(granted.ends), outcome: Ok(granted) }),
                    None if error.retry_after().is_some() => Ok(Timed { until, outcome: Err(failure) }),
                    None => Err(failure.error()),
                }
            }
        }
    }
}

/// Grants kept in memory; the least recently used are evicted first.
const MOST_GRANTS: u64 = 10_000;
/// How soon a change of the documents is noticed.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Maximum delay honored at a provider's request.
const LONGEST_REST: Duration = Duration::from_secs(300);
