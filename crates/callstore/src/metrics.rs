//! Prometheus metrics. No call, account, domain or number is ever a label.

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use stowage_base::metrics::{Held, text, whole};
use stowage_http::server::Counts;

use crate::fold::Standing;
use crate::roles::Serves;
use crate::state::{Applied, State};

/// All metrics of the program; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    entries: IntCounterVec,
    inlet: IntCounterVec,
    requests: IntCounterVec,
    records: IntCounterVec,
    records_waiting: IntGauge,
    live: IntGaugeVec,
    nodes: IntGauge,
    lag: IntGauge,
    active: Option<IntGauge>,
    epoch: IntGauge,
    ready: IntGauge,
    connections: IntGauge,
    tls_failures: IntCounter,
    sweeps: IntCounterVec,
    orders: IntCounterVec,
    sites: [IntGaugeVec; 3],
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

impl Metrics {
    /// Creates all metrics, at zero, of an instance that serves these calls.
    ///
    /// # Errors
    /// An invalid or duplicate name, which is a bug.
    pub fn new(serves: &Serves) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let counters = |name: &str, help: &str, label: &str, known: &[&str]| {
            let made =
                register(&registry, IntCounterVec::new(Opts::new(format!("callstore_{name}"), help), &[label])?)?;
            known.iter().for_each(|label| drop(made.with_label_values(&[label])));
            Ok::<_, prometheus::Error>(made)
        };
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(format!("callstore_{name}"), help)?);
        // Of these, one instance of each group has the value that counts.
        let of_group = |name: &str, help: &str| {
            let options = Opts::new(format!("callstore_{name}"), help).const_label("group", serves.group().to_string());
            register(&registry, IntGauge::with_opts(options)?)
        };
        let sites = |name: &str, help: &str| {
            register(&registry, IntGaugeVec::new(Opts::new(format!("callstore_site_{name}"), help), &["site"])?)
        };
        let live =
            IntGaugeVec::new(Opts::new("callstore_live", "dialogs that are not over, by how they stand"), &["state"])?;
        let inner = Inner {
            entries: counters("entries_total", "entries that were folded", "kind", &ENTRIES)?,
            inlet: counters("inlet_events_total", "events that came over HTTP", "outcome", &INLET)?,
            requests: counters("requests_total", "requests, by status", "status", &[])?,
            records: counters("records_total", "records, by what became of them", "outcome", &RECORDS)?,
            records_waiting: of_group("records_waiting", "dialogs and legs whose records are not written yet")?,
            live: register(&registry, live)?,
            nodes: gauge("nodes", "switches that are known")?,
            lag: gauge("lag_entries", "entries of the journal that are not folded yet")?,
            // Of a group that has nothing to do, no instance is missed.
            active: serves.is_followed().then(|| of_group("active", "1 while this instance acts")).transpose()?,
            epoch: gauge("epoch", "the newest epoch")?,
            ready: gauge("ready", "1 once the journal was read to its end")?,
            connections: gauge("connections", "connections of clients")?,
            tls_failures: register(
                &registry,
                IntCounter::new("callstore_tls_failures_total", "TLS handshakes of clients that failed")?,
            )?,
            sweeps: counters("sweeps_total", "questions to all switches", "outcome", &["answered", "failed"])?,
            orders: counters("orders_total", "deaths that others were told of", "outcome", &["told", "failed"])?,
            sites: [
                sites("lag_entries", "entries of the site's journal that are not folded here yet")?,
                sites("linked", "1 while the site's journal can be read")?,
                sites("adopted", "1 while the site's calls are finished here")?,
            ],
            registry,
        };
        for state in [Standing::Live, Standing::Suspect] {
            inner.live.with_label_values(&[state.name()]).set(0);
        }
        Ok(Self(Arc::new(inner)))
    }

    /// Counts a folded batch.
    pub fn applied(&self, applied: &Applied) {
        let counts = [applied.events, applied.repeated, applied.bad, applied.refused, applied.dead];
        for (kind, count) in ENTRIES.iter().zip(counts) {
            self.0.entries.with_label_values(&[kind]).inc_by(count);
        }
    }

    /// Counts events of the HTTP inlet; the outcome is one of `taken`, `bad`, `refused`.
    pub fn inlet(&self, outcome: &str, count: u64) {
        self.0.inlet.with_label_values(&[outcome]).inc_by(count);
    }

    /// Counts a response.
    pub fn answered(&self, status: u16) {
        self.0.requests.with_label_values(&[status.to_string().as_str()]).inc();
    }

    /// Counts a record.
    pub fn record(&self, outcome: &str) {
        self.0.records.with_label_values(&[outcome]).inc();
    }

    /// Counts a sweep.
    pub fn sweep(&self, is_answered: bool) {
        self.0.sweeps.with_label_values(&[if is_answered { "answered" } else { "failed" }]).inc();
    }

    /// Counts notices to others.
    pub fn order(&self, is_told: bool) {
        self.0.orders.with_label_values(&[if is_told { "told" } else { "failed" }]).inc();
    }

    /// Sets the gauges of another site.
    pub fn site(&self, name: &str, lag: u64, is_linked: bool, is_adopted: bool) {
        for (gauge, value) in self.0.sites.iter().zip([whole(lag), is_linked.into(), is_adopted.into()]) {
            gauge.with_label_values(&[name]).set(value);
        }
    }

    /// Renders the metrics in Prometheus' text format.
    #[must_use]
    pub fn text(&self, state: &State, lag: u64, epoch: Option<u64>, is_ready: bool) -> Vec<u8> {
        let dialogs = {
            let index = state.index();
            self.0.records_waiting.set(whole(index.waiting));
            self.0.nodes.set(whole(index.nodes.len() as u64));
            self.0.epoch.set(whole(index.epoch));
            index.dialogs
        };
        self.0.live.with_label_values(&["live"]).set(whole(dialogs.live));
        self.0.live.with_label_values(&["suspect"]).set(whole(dialogs.suspect));
        self.0.lag.set(whole(lag));
        if let Some(active) = &self.0.active {
            active.set(epoch.is_some().into());
        }
        self.0.ready.set(is_ready.into());
        text(&self.0.registry)
    }
}

impl Counts for Metrics {
    type Connection = Held;

    fn connection(&self) -> Held {
        Held::new(&self.0.connections)
    }

    fn tls_failure(&self) {
        self.0.tls_failures.inc();
    }
}

/// The kinds of entries.
const ENTRIES: [&str; 5] = ["event", "repeated", "bad", "refused", "dead"];
/// The outcomes of an event at the inlet.
const INLET: [&str; 3] = ["taken", "bad", "refused"];
/// The outcomes of a record.
const RECORDS: [&str; 6] = ["written", "known", "corrected", "foreign", "refused", "failed"];
