//! A service account's assertion: a signed JWT (RFC 7515, RFC 7518 section 3.3, RFC 7523 section 3).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Map, Value, json};

/// The claims of an assertion.
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) algorithm: Algorithm,
    /// Identifies the issuer's key.
    pub(super) key_id: Option<String>,
    pub(super) issuer: String,
    pub(super) audience: String,
    /// On whose behalf, if not the issuer's own.
    pub(super) subject: Option<String>,
    pub(super) scope: &'static str,
}

/// The signature algorithm, by its name in the header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Algorithm(&'static str);

impl Algorithm {
    pub(super) fn named(name: &str) -> Option<Self> {
        ["RS256", "RS384", "RS512"].into_iter().find(|known| *known == name).map(Self)
    }

    fn encoding(self) -> &'static dyn RsaEncoding {
        match self.0 {
            "RS384" => &RSA_PKCS1_SHA384,
            "RS512" => &RSA_PKCS1_SHA512,
            _ => &RSA_PKCS1_SHA256,
        }
    }
}

impl Claims {
    /// Returns the signed assertion; `None` for an invalid key. `private_key` is PEM, PKCS #8 or #1.
    pub(super) fn sign(&self, private_key: &str) -> Option<String> {
        let pair = match PrivateKeyDer::from_pem_slice(private_key.as_bytes()).ok()? {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return None,
        };
        let pair = pair.ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let signed = format!("{}.{}", part(self.header()), part(self.payload(now)));
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(self.algorithm.encoding(), &SystemRandom::new(), signed.as_bytes(), &mut signature).ok()?;
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn header(&self) -> Map<String, Value> {
        let mut header = Map::new();
        header.insert("alg".to_owned(), self.algorithm.0.into());
        header.insert("typ".to_owned(), "JWT".into());
        if let Some(key_id) = &self.key_id {
            header.insert("kid".to_owned(), key_id.as_str().into());
        }
        header
    }

    fn payload(&self, now: u64) -> Map<String, Value> {
        // A provider rejects an issue time in its future, so allow for a clock that is slightly ahead.
        let made = now.saturating_sub(AHEAD);
        let mut payload = Map::new();
        let texts = [("iss", &self.issuer), ("aud", &self.audience)];
        for (name, text) in texts.into_iter().chain(self.subject.as_ref().map(|subject| ("sub", subject))) {
            payload.insert(name.to_owned(), text.as_str().into());
        }
        payload.insert("scope".to_owned(), self.scope.into());
        payload.insert("iat".to_owned(), json!(made));
        payload.insert("exp".to_owned(), json!(made + LIFETIME));
        payload
    }
}

fn part(members: Map<String, Value>) -> String {
    URL_SAFE_NO_PAD.encode(Value::Object(members).to_string())
}

/// In seconds; the maximum Google permits.
const LIFETIME: u64 = 3600;
/// In seconds.
const AHEAD: u64 = 60;
