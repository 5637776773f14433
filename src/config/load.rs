//! From a file and the environment to a [`Config`].

use stowage_base::reader::{Problem, Section};
use toml::{Table, Value};

use super::{Config, admin, couchdb, egress, fallback, jobs, limits, listen, log, plans, storage, telemetry, timeouts};

/// Where the configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The text of the TOML file; empty where there is none.
    pub text: String,
    /// Environment variables; only those that begin with `STOWAGE__` matter.
    pub environment: Vec<(String, String)>,
}

/// Reads and validates the configuration.
///
/// # Errors
/// Every problem that was found, each with its key path.
pub fn load(source: &Source) -> Result<Config, Vec<Problem>> {
    let mut table: Table = source.text.parse().map_err(|error: toml::de::Error| {
        vec![Problem { key: "(file)".to_owned(), message: error.to_string().trim_end().to_owned() }]
    })?;
    let mut problems = Vec::new();
    for (name, value) in &source.environment {
        if let Some(path) = name.strip_prefix("STOWAGE__")
            && let Err(message) = override_key(&mut table, path, value)
        {
            problems.push(Problem { key: name.clone(), message });
        }
    }
    let mut root = Section::root(table, &mut problems);
    let config = Config {
        listen: listen::read(root.section("listen")),
        couchdb: couchdb::read(root.section("couchdb")),
        plans: plans::read(root.section("plans")),
        limits: limits::read(root.section("limits")),
        timeouts: timeouts::read(root.section("timeouts")),
        fallback: fallback::read(root.section("fallback")),
        jobs: jobs::read(root.section("jobs")),
        egress: egress::read(root.section("egress")),
        storage: storage::read(root.section("storage")),
        admin: admin::read(root.section("admin")),
        log: log::read(root.section("log")),
        telemetry: telemetry::read(root.section("telemetry")),
    };
    root.finish();
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// Puts the value of `SECTION__KEY` at its place; the value is TOML where it reads as TOML (numbers, lists, tables), else a text.
fn override_key(table: &mut Table, path: &str, value: &str) -> Result<(), String> {
    let mut parts: Vec<String> = path.split("__").map(str::to_lowercase).collect();
    let Some(last) = parts.pop().filter(|part| !part.is_empty()) else {
        return Err("names no key".to_owned());
    };
    let mut here = table;
    for part in parts {
        let next = here.entry(part).or_insert_with(|| Value::Table(Table::new()));
        here = next.as_table_mut().ok_or_else(|| "names a key below something that is not a section".to_owned())?;
    }
    let structured = value.starts_with(['[', '{', '"']);
    let parsed = structured.then(|| format!("v = {value}").parse::<Table>().ok()).flatten();
    let value = parsed.and_then(|mut table| table.remove("v")).unwrap_or_else(|| Value::String(value.to_owned()));
    here.insert(last, value);
    Ok(())
}
