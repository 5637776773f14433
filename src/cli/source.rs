//! Locates and reads the configuration.

use std::path::{Path, PathBuf};

use crate::config::{Config, Source, load};

/// Reads a command's configuration: `--config`, else `STOWAGE_CONFIG`, else `config/stowage.toml` if it exists.
pub(super) fn read(named: Option<&Path>) -> Result<Config, Vec<String>> {
    let environment = std::env::vars_os();
    let environment =
        environment.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let environment: Vec<(String, String)> = environment.collect();
    let path = named.map(Path::to_path_buf).or_else(|| std::env::var_os("STOWAGE_CONFIG").map(PathBuf::from));
    let path = path.or_else(|| Some(PathBuf::from(DEFAULT)).filter(|path| path.is_file()));
    let text = match &path {
        None => String::new(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| vec![format!("the configuration file {} cannot be read: {error}", path.display())])?,
    };
    load(&Source { text, environment }).map_err(|problems| {
        let from = path.as_deref().map_or_else(|| "the environment".to_owned(), |path| path.display().to_string());
        problems.into_iter().map(|problem| format!("{from}: {} {}", problem.key, problem.message)).collect()
    })
}

const DEFAULT: &str = "config/stowage.toml";
