//! Signature version 4 for S3, using `aws-sigv4`.
//!
//! S3 differs from other services: the path is signed as sent, neither normalized nor encoded twice, and the payload hash is a
//! header (AWS, "Signature Calculations for the Authorization Header").

use std::fmt;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4::SigningParams;
use http::header::{HOST, HeaderName, HeaderValue};

use crate::engine::api::Call;
use crate::{Error, Kind, Result};

/// How the signature covers the body.
#[derive(Debug, Clone, Copy)]
pub(super) enum Payload {
    /// There is no body.
    Empty,
    /// By the body's SHA-256.
    Sha256([u8; 32]),
    /// Not at all: TLS protects the body.
    Unsigned,
}

/// Signs with one key pair.
#[derive(Clone)]
pub(super) struct Signer {
    credentials: Credentials,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Signer {
    pub(super) fn new(key: String, secret: String) -> Self {
        Self { credentials: Credentials::new(key, secret, None, None, "storage plan") }
    }

    /// Signs a call to a region, covering the body according to `payload`.
    ///
    /// # Errors
    /// `Refused` for anything invalid in a request.
    pub(super) fn sign(&self, call: &mut Call, region: &str, payload: Payload, time: SystemTime) -> Result<()> {
        let host = HeaderValue::from_str(&call.origin.authority()).map_err(unsignable)?;
        call.headers.insert(HOST, host);
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let identity = self.credentials.clone().into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name("s3")
            .time(time)
            .settings(settings)
            .build()
            .map_err(unsignable)?;
        let body = match payload {
            Payload::Empty => SignableBody::empty(),
            Payload::Sha256(hash) => SignableBody::Precomputed(hex::encode(hash)),
            Payload::Unsigned => SignableBody::UnsignedPayload,
        };
        let mut headers = Vec::with_capacity(call.headers.len());
        for (name, value) in &call.headers {
            headers.push((name.as_str(), value.to_str().map_err(unsignable)?));
        }
        let url = format!("{}{}", call.origin, call.target);
        let signable = SignableRequest::new(call.method.as_str(), url, headers.into_iter(), body);
        let (instructions, _) =
            sign(signable.map_err(unsignable)?, &parameters.into()).map_err(unsignable)?.into_parts();
        for (name, value) in instructions.headers() {
            let mut value = HeaderValue::from_str(value).map_err(unsignable)?;
            value.set_sensitive(true);
            call.headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(unsignable)?, value);
        }
        Ok(())
    }
}

/// The cause is dropped: it may quote what was to be signed.
fn unsignable<E>(_: E) -> Error {
    Error::new(Kind::Refused, "the request to S3 cannot be signed")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::header::{AUTHORIZATION, DATE, HeaderValue, RANGE};
    use http::{HeaderName, Method};
    use sha2::{Digest, Sha256};

    use super::{Call, Payload, Signer};
    use stowage_http::target::Origin;

    /// 2013-05-24T00:00:00Z, the time of Amazon's examples.
    const TIME: Duration = Duration::from_secs(1_369_353_600);

    fn signer() -> Signer {
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        Signer::new("AKIAIOSFODNN7EXAMPLE".to_owned(), secret.to_owned())
    }

    fn authorization(
        method: &Method,
        target: &str,
        headers: &[(HeaderName, &'static str)],
        payload: Payload,
    ) -> String {
        let origin = Origin { tls: true, host: "examplebucket.s3.amazonaws.com".to_owned(), port: 443 };
        let mut call = Call::new(method.clone(), &origin, target);
        for (name, value) in headers {
            call.headers.insert(name, HeaderValue::from_static(value));
        }
        signer().sign(&mut call, "us-east-1", payload, SystemTime::UNIX_EPOCH + TIME).unwrap();
        call.headers.get(AUTHORIZATION).unwrap().to_str().unwrap().to_owned()
    }

    /// The four examples of "Signature Calculations for the Authorization Header: Transferring Payload in a Single
    /// Chunk" in Amazon's S3 API reference.
    #[test]
    fn amazons_examples_have_amazons_signatures() {
        let text = authorization(&Method::GET, "/test.txt", &[(RANGE, "bytes=0-9")], Payload::Empty);
        assert!(text.contains("SignedHeaders=host;range;x-amz-content-sha256;x-amz-date"), "{text}");
        assert!(text.ends_with("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"), "{text}");

        let hash = Payload::Sha256(Sha256::digest(b"Welcome to Amazon S3.").into());
        let class = HeaderName::from_static("x-amz-storage-class");
        let headers = [(DATE, "Fri, 24 May 2013 00:00:00 GMT"), (class, "REDUCED_REDUNDANCY")];
        let text = authorization(&Method::PUT, "/test%24file.text", &headers, hash);
        assert!(text.ends_with("98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"), "{text}");

        let text = authorization(&Method::GET, "/?lifecycle", &[], Payload::Empty);
        assert!(text.ends_with("fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"), "{text}");

        let text = authorization(&Method::GET, "/?max-keys=2&prefix=J", &[], Payload::Empty);
        assert!(text.ends_with("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"), "{text}");
    }

    #[test]
    fn an_unsigned_payload_says_so() {
        let origin = Origin { tls: true, host: "h".to_owned(), port: 443 };
        let mut call = Call::new(Method::PUT, &origin, "/b/k");
        signer().sign(&mut call, "r", Payload::Unsigned, SystemTime::now()).unwrap();
        assert_eq!(call.headers.get("x-amz-content-sha256").unwrap(), "UNSIGNED-PAYLOAD");
    }

    #[test]
    fn no_secret_shows() {
        let text = format!("{:?}", signer());
        assert!(!text.contains("wJalr") && !text.contains("AKIA"), "{text}");
    }
}
