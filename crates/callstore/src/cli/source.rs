//! Finding and reading the configuration.

use std::path::Path;

use stowage_base::reader::Problem;
use stowage_base::source;

use crate::config::{Config, load};
use crate::roles;

/// Reads the configuration: `--config`, else `CALLSTORE_CONFIG`, else `config/callstore.toml` if it exists.
pub(super) fn read(named: Option<&Path>) -> Result<Config, Vec<String>> {
    let config = source::read(named, "CALLSTORE_CONFIG", "config/callstore.toml", load)?;
    if let Some(path) = &config.roles {
        roles::read_file(path, &config.instance).map_err(|problems| {
            let line = |problem: Problem| format!("{}: {} {}", path.display(), problem.key, problem.message);
            problems.into_iter().map(line).collect::<Vec<_>>()
        })?;
    }
    Ok(config)
}
