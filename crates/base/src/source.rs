//! Where a program's configuration comes from: a TOML file, and environment variables over it.

use std::path::{Path, PathBuf};

use super::reader::Problem;

/// The sources of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The text of the TOML file, empty if there is none.
    pub text: String,
    /// Environment variables; those without the program's prefix are ignored.
    pub environment: Vec<(String, String)>,
}

/// Reads a command's configuration: the file that it was given, else the one that `variable` names, else `default` if it exists.
///
/// # Errors
/// A line for each problem that `load` finds, or the reason why the file cannot be read.
pub fn read<C>(
    named: Option<&Path>,
    variable: &str,
    default: &str,
    load: impl FnOnce(&Source) -> Result<C, Vec<Problem>>,
) -> Result<C, Vec<String>> {
    let environment = std::env::vars_os();
    let environment =
        environment.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect();
    let path = named.map(Path::to_path_buf).or_else(|| std::env::var_os(variable).map(PathBuf::from));
    let path = path.or_else(|| Some(PathBuf::from(default)).filter(|path| path.is_file()));
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
