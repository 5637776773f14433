//! The token endpoint's checks and responses.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::assertion;
use super::{APP, Instead, Tokens};

type Form = Vec<(String, String)>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub(super) async fn answer(tokens: Tokens, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, BoxError> {
    let mut held = tokens.lock().held.subscribe();
    tokens.lock().asked += 1;
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    held.wait_for(|held| !held).await?;
    let instead = tokens.lock().instead.pop_front();
    if let Some(Instead::Answers(status, retry_after, text)) = instead {
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = StatusCode::from_u16(status)?;
        if let Some(pause) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, pause.parse()?);
        }
        return Ok(response);
    }
    let (status, document) = granted(&tokens, &head, &body);
    if instead == Some(Instead::LosesTheAnswer) {
        return Err("the answer is lost".into());
    }
    let mut response = Response::new(Full::from(document.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, "application/json".parse()?);
    // RFC 6749 section 5.1.
    response.headers_mut().insert("cache-control", "no-store".parse()?);
    Ok(response)
}

fn granted(tokens: &Tokens, head: &http::request::Parts, body: &[u8]) -> (StatusCode, Value) {
    // The client may identify itself in one way only (RFC 6749 section 2.3), and never in the URL (section 2.3.1).
    let sound = head.method == Method::POST
        && head.uri == "/token"
        && head.headers.get(CONTENT_TYPE).is_some_and(|value| value == "application/x-www-form-urlencoded")
        && !head.headers.contains_key(AUTHORIZATION);
    let form: Form = url::form_urlencoded::parse(body).into_owned().collect();
    tokens.lock().forms.push(form.clone());
    let mut names: Vec<_> = form.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let field = |name: &str| form.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value.as_str());
    match (sound, field("grant_type")) {
        (true, "refresh_token") if names == ["client_id", "client_secret", "grant_type", "refresh_token"] => {
            if field("client_id") != APP || field("client_secret") != tokens.lock().secret {
                return (StatusCode::UNAUTHORIZED, json!({ "error": "invalid_client" }));
            }
            refreshed(tokens, field("refresh_token"))
        }
        (true, "urn:ietf:params:oauth:grant-type:jwt-bearer") if names == ["assertion", "grant_type"] => {
            let issued = tokens.lock();
            let good =
                issued.key.as_ref().is_some_and(|key| assertion::holds(field("assertion"), key, &issued.audience));
            let refused = !good || issued.revoked;
            drop(issued);
            if refused { refusal("Invalid JWT Signature.") } else { token(tokens, None) }
        }
        (true, "refresh_token" | "urn:ietf:params:oauth:grant-type:jwt-bearer") | (false, _) => {
            (StatusCode::BAD_REQUEST, json!({ "error": "invalid_request" }))
        }
        _ => (StatusCode::BAD_REQUEST, json!({ "error": "unsupported_grant_type" })),
    }
}

/// RFC 6749 section 6: a new refresh token may be issued, and the old one may be revoked.
fn refreshed(tokens: &Tokens, refresh_token: &str) -> (StatusCode, Value) {
    let mut issued = tokens.lock();
    if issued.revoked || !issued.refresh.contains(refresh_token) {
        drop(issued);
        return refusal("Token has been expired or revoked.");
    }
    let rotated = issued.rotates.map(|once| {
        if once {
            issued.refresh.clear();
        }
        let rotated = format!("canary-refresh-{}", uuid::Uuid::new_v4().simple());
        issued.refresh.insert(rotated.clone());
        rotated
    });
    drop(issued);
    token(tokens, rotated)
}

fn token(tokens: &Tokens, refresh_token: Option<String>) -> (StatusCode, Value) {
    let mut document = json!({ "access_token": tokens.issue(), "token_type": "Bearer" });
    let lifetime = tokens.lock().lifetime.clone();
    if !lifetime.is_null() {
        document["expires_in"] = lifetime;
    }
    if let Some(refresh_token) = refresh_token {
        document["refresh_token"] = refresh_token.into();
    }
    (StatusCode::OK, document)
}

fn refusal(description: &str) -> (StatusCode, Value) {
    (StatusCode::BAD_REQUEST, json!({ "error": "invalid_grant", "error_description": description }))
}
