//! The assertion of a service account: a JWT signed with RS256 (RFC 7515, RFC 7518 section 3.3, RFC 7523 section 3).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

/// Who asks whom for what.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    pub(super) issuer: String,
    pub(super) audience: String,
    /// On whose behalf, where not on the issuer's own.
    pub(super) subject: Option<String>,
    pub(super) scope: &'a str,
}

/// The signed assertion, good for an hour from now; `None` for a key that is none. `private_key` is PEM, PKCS #8 or #1.
pub(super) fn assertion(claims: &Claims<'_>, private_key: &str) -> Option<String> {
    let pair = match PrivateKeyDer::from_pem_slice(private_key.as_bytes()).ok()? {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        _ => return None,
    };
    let pair = pair.ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    let mut payload = json!({
        "iss": claims.issuer, "aud": claims.audience, "scope": claims.scope, "iat": now, "exp": now + LIFETIME,
    });
    if let (Some(subject), Some(payload)) = (&claims.subject, payload.as_object_mut()) {
        payload.insert("sub".to_owned(), subject.as_str().into());
    }
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "RS256", "typ": "JWT"})), part(&payload));
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).ok()?;
    Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// In seconds; the longest that Google permits.
const LIFETIME: u64 = 3600;
