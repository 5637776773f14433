//! `[telemetry]`: traces.

use stowage_base::reader::Section;

use super::values::web_url;

/// `[telemetry]`.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// The OpenTelemetry collector that takes spans as OTLP over HTTP; `None` exports none.
    pub otlp: Option<url::Url>,
    /// The share of requests that are traced although no client traces them, from 0 to 1.
    pub sample: f64,
}

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Telemetry {
    let text = section.text("otlp", "");
    let otlp = match web_url(&text) {
        _ if text.is_empty() => None,
        Ok(url) => Some(url),
        Err(message) => {
            section.problem("otlp", message);
            None
        }
    };
    let sample = section.share("sample", 1.0);
    section.finish();
    Telemetry { otlp, sample }
}
