//! A run's options: those of the commands, as JSON.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use glob::Pattern;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::super::envelope::{Errors, Failure};
use super::super::schema::Schemas;
use super::Kind;
use crate::database::AccountId;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::migrate::{Direction, Migration, migrate};
use crate::verify::{Verification, verify};
use crate::walk::{Pace, Progress, Scope, Walk};

/// The parsed options of a run.
#[derive(Debug)]
pub(super) struct Order {
    scope: Scope,
    pace: Pace,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Migration(Migration),
    Verification(Verification),
}

/// The options of both kinds; the schemas determine which apply.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    databases: Vec<String>,
    accounts: Vec<String>,
    all: bool,
    types: Vec<String>,
    since: Option<String>,
    until: Option<String>,
    jobs: Option<usize>,
    rate: Option<u64>,
    direction: String,
    dry_run: bool,
    compact: bool,
    read: bool,
    orphans: bool,
    remove_orphans: bool,
    older_than: Option<String>,
    repair: bool,
}

impl Order {
    /// Parses the options. `null` counts as missing.
    ///
    /// # Errors
    /// Returns a 400 with the errors of each field.
    pub(super) fn read(kind: Kind, members: &Map<String, Value>, schemas: &Schemas) -> Result<Self, Failure> {
        let mut errors = Errors::default();
        schemas.check_run(kind, members, &mut errors);
        errors.check()?;
        let given: Map<_, _> = members.clone().into_iter().filter(|(_, value)| !value.is_null()).collect();
        // Cannot fail for options that passed the schema.
        let options: Options = serde_json::from_value(Value::Object(given)).map_err(|_| Failure::unreadable())?;
        let mut errors = Errors::default();
        let order = Self {
            scope: scope(&options, &mut errors),
            // The rate only applies if attachments are moved.
            pace: Pace::new(
                options.jobs.unwrap_or(8),
                options.rate.filter(|_| !options.dry_run).map(|rate| rate << 20),
            ),
            work: match kind {
                Kind::Migration => Work::Migration(migration(&options)),
                Kind::Verification => Work::Verification(verification(&options, &mut errors)),
            },
        };
        errors.check()?;
        Ok(order)
    }

    /// Performs the run until it is done or `stop` is cancelled.
    ///
    /// # Errors
    /// Returns the command's errors.
    pub(super) async fn carry_out(
        &self,
        gateway: &Arc<Gateway>,
        progress: &Progress,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let walk = Walk { gateway, scope: &self.scope, pace: &self.pace, progress, stop };
        match self.work {
            Work::Migration(migration) => migrate(walk, migration).await,
            Work::Verification(verification) => verify(walk, verification).await,
        }
    }
}

fn scope(options: &Options, errors: &mut Errors) -> Scope {
    if !options.all && options.databases.is_empty() && options.accounts.is_empty() {
        errors.say(&["all"], "required", "One of databases, accounts and all is wanted");
    }
    let mut scope = Scope { all: options.all, types: options.types.clone(), ..Scope::default() };
    for (index, text) in options.databases.iter().enumerate() {
        match Pattern::new(text) {
            Ok(pattern) => scope.databases.push(pattern),
            Err(error) => errors.say(&["databases", &index.to_string()], "pattern", error.msg),
        }
    }
    for (index, text) in options.accounts.iter().enumerate() {
        match AccountId::parse(text) {
            Some(account) => scope.accounts.push(account),
            None => errors.say(&["accounts", &index.to_string()], "pattern", "An account's id has 32 characters"),
        }
    }
    scope.since = options.since.as_deref().and_then(|text| time("since", text, errors));
    scope.until = options.until.as_deref().and_then(|text| time("until", text, errors));
    scope
}

fn time(field: &str, text: &str, errors: &mut Errors) -> Option<SystemTime> {
    let time = crate::walk::time(text);
    if time.is_none() {
        errors.say(&[field], "pattern", "It is a day or a time, such as 2026-11-30 or 2026-11-30T12:00:00Z");
    }
    time
}

fn migration(options: &Options) -> Migration {
    let direction = match &*options.direction {
        "back" => Direction::Back,
        "rehome" => Direction::Rehome,
        "adopt" => Direction::Adopt,
        _ => Direction::Out,
    };
    Migration { direction, dry_run: options.dry_run, compact: options.compact }
}

fn verification(options: &Options, errors: &mut Errors) -> Verification {
    if options.remove_orphans && !options.orphans {
        errors.say(&["remove_orphans"], "forbidden", "What nothing names has to be looked for: orphans");
    }
    let narrowed = [
        ("databases", !options.databases.is_empty()),
        ("types", !options.types.is_empty()),
        ("since", options.since.is_some()),
        ("until", options.until.is_some()),
    ];
    for (field, is_given) in narrowed {
        if options.orphans && is_given {
            errors.say(
                &[field],
                "forbidden",
                "Orphans are looked for with accounts or all: what is named elsewhere is none",
            );
        }
    }
    let age = humantime::parse_duration(options.older_than.as_deref().unwrap_or("1d")).unwrap_or_else(|_| {
        errors.say(&["older_than"], "pattern", "It is a duration, such as 1d or 12h");
        Duration::MAX
    });
    Verification {
        read: options.read,
        orphans: options.orphans.then_some(age),
        remove: options.remove_orphans,
        repair: options.repair,
    }
}

#[cfg(test)]
mod tests;
