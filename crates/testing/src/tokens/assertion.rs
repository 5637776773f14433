//! JWTs of a service account, and the keys that sign them.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RsaParameters,
    UnparsedPublicKey,
};
use serde_json::Value;

/// A throw-away RSA key.
#[derive(Clone)]
pub struct ServiceKey {
    /// PEM as vendors provide it.
    pub pkcs8: String,
    /// PEM as KAZOO writes it.
    pub pkcs1: String,
    /// DER of RFC 8017's `RSAPublicKey`.
    public: Vec<u8>,
}

impl std::fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServiceKey")
    }
}

impl ServiceKey {
    /// Generates a key with openssl.
    pub fn make() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("key.pem").display().to_string();
        openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", &file]);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("PEM");
        Self {
            pkcs8: text(openssl(&["pkey", "-in", &file])),
            pkcs1: text(openssl(&["rsa", "-in", &file, "-traditional"])),
            public: openssl(&["rsa", "-in", &file, "-RSAPublicKey_out", "-outform", "DER"]),
        }
    }
}

fn openssl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments).output().expect("openssl runs");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Returns header and claims of an assertion, unverified.
pub fn decode(assertion: &str) -> Option<(Value, Value)> {
    let mut parts = assertion.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let (head, claims) = (parts.next()??, parts.next()??);
    Some((serde_json::from_slice(&head).ok()?, serde_json::from_slice(&claims).ok()?))
}

/// Returns whether an assertion satisfies RFC 7523 section 3 and Google ("Using OAuth 2.0 for server to server applications").
pub(super) fn holds(assertion: &str, key: &ServiceKey, audience: &str) -> bool {
    let Some((signed, signature)) = assertion.rsplit_once('.') else { return false };
    let (Some((head, claims)), Ok(signature)) = (decode(assertion), URL_SAFE_NO_PAD.decode(signature)) else {
        return false;
    };
    let parameters: &RsaParameters = match head["alg"].as_str() {
        Some("RS256") => &RSA_PKCS1_2048_8192_SHA256,
        Some("RS384") => &RSA_PKCS1_2048_8192_SHA384,
        Some("RS512") => &RSA_PKCS1_2048_8192_SHA512,
        _ => return false,
    };
    let verified = UnparsedPublicKey::new(parameters, &key.public).verify(signed.as_bytes(), &signature).is_ok();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let (Some(made), Some(ends)) = (claims["iat"].as_u64(), claims["exp"].as_u64()) else { return false };
    verified
        && head["typ"] == "JWT"
        && claims["iss"] == super::ISSUER
        && claims["aud"] == audience
        && claims["scope"].as_str().is_some_and(|scope| !scope.is_empty())
        && made <= now
        && ends > now
        && ends - made <= 3600
}
