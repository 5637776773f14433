//! `stowage verify`: checks that every pointer leads to its object.

use std::sync::Arc;
use std::time::Duration;

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
use crate::verify::{Verification, verify};
use crate::walk::{Progress, Walk};

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    #[command(flatten)]
    scope: ScopeArguments,
    /// Read every object in full, and compare its MD5 and SHA-256 with the pointer's
    #[arg(long)]
    read: bool,
    /// Look for orphans, objects that no pointer names; only with --all or --account
    #[arg(long, conflicts_with_all = ["db", "types", "since", "until"])]
    orphans: bool,
    /// Remove orphans
    #[arg(long, requires = "orphans")]
    remove_orphans: bool,
    /// Only orphans older than this
    #[arg(long, value_name = "AGE", default_value = "1d", value_parser = humantime::parse_duration)]
    older_than: Duration,
    /// Create jobs for repairable faults: missing copies, and attachments in CouchDB that the plan sends elsewhere
    #[arg(long)]
    repair: bool,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Verify {
    pub(super) fn run(self, config: Config) -> Result<(), BoxError> {
        log::start(config.log.format, config.log.level);
        block_on(async {
            let gateway = Arc::new(gateway_of(&config)?);
            gateway.plans.read_once().await?;
            let (progress, stop) = (Progress::default(), CancellationToken::new());
            let (scope, pace) = (self.scope.scope(), self.scope.pace(true));
            let orphans = self.orphans.then_some(self.older_than);
            let verification =
                Verification { read: self.read, orphans, remove: self.remove_orphans, repair: self.repair };
            let walk = Walk { gateway: &gateway, scope: &scope, pace: &pace, progress: &progress, stop: &stop };
            watched(&progress, (self.format, "checked"), &stop, verify(walk, verification), async {}).await
        })
    }
}
