//! `[[sites]]`: the journals of other sites that serve the same domains.

use std::time::Duration;

use stowage_base::reader::Section;
use toml::Value;

use super::cluster::{TlsOptions, connection};
use crate::broker;

/// Another site, whose journal is a RabbitMQ stream.
#[derive(Debug, Clone)]
pub struct SiteOptions {
    /// Local name of the site.
    pub name: String,
    /// How to reach its journal.
    pub broker: broker::Config,
    /// Certificates of its connections.
    pub tls: TlsOptions,
    /// The name of its stream.
    pub stream: String,
    /// How long its link may be down before it is adopted automatically; `None` leaves that to an operator.
    pub adopt_after: Option<Duration>,
}

/// Reads the list; every problem includes the index of its site.
pub(super) fn sites(root: &mut Section<'_>) -> Vec<SiteOptions> {
    let mut found: Vec<SiteOptions> = Vec::new();
    for (place, value) in root.list("sites").into_iter().enumerate() {
        let Value::Table(table) = value else {
            root.problem("sites", "must be a list of sections, [[sites]]");
            continue;
        };
        let mut problems = Vec::new();
        let site = site(Section::root(table, &mut problems));
        if found.iter().any(|known| known.name == site.name) {
            root.problem(&format!("sites[{place}].name"), "is the name of another site");
        }
        for problem in problems {
            root.problem(&format!("sites[{place}].{}", problem.key), problem.message);
        }
        found.push(site);
    }
    found
}

fn site(mut section: Section<'_>) -> SiteOptions {
    let name = section.text("name", "");
    let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if !is_name {
        section.problem("name", "must be letters, digits, - and _: files and metrics are named after it");
    }
    let (broker, tls) = connection(&mut section);
    if broker.nodes.is_empty() {
        section.problem("urls", "must name the site's RabbitMQ");
    }
    let stream = section.text("stream", "callstore");
    let adopt_after = section.has("adopt_after").then(|| section.duration("adopt_after", Duration::from_secs(3600)));
    section.finish();
    SiteOptions { name, broker, tls, stream, adopt_after }
}
