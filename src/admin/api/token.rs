//! Who may use the storage API. Tokens are compared by their SHA-256, in constant time.

use http::header::{AUTHORIZATION, HeaderMap};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::route::Operation;
use crate::config;

/// The tokens of the configuration.
#[derive(Debug)]
pub struct Tokens(Vec<Known>);

struct Known {
    digest: [u8; 32],
    account: Option<String>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("account", &self.account).finish_non_exhaustive()
    }
}

/// Whose token was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    /// An operator, who reaches everything.
    Operator,
    /// A holder who reaches this account alone.
    Account(String),
}

impl Holder {
    /// Whether an operation is within reach.
    pub(super) fn may_reach(&self, operation: &Operation) -> bool {
        match self {
            Self::Operator => true,
            Self::Account(own) => operation.account().is_some_and(|account| account.as_str() == own),
        }
    }
}

impl Tokens {
    /// From `admin.tokens`.
    #[must_use]
    pub fn new(tokens: &[config::Token]) -> Self {
        let known = tokens.iter().filter_map(|token| {
            let text = token.secret.expose();
            let digest = match text.strip_prefix("sha256:") {
                Some(digest) => hex::decode(digest).ok()?.try_into().ok()?,
                None => Sha256::digest(text).into(),
            };
            Some(Known { digest, account: token.account.clone() })
        });
        Self(known.collect())
    }

    /// Whether there is none: then nothing is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose token this is.
    pub(super) fn holder(&self, given: Option<&[u8]>) -> Option<Holder> {
        let digest = Sha256::digest(given?);
        let mut holder = None;
        // Every one is looked at: how long it takes tells nothing.
        for known in &self.0 {
            if bool::from(known.digest.ct_eq(digest.as_slice())) {
                holder = holder.or(Some(known));
            }
        }
        holder.map(|known| known.account.clone().map_or(Holder::Operator, Holder::Account))
    }
}

/// The token of a request: `X-Auth-Token`, else `Authorization: Bearer`.
pub(super) fn given(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(token) = headers.get("x-auth-token") {
        return Some(token.as_bytes());
    }
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{Holder, Tokens, given};
    use crate::config::Token;
    use stowage_base::secret::Secret;

    #[test]
    fn tokens_are_texts_or_digests_and_may_be_bound() {
        let token = |text: &str, account: Option<&str>| Token {
            secret: Secret::new(text),
            account: account.map(str::to_owned),
        };
        let digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let tokens = Tokens::new(&[token("one", None), token(digest, Some("acc"))]);
        assert_eq!(tokens.holder(Some(b"one")), Some(Holder::Operator));
        assert_eq!(tokens.holder(Some(b"abc")), Some(Holder::Account("acc".into())));
        for other in [&b"on"[..], b"onee", b"", digest.as_bytes()] {
            assert_eq!(tokens.holder(Some(other)), None);
        }
        assert_eq!(tokens.holder(None), None);
        assert_eq!(Tokens::new(&[]).holder(Some(b"")), None);
    }

    #[test]
    fn a_token_is_in_one_of_two_headers() {
        let mut headers = HeaderMap::new();
        assert_eq!(given(&headers), None);
        headers.insert("authorization", "bearer  b".parse().unwrap());
        assert_eq!(given(&headers), Some(&b"b"[..]));
        headers.insert("x-auth-token", "a".parse().unwrap());
        assert_eq!(given(&headers), Some(&b"a"[..]));
        let mut basic = HeaderMap::new();
        basic.insert("authorization", "Basic YTpi".parse().unwrap());
        assert_eq!(given(&basic), None);
    }
}
