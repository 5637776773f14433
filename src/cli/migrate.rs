//! `stowage migrate`: moves attachments that are not where the plans want them.

use std::sync::Arc;

use stowage_base::log;
use stowage_http::body::BoxError;
use tokio_util::sync::CancellationToken;

use super::ConfigFile;
use super::scope::ScopeArguments;
use super::serve::block_on;
use super::shown::Format;
use super::watch::watched;
use crate::app::gateway_of;
use crate::config::Config;
use crate::migrate::{Direction, Migration, migrate};
use crate::walk::{Progress, Walk};

#[derive(Debug, clap::Args)]
pub(super) struct Migrate {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    #[command(flatten)]
    scope: ScopeArguments,
    /// Only count what would be moved
    #[arg(long)]
    dry_run: bool,
    /// Move attachments back into CouchDB instead
    #[arg(long, value_name = "WHERE", value_parser = ["couchdb"], conflicts_with = "rehome")]
    to: Option<String>,
    /// Move objects from storages that the plans no longer select to the selected ones
    #[arg(long)]
    rehome: bool,
    /// Convert KAZOO's own pointers to the gateway's format; objects are not moved
    #[arg(long, value_name = "WHOSE", value_parser = ["kazoo"], conflicts_with_all = ["rehome", "to"])]
    from: Option<String>,
    /// Ask CouchDB to compact each database when it is done, and report how much it shrank
    #[arg(long)]
    compact: bool,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Migrate {
    pub(super) fn run(self, config: Config) -> Result<(), BoxError> {
        log::start(config.log.format, config.log.level);
        let direction = match (&self.to, &self.from, self.rehome) {
            (Some(_), _, _) => Direction::Back,
            (_, Some(_), _) => Direction::Adopt,
            (_, _, true) => Direction::Rehome,
            (None, None, false) => Direction::Out,
        };
        let migration = Migration { direction, dry_run: self.dry_run, compact: self.compact };
        let done = if self.dry_run { "to be moved" } else { "moved" };
        block_on(async {
            let gateway = Arc::new(gateway_of(&config)?);
            gateway.plans.read_once().await?;
            let (progress, stop) = (Progress::default(), CancellationToken::new());
            let (scope, pace) = (self.scope.scope(), self.scope.pace(!self.dry_run));
            let walk = Walk { gateway: &gateway, scope: &scope, pace: &pace, progress: &progress, stop: &stop };
            // The removals of replaced objects.
            let rest = async {
                gateway.tasks.drain(config.timeouts.drain).await;
            };
            watched(&progress, (self.format, done), &stop, migrate(walk, migration), rest).await
        })
    }
}
