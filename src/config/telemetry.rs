//! `[telemetry]`: traces.

use stowage_base::reader::Section;

use super::values::web_url;

/// `[telemetry]`.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// The OpenTelemetry collector that receives spans as OTLP over HTTP; `None` disables the export.
    pub otlp: Option<url::Url>,
    /// The fraction of requests, from 0 to 1, that are traced when the client does not trace them.
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
