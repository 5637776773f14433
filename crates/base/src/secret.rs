//! A configured value that must never be printed.

use std::fmt;
use std::path::Path;

use toml::Value;

/// Secret text: no `Display`, and `Debug` only reveals whether it is set.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for the code that sends or compares it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns whether no secret is set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "***" })
    }
}

/// Parses a string, `{ env = "NAME" }` or `{ file = "PATH" }`.
///
/// # Errors
/// A human-readable description of the problem, without the secret.
pub fn read(value: Value) -> Result<Secret, String> {
    let table = match value {
        Value::String(text) => return Ok(Secret(text)),
        Value::Table(table) => table,
        _ => return Err(SHAPE.to_owned()),
    };
    let mut members = table.iter();
    match (members.next(), members.next()) {
        (Some((key, Value::String(name))), None) if key == "env" => {
            std::env::var(name).map(Secret).map_err(|_| format!("the environment variable {name} is not set"))
        }
        (Some((key, Value::String(path))), None) if key == "file" => from_file(Path::new(path)),
        _ => Err(SHAPE.to_owned()),
    }
}

fn from_file(path: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("the file {} cannot be read: {}", path.display(), error.kind()))?;
    Ok(Secret(text.trim_end_matches(['\r', '\n']).to_owned()))
}

const SHAPE: &str = "must be a text, { env = \"NAME\" } or { file = \"PATH\" }";
