//! Prometheus metrics, as all programs keep them.

use prometheus::{Encoder, IntGauge, Registry, TextEncoder};

/// Counts in a gauge until it is dropped, such as an open connection.
#[derive(Debug)]
pub struct Held(IntGauge);

impl Held {
    /// Counts one more.
    #[must_use]
    pub fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Converts a count to a gauge's value.
#[must_use]
pub fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Encodes the metrics in Prometheus' text format.
#[must_use]
pub fn text(registry: &Registry) -> Vec<u8> {
    let mut text = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&registry.gather(), &mut text) {
        tracing::error!(%error, "the metrics cannot be written");
    }
    text
}
