//! Requests to a provider's token endpoint (RFC 6749 sections 5 and 6).

use std::fmt;
use std::time::Duration;

use http::header::{ACCEPT, HeaderValue};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use stowage_base::secret::Secret;
use stowage_http::client::Client;
use stowage_http::target::Origin;
use url::Url;
use url::form_urlencoded::Serializer;

use super::Key;
use super::grant::{Grant, Way, authorization};
use crate::engine::api::{Api, Call, Fault, Vendor, by_status};
use crate::error::{Error, Kind, Result};

/// Outcome of a token request.
#[derive(Debug)]
pub(super) enum Outcome {
    Granted(Token),
    /// The grant is invalid, or no longer valid: the provider's code.
    Refused(String),
}

/// A token issued by the provider.
pub(super) struct Token {
    /// The value of `Authorization`.
    pub(super) value: HeaderValue,
    pub(super) lifetime: Duration,
    /// The new refresh token, if it was rotated.
    pub(super) rotated: Option<Secret>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

static PROVIDER: Vendor = Vendor { name: "the OAuth provider", fails: by_status, fault };

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: Option<String>,
    /// Seconds; some providers send a string.
    expires_in: Option<Value>,
    refresh_token: Option<String>,
}

/// Requests a token. `newest` replaces the document's refresh token.
pub(super) async fn token(client: &Client, key: &Key, grant: &Grant, newest: Option<Secret>) -> Result<Outcome> {
    let (url, form, sent) = match &grant.way {
        Way::Static(value) => {
            return Ok(Outcome::Granted(Token { value: value.clone(), lifetime: UNKNOWN, rotated: None }));
        }
        Way::Refresh { url, client_id, secret, refresh_token } => {
            let refresh_token = newest.as_ref().unwrap_or(refresh_token).expose();
            let form = Form::of("refresh_token").and("client_id", client_id).and("client_secret", secret.expose());
            (url, form.and("refresh_token", refresh_token), refresh_token)
        }
        Way::Assert { url, claims, private_key, app_id } => {
            let assertion = claims.sign(private_key.expose()).ok_or_else(|| {
                Error::new(Kind::Settings, format!("the private key of OAuth app {app_id} is no RSA key in PEM"))
            })?;
            (url, Form::of("urn:ietf:params:oauth:grant-type:jwt-bearer").and("assertion", &assertion), "")
        }
    };
    let origin = url.parse::<Url>().ok().and_then(|url| Origin::of(&url));
    let origin = origin.ok_or_else(|| Error::new(Kind::Settings, "its token endpoint is no http or https URL"))?;
    // A server named in a document must be public: documents are not under the operator's sole control.
    let trusted = if key.endpoint.is_some() { vec![origin] } else { Vec::new() };
    let call = Call::to(Method::POST, url)?.header(ACCEPT, HeaderValue::from_static("application/json"));
    let call = call.body(HeaderValue::from_static("application/x-www-form-urlencoded"), form.0);
    let reply = Api::new(&PROVIDER, client.clone(), trusted).ask(&call, None).await?;
    if reply.status.is_success() {
        return granted(reply.json()?, sent).map(Outcome::Granted);
    }
    let final_word = matches!(reply.status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let refusal = reply.refusal("give a token");
    if !final_word || reply.code().is_empty() || refusal.kind() == Kind::Passing {
        return Err(refusal);
    }
    if reply.doubtful {
        // An earlier attempt may have used up a single-use refresh token; the next request uses what the document says by then.
        return Err(Error::new(Kind::Passing, refusal.text()).with_status(reply.status));
    }
    Ok(Outcome::Refused(reply.code().to_owned()))
}

fn granted(answer: Answer, sent: &str) -> Result<Token> {
    let kind = answer.token_type.as_deref().unwrap_or_default();
    let value = authorization(kind, &answer.access_token).filter(|_| !answer.access_token.is_empty());
    let value =
        value.ok_or_else(|| Error::new(Kind::Refused, "the OAuth provider gave a token that cannot be sent"))?;
    let seconds = match answer.expires_in {
        Some(Value::Number(seconds)) => seconds.as_u64().or_else(|| seconds.as_f64().map(|seconds| seconds as u64)),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let lifetime = seconds.map_or(UNKNOWN, Duration::from_secs).min(LONGEST);
    let rotated = answer.refresh_token.filter(|token| !sent.is_empty() && !token.is_empty() && token != sent);
    Ok(Token { value, lifetime, rotated: rotated.map(Secret::new) })
}

struct Form(String);

impl Form {
    fn of(grant_type: &str) -> Self {
        Self(String::new()).and("grant_type", grant_type)
    }

    fn and(mut self, name: &str, value: &str) -> Self {
        self.0 = Serializer::for_suffix(self.0, 0).append_pair(name, value).finish();
        self
    }
}

/// RFC 6749 section 5.2. A code is a single word, so that nothing else of the response is shown; Microsoft's more specific number is
/// appended: `invalid_grant/AADSTS700082`.
fn fault(status: StatusCode, text: &[u8]) -> Fault {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
        #[serde(default)]
        error_codes: Vec<u32>,
    }
    let Ok(Refusal { error: code, error_codes }) = serde_json::from_slice(text) else {
        return Fault { passes: status.is_server_error(), ..Fault::default() };
    };
    let word = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if !word {
        return Fault { passes: status.is_server_error(), ..Fault::default() };
    }
    let limited = PASSING_CODES.contains(&&*code) || error_codes.iter().any(|code| PASSING_NUMBERS.contains(code));
    let code = match error_codes.first() {
        Some(number) => format!("{code}/AADSTS{number}"),
        None => code,
    };
    Fault { passes: limited || status.is_server_error(), code, pause: None }
}

/// Codes of transient failures, whatever their status (RFC 6749 section 4.1.2.1, RFC 8628 section 3.5, Google's
/// `internal_failure`, Dropbox's and Google's limits).
const PASSING_CODES: [&str; 6] = [
    "temporarily_unavailable",
    "server_error",
    "slow_down",
    "internal_failure",
    "rate_limit_exceeded",
    "too_many_requests",
];
/// Microsoft's numbers of transient failures, whatever the accompanying code ("Microsoft Entra authentication and authorization error
/// codes"): request loops that must pause, an unavailable service, timeouts, errors documented as transient.
const PASSING_NUMBERS: [u32; 7] = [50087, 50196, 90006, 90012, 90024, 90033, 90055];
/// A provider may omit the lifetime of a token.
const UNKNOWN: Duration = Duration::from_secs(300);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;
    use serde_json::{Value, json};

    use super::{Answer, Form, LONGEST, UNKNOWN, fault, granted};

    fn lifetime(expires_in: &Value) -> Duration {
        let answer = json!({"access_token": "a", "expires_in": expires_in});
        granted(serde_json::from_value::<Answer>(answer).unwrap(), "").unwrap().lifetime
    }

    #[test]
    fn lifetimes_are_numbers_or_texts() {
        for (given, expected) in [
            (json!(3600), Duration::from_secs(3600)),
            (json!(3599.5), Duration::from_secs(3599)),
            (json!("14400"), Duration::from_secs(14400)),
            (json!(0), Duration::ZERO),
            (json!(1_000_000_000), LONGEST),
            (json!("soon"), UNKNOWN),
            (json!(null), UNKNOWN),
        ] {
            assert_eq!(lifetime(&given), expected, "{given}");
        }
    }

    #[test]
    fn a_token_is_a_bearer_unless_it_says_otherwise() {
        let value = |kind: Value, token: &str| {
            let answer = json!({"access_token": token, "token_type": kind});
            granted(serde_json::from_value::<Answer>(answer).unwrap(), "").ok().map(|token| token.value)
        };
        assert_eq!(value(json!("bearer"), "a").unwrap(), "Bearer a");
        assert_eq!(value(json!(null), "a").unwrap(), "Bearer a");
        assert_eq!(value(json!("MAC"), "a").unwrap(), "MAC a");
        assert!(value(json!("Bearer"), "a").unwrap().is_sensitive());
        assert_eq!(value(json!("Bearer"), ""), None);
        assert_eq!(value(json!("Bearer"), "a\r\nX: y"), None);
    }

    #[test]
    fn only_another_refresh_token_counts() {
        let rotated = |new: Value, sent: &str| {
            let answer = json!({"access_token": "a", "refresh_token": new});
            granted(serde_json::from_value::<Answer>(answer).unwrap(), sent).unwrap().rotated.is_some()
        };
        assert!(rotated(json!("new"), "old"));
        assert!(!rotated(json!("old"), "old"));
        assert!(!rotated(json!(""), "old"));
        assert!(!rotated(json!(null), "old"));
        assert!(!rotated(json!("new"), ""), "an assertion is no refresh token");
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(Form::of("g").and("a", "x y&z=ü").0, "grant_type=g&a=x+y%26z%3D%C3%BC");
    }

    /// Whether the grant is permanently refused, and what the operator reads.
    #[test]
    fn refusals_are_told_from_what_passes() {
        for (status, text, code, passes) in [
            (400, r#"{"error":"invalid_grant","error_description":"x"}"#, "invalid_grant", false),
            (401, r#"{"error":"invalid_client"}"#, "invalid_client", false),
            (400, r#"{"error":"slow_down"}"#, "slow_down", true),
            (
                400,
                r#"{"error":"temporarily_unavailable","error_codes":[90033]}"#,
                "temporarily_unavailable/AADSTS90033",
                true,
            ),
            (400, r#"{"error":"invalid_grant","error_codes":[700082]}"#, "invalid_grant/AADSTS700082", false),
            (400, r#"{"error":"invalid_grant","error_codes":[50196]}"#, "invalid_grant/AADSTS50196", true),
            (500, r#"{"error":"invalid_grant"}"#, "invalid_grant", true),
            (403, "<html>Forbidden</html>", "", false),
            (520, "<html>", "", true),
        ] {
            let fault = fault(StatusCode::from_u16(status).unwrap(), text.as_bytes());
            assert_eq!((&*fault.code, fault.passes), (code, passes), "{status} {text}");
        }
    }

    #[test]
    fn only_a_word_is_a_code() {
        let code = |text: &str| fault(StatusCode::BAD_REQUEST, text.as_bytes());
        assert_eq!(code(r#"{"error":"invalid_grant","error_description":"secret"}"#).code, "invalid_grant");
        assert!(code(r#"{"error":"temporarily_unavailable"}"#).passes);
        for text in [r#"{"error":"a b"}"#, r#"{"error":{}}"#, "refresh token is malformed", "", "{"] {
            assert_eq!(code(text).code, "", "{text}");
        }
        assert_eq!(code(&format!(r#"{{"error":"{}"}}"#, "x".repeat(65))).code, "");
    }
}
