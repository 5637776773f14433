//! Asking a provider's token endpoint (RFC 6749 sections 5 and 6).

use std::time::Duration;

use http::header::HeaderValue;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::documents::{Ask, Way};
use crate::http::client::Client;
use crate::http::target::Origin;
use crate::storage::api::{Api, Call, Fault, Vendor};
use crate::storage::error::{Error, Kind, Result};

/// What `Authorization` has to say, and how long; or the provider's code for a grant that is not good.
pub(super) type Outcome = std::result::Result<(HeaderValue, Duration), String>;

static PROVIDER: Vendor = Vendor { name: "the OAuth provider", fault };

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: Option<String>,
    /// Seconds; some providers write it as a text.
    expires_in: Option<Value>,
}

/// Gets a token. `trusted`: the address is the operator's choice.
pub(super) async fn token(client: &Client, way: Way, trusted: bool) -> Result<Outcome> {
    let ask = match way {
        Way::Static(value) => return Ok(Ok((value, LONGEST))),
        Way::Ask(ask) => ask,
    };
    let url = ask.url.parse().ok().and_then(|url| Origin::of(&url));
    let origin = url.ok_or_else(|| Error::new(Kind::Settings, "the token endpoint of an OAuth provider is no URL"))?;
    let api = Api::new(&PROVIDER, client.clone(), if trusted { vec![origin] } else { Vec::new() });
    let reply = api.ask(&call(&ask)?, None).await?;
    if !reply.is_done() {
        let refused =
            matches!(reply.status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if refused && !reply.code().is_empty() {
            return Ok(Err(reply.code().to_owned()));
        }
        return Err(reply.refusal("give a token"));
    }
    let granted: Granted = reply.json()?;
    let kind = granted.token_type.as_deref().filter(|kind| !kind.eq_ignore_ascii_case("bearer")).unwrap_or("Bearer");
    let mut value = HeaderValue::from_str(&format!("{kind} {}", granted.access_token))
        .map_err(|_| Error::new(Kind::Refused, "the OAuth provider gave a token that cannot be sent"))?;
    value.set_sensitive(true);
    let seconds = match granted.expires_in {
        Some(Value::Number(seconds)) => seconds.as_u64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    Ok(Ok((value, seconds.map_or(UNKNOWN, Duration::from_secs).min(LONGEST))))
}

fn call(ask: &Ask) -> Result<Call> {
    let mut form = Serializer::new(String::new());
    for (name, value) in &ask.form {
        form.append_pair(name, value.expose());
    }
    let call = Call::to(Method::POST, &ask.url)?;
    Ok(call.body(HeaderValue::from_static("application/x-www-form-urlencoded"), form.finish()))
}

/// RFC 6749 section 5.2. A code is one word, so that nothing else of the answer is shown.
fn fault(_: StatusCode, text: &[u8]) -> Fault {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let code = serde_json::from_slice(text).map(|Refusal { error }| error).unwrap_or_default();
    let word =
        code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let passes = code == "temporarily_unavailable" || code == "slow_down";
    Fault { passes, code: if word { code } else { String::new() } }
}

/// A provider need not say how long a token lasts.
const UNKNOWN: Duration = Duration::from_secs(300);
/// Documents are looked at once a day at the least.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
