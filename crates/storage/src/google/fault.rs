//! Google's error responses, and which of them are transient; the other failures of an upload.
//!
//! Sources: "HTTP status and error codes for JSON" and "Retry strategy" of Cloud Storage, "Resolve errors" and "Usage limits" of
//! the Drive API.

use http::StatusCode;
use serde::Deserialize;

use crate::engine::api::{Fault, Reply};
use crate::{Error, Kind};

#[derive(Deserialize)]
struct Envelope {
    error: Failure,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    errors: Vec<Detail>,
    /// Replaces `errors` in newer responses.
    #[serde(default)]
    details: Vec<Detail>,
    /// The only code in some newer responses.
    status: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Detail {
    reason: Option<String>,
}

/// Parses the error envelope. A reason is a single word, so that nothing else of the response is shown.
pub(super) fn fault(status: StatusCode, text: &[u8]) -> Fault {
    let code = match serde_json::from_slice(text) {
        Ok(Envelope { error }) => error.word(status),
        Err(_) => of_text(text).map(str::to_owned),
    };
    let is_word = |word: &String| {
        (1..=64).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let code = code.filter(is_word).unwrap_or_default();
    let limited = status == StatusCode::FORBIDDEN && RATE_LIMITS.contains(&code.as_str());
    let passes = limited || status == StatusCode::REQUEST_TIMEOUT || status.is_server_error();
    Fault { passes, code, pause: None }
}

impl Failure {
    fn word(self, status: StatusCode) -> Option<String> {
        // The reason is the same for a bucket and an object.
        if self.message.as_deref().is_some_and(|message| message.starts_with(NO_BUCKET)) {
            return Some(NO_BUCKET_WORD.to_owned());
        }
        let reason = self.errors.into_iter().chain(self.details).find_map(|detail| detail.reason);
        // Without any code, derive one from the status.
        let by_status = || match status {
            StatusCode::NOT_FOUND => Some("notFound".to_owned()),
            StatusCode::PRECONDITION_FAILED => Some("conditionNotMet".to_owned()),
            _ => None,
        };
        reason.or(self.status).or_else(by_status)
    }
}

/// Failed downloads have a sentence instead of the envelope.
fn of_text(text: &[u8]) -> Option<&'static str> {
    let sentences = [
        ("No such object", "notFound"),
        (NO_BUCKET, NO_BUCKET_WORD),
        ("At least one of the pre-conditions", "conditionNotMet"),
    ];
    sentences.into_iter().find_map(|(sentence, word)| text.starts_with(sentence.as_bytes()).then_some(word))
}

/// Returns whether a response says that an object or file does not exist. A 404 without a code counts; one with another code is
/// about a bucket, or from something between Google and the gateway.
pub(super) fn is_gone(reply: &Reply) -> bool {
    let says_so = matches!(reply.code(), "notFound" | "NOT_FOUND") || reply.says_nothing();
    reply.status == StatusCode::NOT_FOUND && says_so
}

/// Returns whether a response says that the object is not of the requested generation. A 412 may also be about a policy
/// (`orgPolicyConstraintFailed`).
pub(super) fn is_another_generation(reply: &Reply) -> bool {
    let says_so = matches!(reply.code(), "conditionNotMet" | "FAILED_PRECONDITION") || reply.says_nothing();
    reply.status == StatusCode::PRECONDITION_FAILED && says_so
}

/// Returns the error for a session that has less than it reported before. A new upload may succeed.
pub(super) fn lost() -> Error {
    Error::new(Kind::Passing, "Google lost bytes of an upload that are not here any more")
}

/// Returns the error for an object that differs from the one sent.
pub(super) fn changed() -> Error {
    Error::new(Kind::Passing, "Google stored other bytes than were sent")
}

/// Returns the error for a session that takes no more bytes.
pub(super) fn stands_still() -> Error {
    Error::new(Kind::Passing, "Google does not take the bytes of an upload")
}

/// How many times a session may report no progress.
pub(super) const MOST_STANDSTILLS: u32 = 3;
const NO_BUCKET: &str = "The specified bucket does not exist";
/// Our own code.
const NO_BUCKET_WORD: &str = "bucketNotFound";
/// Reasons of a 403 that pass within seconds. Excludes `dailyLimitExceeded`, which lasts until midnight in California, and
/// `quotaExceeded` and `storageQuotaExceeded`, which last until space is freed.
const RATE_LIMITS: [&str; 3] = ["rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"];

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::fault;

    fn answer(reason: &str) -> Vec<u8> {
        let text = r#"{"error":{"errors":[{"domain":"usageLimits","reason":"REASON","message":"m"}],"code":403,"message":"m"}}"#;
        text.replace("REASON", reason).into_bytes()
    }

    #[test]
    fn rate_limits_pass_and_other_refusals_do_not() {
        for reason in ["rateLimitExceeded", "userRateLimitExceeded"] {
            let fault = fault(StatusCode::FORBIDDEN, &answer(reason));
            assert!(fault.passes && fault.code == reason, "{fault:?}");
        }
        for reason in ["dailyLimitExceeded", "quotaExceeded", "storageQuotaExceeded", "insufficientFilePermissions", ""]
        {
            let fault = fault(StatusCode::FORBIDDEN, &answer(reason));
            assert!(!fault.passes && fault.code == reason, "{fault:?}");
        }
        assert!(!fault(StatusCode::NOT_FOUND, &answer("rateLimitExceeded")).passes);
        assert!(fault(StatusCode::REQUEST_TIMEOUT, b"").passes);
    }

    /// Real responses: of the JSON API, of a download, of compatible servers, and of others.
    #[test]
    fn what_is_not_there_is_told_from_what_cannot_be_known() {
        let of = |status, text: &str| fault(StatusCode::from_u16(status).unwrap(), text.as_bytes()).code;
        let object = r#"{"error":{"code":404,"message":"No such object: b/x","errors":[{"message":"No such object: b/x","domain":"global","reason":"notFound"}]}}"#;
        let bucket = r#"{"error":{"code":404,"message":"The specified bucket does not exist.","errors":[{"domain":"global","reason":"notFound"}]}}"#;
        for (status, text, word) in [
            (404, object, "notFound"),
            (404, bucket, "bucketNotFound"),
            (404, "No such object: b/x", "notFound"),
            (404, "The specified bucket does not exist.", "bucketNotFound"),
            (404, r#"{"error":{"code":404,"message":"Not Found"}}"#, "notFound"),
            (404, r#"{"error":{"code":404,"message":"m","status":"NOT_FOUND"}}"#, "NOT_FOUND"),
            (404, "<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>", ""),
            (404, "404 page not found", ""),
            (412, "At least one of the pre-conditions you specified did not hold.", "conditionNotMet"),
            (412, r#"{"error":{"errors":[{"reason":"orgPolicyConstraintFailed"}]}}"#, "orgPolicyConstraintFailed"),
        ] {
            assert_eq!(of(status, text), word, "{text}");
        }
    }

    #[test]
    fn limits_pass_in_the_newer_form_too_and_so_does_every_500() {
        let newer = br#"{"error":{"code":403,"status":"PERMISSION_DENIED","details":[{"@type":"x"},{"reason":"RATE_LIMIT_EXCEEDED"}]}}"#;
        assert!(fault(StatusCode::FORBIDDEN, newer).passes);
        for status in [500, 502, 503, 504, 508, 599] {
            assert!(fault(StatusCode::from_u16(status).unwrap(), b"").passes, "{status}");
        }
    }

    #[test]
    fn only_one_word_is_shown() {
        let newer = br#"{"error":{"code":403,"message":"secret","status":"PERMISSION_DENIED"}}"#;
        assert_eq!(fault(StatusCode::FORBIDDEN, newer).code, "PERMISSION_DENIED");
        for nonsense in [&answer("two words")[..], b"Not Found", b"", b"{}", b"{\"error\":\"invalid_grant\"}", b"\xff"]
        {
            assert_eq!(fault(StatusCode::FORBIDDEN, nonsense).code, "");
        }
    }
}
