//! What a failure of Google's says, and which of them pass.
//!
//! Sources: "HTTP status and error codes for JSON" and "Retry strategy" of Cloud Storage, "Resolve errors" and "Usage limits"
//! of the Drive API.

use http::StatusCode;
use serde::Deserialize;

use crate::storage::api::Fault;

#[derive(Deserialize)]
struct Envelope {
    error: Failure,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    errors: Vec<Detail>,
    /// The only word in newer answers.
    status: Option<String>,
}

#[derive(Deserialize)]
struct Detail {
    reason: Option<String>,
}

/// Reads the error envelope. A reason is one word, so that nothing else of the answer is shown.
pub(super) fn fault(status: StatusCode, text: &[u8]) -> Fault {
    let failure = serde_json::from_slice(text).ok().map(|Envelope { error }| error);
    let reason = failure.and_then(|failure| {
        let detail = failure.errors.into_iter().find_map(|detail| detail.reason);
        detail.or(failure.status)
    });
    let is_word = |word: &String| {
        (1..=64).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let code = reason.filter(is_word).unwrap_or_default();
    let limited = status == StatusCode::FORBIDDEN && RATE_LIMITS.contains(&code.as_str());
    Fault { passes: limited || status == StatusCode::REQUEST_TIMEOUT, code }
}

/// Reasons of a 403 that pass within seconds. Not `dailyLimitExceeded`, which lasts until midnight in California, nor
/// `quotaExceeded` and `storageQuotaExceeded`, which last until somebody makes room.
const RATE_LIMITS: [&str; 2] = ["rateLimitExceeded", "userRateLimitExceeded"];

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
