//! API tokens. They are compared by their SHA-256 digest, in constant time.

use http::header::{AUTHORIZATION, HeaderMap};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use toml::Value;

use crate::reader::Section;
use crate::secret::{self, Secret};

/// An API token.
#[derive(Debug, Clone)]
pub struct Token {
    /// The token, or `sha256:` followed by its hex digest.
    pub secret: Secret,
    /// The only account it grants access to; `None` grants access to everything.
    pub account: Option<String>,
}

/// The configured tokens.
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

/// The holder of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// An operator, with access to everything.
    Operator,
    /// A tenant, with access to this account only.
    Account(String),
}

impl Tokens {
    /// Digests the configured tokens.
    #[must_use]
    pub fn new(tokens: &[Token]) -> Self {
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

    /// Returns whether no token is configured, in which case all access is denied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the holder of the given token.
    #[must_use]
    pub fn holder(&self, given: Option<&[u8]>) -> Option<Holder> {
        let digest = Sha256::digest(given?);
        let mut holder = None;
        // Compares with every token, so that timing reveals nothing.
        for known in &self.0 {
            if bool::from(known.digest.ct_eq(digest.as_slice())) {
                holder = holder.or(Some(known));
            }
        }
        holder.map(|known| known.account.clone().map_or(Holder::Operator, Holder::Account))
    }
}

/// Reads the `tokens` list of a section.
pub fn read(section: &mut Section<'_>) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (index, value) in section.list("tokens").into_iter().enumerate() {
        match token(value) {
            Ok(token) => tokens.push(token),
            Err(message) => section.problem(&format!("tokens.{index}"), message),
        }
    }
    tokens
}

fn token(value: Value) -> Result<Token, String> {
    let (value, account) = match value {
        Value::Table(mut table) if table.contains_key("token") => {
            let account = match table.remove("account") {
                None => None,
                Some(Value::String(account)) => Some(account),
                Some(_) => return Err("account must be a text".to_owned()),
            };
            let secret = table.remove("token").unwrap_or(Value::Boolean(false));
            if let Some(unknown) = table.keys().next() {
                return Err(format!("{unknown} is not a known key"));
            }
            (secret, account)
        }
        value => (value, None),
    };
    let secret = secret::read(value)?;
    let text = secret.expose();
    let digest = text.strip_prefix("sha256:");
    if digest.is_some_and(|hex| hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Err("sha256: must be followed by 64 hex digits".to_owned());
    }
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    Ok(Token { secret, account })
}

/// Returns the token of a request: `X-Auth-Token`, else `Authorization: Bearer`.
#[must_use]
pub fn given(headers: &HeaderMap) -> Option<&[u8]> {
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

    use super::{Holder, Token, Tokens, given};
    use crate::secret::Secret;

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
