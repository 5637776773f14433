//! Finding and reading the configuration.

use std::path::{Path, PathBuf};

use crate::config::{Config, Source, load};
use crate::roles;

/// Reads the configuration: `--config`, else `CALLSTORE_CONFIG`, else `config/callstore.toml` if it exists.
pub(super) fn read(named: Option<&Path>) -> Result<Config, Vec<String>> {
    let environment = std::env::vars_os();
    let environment =
        environment.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect();
    let path = named.map(Path::to_path_buf).or_else(|| std::env::var_os("CALLSTORE_CONFIG").map(PathBuf::from));
    let path = path.or_else(|| Some(PathBuf::from(DEFAULT)).filter(|path| path.is_file()));
    let text = match &path {
        None => String::new(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| vec![format!("the configuration file {} cannot be read: {error}", path.display())])?,
    };
    let from = path.as_deref().map_or_else(|| "the environment".to_owned(), |path| path.display().to_string());
    let config = load(&Source { text, environment }).map_err(|problems| {
        problems.into_iter().map(|problem| format!("{from}: {} {}", problem.key, problem.message)).collect::<Vec<_>>()
    })?;
    if let Some(path) = &config.roles {
        roles::read_file(path, &config.instance).map_err(|problems| {
            let line = |problem: stowage_base::reader::Problem| {
                format!("{}: {} {}", path.display(), problem.key, problem.message)
            };
            problems.into_iter().map(line).collect::<Vec<_>>()
        })?;
    }
    Ok(config)
}

const DEFAULT: &str = "config/callstore.toml";
