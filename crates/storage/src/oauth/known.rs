//! State remembered about grants between reads of their documents.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use http::header::HeaderValue;
use moka::sync::Cache;
use stowage_base::secret::Secret;

use super::Key;
use super::grant::Grant;
use super::request::Token;
use crate::error::{Error, Kind};

/// A usable token.
#[derive(Clone)]
pub(super) struct Granted {
    /// The value of `Authorization`.
    pub(super) value: HeaderValue,
    /// When to request a new one: shortly before it expires.
    pub(super) renew_at: Instant,
    pub(super) ends: Instant,
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Granted")
    }
}

/// Why there is no token, shared by all waiting requests.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    kind: Kind,
    status: Option<StatusCode>,
    message: Arc<str>,
    /// The provider's error code (RFC 6749 section 5.2), if it refused.
    code: Arc<str>,
    /// No earlier retry will succeed.
    again: Option<Instant>,
}

impl Failure {
    /// `error` is the result of the request to the provider.
    pub(super) fn passing(key: &Key, error: &Error) -> Self {
        let message = format!("no token for OAuth document {}: {}", key.subject, error.text()).into();
        let again = error.retry_after().map(|pause| Instant::now() + pause);
        Self { kind: error.kind(), status: error.status(), message, code: "".into(), again }
    }

    pub(super) fn error(&self) -> Error {
        let pause = self.again.map(|again| again.saturating_duration_since(Instant::now()));
        let error = Error::new(self.kind, &*self.message).saying(self.code.as_bytes()).after(pause);
        match self.status {
            Some(status) => error.with_status(status),
            None => error,
        }
    }
}

/// All grants.
#[derive(Debug)]
pub(super) struct Memory(Cache<Key, Known>);

/// One grant; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(Arc<Mutex<Facts>>);

#[derive(Debug, Default)]
struct Facts {
    /// With the [`Grant::basis`] it was issued for.
    token: Option<(String, Granted)>,
    /// With the [`Grant::version`] it applies to.
    refusal: Option<Refusal>,
    /// The newest refresh token, and the one in the document that it replaces.
    newest: Option<(Secret, Secret)>,
    renewals: Renewals,
}

#[derive(Debug)]
struct Refusal {
    version: String,
    failure: Failure,
    /// When a retry is worthwhile although no document has changed.
    until: Option<Instant>,
}

/// How often a vendor has recently rejected a token.
#[derive(Debug, Default)]
struct Renewals {
    since: Option<Instant>,
    count: u8,
}

impl Memory {
    pub(super) fn new(most: u64) -> Self {
        Self(Cache::new(most))
    }

    pub(super) fn of(&self, key: &Key) -> Known {
        self.0.get_with_by_ref(key, Known::default)
    }

    /// Records a token issued by the provider.
    pub(super) fn granted(&self, key: &Key, grant: &Grant, token: Token) -> Granted {
        let (now, known) = (Instant::now(), self.of(key));
        let mut facts = known.facts();
        let renew_at = now + token.lifetime.saturating_sub(margin(token.lifetime));
        let granted = Granted { value: token.value, renew_at, ends: now + token.lifetime };
        facts.token = Some((grant.basis.clone(), granted.clone()));
        facts.refusal = None;
        if let (Some(newest), Some(from)) = (token.rotated, grant.refresh_token()) {
            facts.newest = Some((newest, from.clone()));
        }
        granted
    }

    /// Records that the provider refuses a grant, and logs that once.
    pub(super) fn refused(&self, key: &Key, grant: &Grant, code: &str) -> Failure {
        let (known, subject) = (self.of(key), &key.subject);
        let message = format!("the provider refuses the grant of OAuth document {subject}: {code}");
        let failure =
            Failure { kind: Kind::Refused, status: None, message: message.into(), code: code.into(), again: None };
        let mut facts = known.facts();
        let is_news = facts.refusal.as_ref().is_none_or(|before| before.failure.message != failure.message);
        // An assertion is also refused while this machine's clock is wrong, and anything but `invalid_grant` can be fixed at the
        // provider, without changing a document: by re-enabling an app, or changing a policy or scope.
        let for_good = grant.refresh_token().is_some() && code.split('/').next() == Some("invalid_grant");
        let until = (!for_good).then(|| Instant::now() + ASK_AGAIN);
        facts.token = None;
        facts.refusal = Some(Refusal { version: grant.version.clone(), failure: failure.clone(), until });
        drop(facts);
        if is_news {
            tracing::error!(document = %subject, code, "a grant is refused; it is asked for again when its documents change");
        }
        failure
    }

    /// Discards a token rejected by a vendor; returns false if that has happened too often recently.
    pub(super) fn give_up(&self, key: &Key, refused: &HeaderValue) -> bool {
        let known = self.of(key);
        let mut facts = known.facts();
        if facts.token.as_ref().is_none_or(|(_, granted)| granted.value != *refused) {
            // Another request has already discarded it.
            return true;
        }
        if !facts.renewals.one_more(Instant::now()) {
            return false;
        }
        facts.token = None;
        true
    }
}

impl Known {
    /// Returns a valid token, whatever the documents now say.
    pub(super) fn usable(&self) -> Option<Granted> {
        let facts = self.facts();
        facts.token.as_ref().map(|(_, granted)| granted).filter(|granted| granted.ends > Instant::now()).cloned()
    }

    /// Returns a valid token of this very grant: if the document now names another person, there is none yet.
    pub(super) fn usable_for(&self, grant: &Grant) -> Option<Granted> {
        let facts = self.facts();
        let (basis, granted) = facts.token.as_ref()?;
        (granter(basis) == granter(&grant.basis) && granted.ends > Instant::now()).then(|| granted.clone())
    }

    /// Returns a token that need not be renewed yet.
    pub(super) fn granted(&self, grant: &Grant) -> Option<Granted> {
        let facts = self.facts();
        let (basis, granted) = facts.token.as_ref()?;
        (*basis == grant.basis && granted.renew_at > Instant::now()).then(|| granted.clone())
    }

    /// Returns why a request would be futile.
    pub(super) fn refused(&self, grant: &Grant) -> Option<Failure> {
        let facts = self.facts();
        let refusal = facts.refusal.as_ref().filter(|refusal| refusal.version == grant.version)?;
        refusal.until.is_none_or(|until| until > Instant::now()).then(|| refusal.failure.clone())
    }

    /// Returns the rotated refresh token, if it could not be saved to the document.
    pub(super) fn newest(&self, grant: &Grant) -> Option<Secret> {
        let facts = self.facts();
        let (newest, from) = facts.newest.as_ref()?;
        (grant.refresh_token() == Some(from)).then(|| newest.clone())
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the part of [`Grant::basis`] about the grant's own document.
fn granter(basis: &str) -> Option<&str> {
    basis.split(' ').next()
}

impl Renewals {
    fn one_more(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) > A_WHILE) {
            *self = Self { since: Some(now), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= MOST_RENEWALS
    }
}

/// Returns how long before its expiry a token is no longer used: a request takes time.
fn margin(lifetime: Duration) -> Duration {
    (lifetime / 4).min(LONGEST_MARGIN)
}

const LONGEST_MARGIN: Duration = Duration::from_secs(60);
/// Some vendors respond with 401 for more than invalid tokens: then new tokens do not help, and the provider must not be flooded.
const MOST_RENEWALS: u8 = 6;
const A_WHILE: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{A_WHILE, MOST_RENEWALS, Renewals, margin};

    #[test]
    fn a_token_is_renewed_shortly_before_its_end() {
        for (lifetime, expected) in [(3600, 60), (240, 60), (100, 25), (0, 0)] {
            assert_eq!(margin(Duration::from_secs(lifetime)), Duration::from_secs(expected), "{lifetime}");
        }
    }

    #[test]
    fn tokens_are_not_renewed_for_ever() {
        let (mut renewals, now) = (Renewals::default(), Instant::now());
        for _ in 0..MOST_RENEWALS {
            assert!(renewals.one_more(now));
        }
        assert!(!renewals.one_more(now + A_WHILE));
        assert!(renewals.one_more(now + A_WHILE + Duration::from_secs(1)));
    }
}
