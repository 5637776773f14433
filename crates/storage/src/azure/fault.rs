//! Azure's failures: which of them are transient, the delay that they request, and the error for them.

use std::time::Duration;

use azure_core::http::StatusCode;
use azure_core::http::headers::{ERROR_CODE, HeaderName, Headers, RETRY_AFTER, RETRY_AFTER_MS, X_MS_RETRY_AFTER_MS};
use azure_core::http::policies::get_retry_after;
use azure_core::time::OffsetDateTime;

use crate::Error;

/// Builds the error for a failure.
pub(super) fn refusal(what: &str, failed: StatusCode, headers: &Headers) -> Error {
    let text = match code(headers) {
        "" => format!("Azure refused to {what}"),
        code => format!("Azure refused to {what}: {code}"),
    };
    Error::answered(status(failed), text).with_code(code(headers)).after(asked(headers))
}

/// Returns the error code header, which every failure has ("Status and error codes"). It goes into messages, so only well-formed codes pass.
pub(super) fn code(headers: &Headers) -> &str {
    let code = headers.get_optional_str(&ERROR_CODE).unwrap_or_default();
    let sound = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if sound { code } else { "" }
}

pub(super) fn status(status: StatusCode) -> http::StatusCode {
    http::StatusCode::from_u16(status.into()).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR)
}

/// Returns whether a failure with this status is transient.
pub(super) fn passes(status: StatusCode) -> bool {
    PASSING.contains(&status)
}

/// Returns the delay requested by the server.
pub(super) fn asked(headers: &Headers) -> Option<Duration> {
    // A date in the past means no delay.
    get_retry_after(headers, OffsetDateTime::now_utc, &PAUSES).map(|pause| pause.try_into().unwrap_or_default())
}

/// The statuses of transient failures.
pub(super) const PASSING: [StatusCode; 5] = [
    StatusCode::TooManyRequests,
    StatusCode::InternalServerError,
    StatusCode::BadGateway,
    StatusCode::ServiceUnavailable,
    StatusCode::GatewayTimeout,
];
/// Headers that may request a delay; the vendor's are in milliseconds.
pub(super) const PAUSES: [HeaderName; 3] = [X_MS_RETRY_AFTER_MS, RETRY_AFTER_MS, RETRY_AFTER];
