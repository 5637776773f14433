//! The documents that a command covers, and its pace.

use std::time::SystemTime;

use clap::ArgGroup;
use glob::Pattern;
use stowage_http::body::BoxError;

use crate::database::AccountId;
use crate::walk::{self, Pace, Scope};

/// The arguments shared by commands that walk databases.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("databases").required(true).multiple(true).args(["db", "account", "all"]))]
pub(super) struct ScopeArguments {
    /// Databases whose decoded name matches, such as "account/*-202611"; repeatable
    #[arg(long, value_name = "GLOB")]
    db: Vec<Pattern>,
    /// All databases of an account; repeatable
    #[arg(long, value_name = "ID", value_parser = account)]
    account: Vec<AccountId>,
    /// Every database that plans cover
    #[arg(long)]
    all: bool,
    /// Only documents of this type (pvt_type); repeatable
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only documents created at or after this time (pvt_created), such as 2026-11-30 or 2026-11-30T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<SystemTime>,
    /// Only documents created before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<SystemTime>,
    /// Documents processed at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: u16,
    /// The transfer limit in MiB per second
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
}

impl ScopeArguments {
    pub(super) fn scope(&self) -> Scope {
        Scope {
            databases: self.db.clone(),
            accounts: self.account.clone(),
            all: self.all,
            types: self.types.clone(),
            since: self.since,
            until: self.until,
        }
    }

    /// Returns the pace; the rate only applies if attachments are moved.
    pub(super) fn pace(&self, moves: bool) -> Pace {
        Pace::new(usize::from(self.jobs), self.rate.filter(|_| moves).map(|rate| rate << 20))
    }
}

fn account(text: &str) -> Result<AccountId, BoxError> {
    AccountId::parse(text).ok_or_else(|| "an account's id has 32 characters".into())
}

fn time(text: &str) -> Result<SystemTime, BoxError> {
    walk::time(text).ok_or_else(|| "it is a day or a time, such as 2026-11-30 or 2026-11-30T12:00:00Z".into())
}
