//! Finding and reading the configuration.

use std::path::Path;

use stowage_base::reader::Problem;
use stowage_base::source;

use crate::config::{Config, load};
use crate::roles;

/// Reads the configuration and the list of roles.
pub(super) fn read(named: Option<&Path>) -> Result<Config, Vec<String>> {
    let config = configuration(named)?;
    let problems = roles(&config);
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// Reads the configuration: `--config`, else `CALLSTORE_CONFIG`, else `config/callstore.toml` if it exists.
pub(super) fn configuration(named: Option<&Path>) -> Result<Config, Vec<String>> {
    source::read(named, "CALLSTORE_CONFIG", "config/callstore.toml", load)
}

/// Returns the problems of the list of roles.
pub(super) fn roles(config: &Config) -> Vec<String> {
    let Some(path) = &config.roles else { return Vec::new() };
    let problems = roles::read_file(path, &config.instance).err().unwrap_or_default();
    let line = |problem: Problem| format!("{}: {} {}", path.display(), problem.key, problem.message);
    problems.into_iter().map(line).collect()
}
