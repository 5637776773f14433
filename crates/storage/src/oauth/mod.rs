//! Access tokens for vendors that want OAuth: kept until shortly before they expire, fetched once however many wait.
//!
//! | file | is |
//! |---|---|
//! | `authorized` | calls to a vendor's API with a token, repeated once with a new one |
//! | `documents` | what is asked of CouchDB's OAuth documents |
//! | `grant` | what they say: how a token is to be had |
//! | `jwt` | the assertion of a service account |
//! | `request` | asking the provider's token endpoint |
//! | `known` | what is remembered of a grant between the looks at its documents |
//!
//! `docs/backends/oauth.md` is its page.

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
use super::error::{Kind, Result};
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
    /// How long a grant's documents are believed.
    pause: Duration,
    /// What needs no look at the documents.
    answers: Cache<Key, Timed>,
    memory: Memory,
}

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) subject: Subject,
    /// Separated by spaces (RFC 6749 section 3.3).
    pub(super) scope: &'static str,
    /// The token endpoint in place of the one that the documents name.
    pub(super) endpoint: Option<String>,
}

/// Which document says how a token is to be had.
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

/// A token or why there is none, and how long that holds without another look.
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
    /// Tokens as these documents say that they are to be had.
    #[must_use]
    pub fn new(documents: Arc<dyn OAuthDocuments>, client: Client, tasks: Tasks) -> Self {
        Self::looking_every(LOOK_AGAIN, documents, client, tasks)
    }

    /// The same, believing what the documents said for this long only.
    #[must_use]
    pub fn looking_every(pause: Duration, documents: Arc<dyn OAuthDocuments>, client: Client, tasks: Tasks) -> Self {
        let answers = Cache::builder().max_capacity(MOST_GRANTS).expire_after(UntilItEnds).build();
        let documents = Documents(documents);
        Self(Arc::new(Shared { documents, client, tasks, pause, answers, memory: Memory::new(MOST_GRANTS) }))
    }

    /// Whether there is an OAuth document of this id.
    ///
    /// # Errors
    /// Where that cannot be found out.
    pub async fn knows(&self, id: &str) -> Result<bool> {
        self.0.documents.knows(id).await
    }

    /// What `Authorization` has to say.
    async fn authorization(&self, key: &Key) -> Result<HeaderValue> {
        let timed = match self.0.answers.get(key).await {
            Some(timed) => timed,
            None => self.refresh(key).await?,
        };
        timed.outcome.map(|granted| granted.value).map_err(|failure| failure.error())
    }

    /// Looks at the documents, and asks for a token where there is no good one; once for all who wait. One who gives up
    /// waiting leaves the others' token alone: the provider may have changed the refresh token already.
    async fn refresh(&self, key: &Key) -> Result<Timed> {
        let (this, key) = (self.clone(), key.clone());
        to_completion(&self.0.tasks, "OAuth token", async move {
            let looked = this.0.answers.try_get_with_by_ref(&key, this.find(&key)).await;
            looked.map_err(|error| error.again())
        })
        .await
    }

    /// The vendor does not take this token. Whether asking again gives another one.
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
            // A request with a token does not need CouchDB for a while. Only documents that say something take it away.
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
                // What a provider asks for holds for all who would ask it.
                let until = Instant::now() + error.retry_after().unwrap_or_default().min(LONGEST_REST);
                // An answer that makes no sense is no refusal either.
                match known.usable_for(&grant) {
                    Some(granted) => Ok(Timed { until: soon.min(granted.ends), outcome: Ok(granted) }),
                    None if error.retry_after().is_some() => Ok(Timed { until, outcome: Err(failure) }),
                    None => Err(failure.error()),
                }
            }
        }
    }
}

/// Grants in memory; the least used go first.
const MOST_GRANTS: u64 = 10_000;
/// How soon a change of the documents is noticed.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// The longest that a provider's wish to be left alone is respected.
const LONGEST_REST: Duration = Duration::from_secs(300);
