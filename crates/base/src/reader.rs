//! Reads values from a parsed TOML table and collects every problem with its key path.
//!
//! Each getter removes its key, so whatever remains at the end is unknown.

use std::net::SocketAddr;
use std::time::Duration;

use toml::{Table, Value};

use super::secret::{self, Secret};

/// A problem in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key in question, such as `limits.attachment_bytes`.
    pub key: String,
    /// Human-readable description of the problem.
    pub message: String,
}

/// One section of the file, with the problems found so far in the whole file.
#[derive(Debug)]
pub struct Section<'a> {
    path: String,
    table: Table,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Section<'a> {
    /// Returns the root section, which is the whole file.
    pub fn root(table: Table, problems: &'a mut Vec<Problem>) -> Self {
        Self { path: String::new(), table, problems }
    }

    /// Returns a subsection; a missing one is empty.
    pub fn section(&mut self, name: &str) -> Section<'_> {
        let path = self.key(name);
        let table = match self.table.remove(name) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(_) => {
                self.problem(name, "must be a section");
                Table::new()
            }
        };
        Section { path, table, problems: self.problems }
    }

    /// Returns whether the key exists.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// Returns whether the key exists and is a section.
    #[must_use]
    pub fn is_section(&self, name: &str) -> bool {
        matches!(self.table.get(name), Some(Value::Table(_)))
    }

    /// Records a problem with a key.
    pub fn problem(&mut self, name: &str, message: impl Into<String>) {
        let key = self.key(name);
        self.problems.push(Problem { key, message: message.into() });
    }

    /// Reports every key that was not read.
    pub fn finish(mut self) {
        let unknown: Vec<String> = self.table.keys().cloned().collect();
        for name in unknown {
            self.problem(&name, "is not a known key");
        }
    }

    /// Reads a value with `read`; falls back to the default if it is missing or rejected.
    fn value<T>(&mut self, name: &str, default: T, must: &str, read: impl FnOnce(&Value) -> Option<T>) -> T {
        let Some(value) = self.table.remove(name) else { return default };
        read(&value).unwrap_or_else(|| {
            self.problem(name, must);
            default
        })
    }

    /// Reads a string.
    pub fn text(&mut self, name: &str, default: &str) -> String {
        self.value(name, default.to_owned(), "must be a text", |value| value.as_str().map(str::to_owned))
    }

    /// Reads a boolean.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        self.optional_flag(name).unwrap_or(default)
    }

    /// Reads an optional boolean.
    pub fn optional_flag(&mut self, name: &str) -> Option<bool> {
        self.value(name, None, "must be true or false", |value| match value {
            Value::Boolean(flag) => Some(Some(*flag)),
            Value::String(text) if text == "true" || text == "false" => Some(Some(text == "true")),
            _ => None,
        })
    }

    /// Reads an integer greater than zero.
    pub fn count(&mut self, name: &str, default: usize) -> usize {
        self.number(name, default, 1)
    }

    /// Reads a non-negative integer; 0 stands for none.
    pub fn count_or_none(&mut self, name: &str, default: usize) -> usize {
        self.number(name, default, 0)
    }

    fn number(&mut self, name: &str, default: usize, least: usize) -> usize {
        let wrong = if least == 0 { "must be a whole number" } else { "must be a whole number above 0" };
        self.value(name, default, wrong, |value| {
            let count = match value {
                Value::Integer(number) => usize::try_from(*number).ok(),
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            count.filter(|count| *count >= least)
        })
    }

    /// Reads a fraction from 0 to 1.
    pub fn share(&mut self, name: &str, default: f64) -> f64 {
        self.value(name, default, "must be a number from 0 to 1", |value| {
            let share = match value {
                Value::Float(number) => Some(*number),
                Value::Integer(number) => i32::try_from(*number).ok().map(f64::from),
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            share.filter(|share| (0.0..=1.0).contains(share))
        })
    }

    /// Reads a size in bytes, as a number or with a unit.
    pub fn bytes(&mut self, name: &str, default: u64) -> u64 {
        let must = "must be a size such as 512, \"64 KiB\", \"8 MiB\" or \"1 GiB\"";
        self.value(name, default, must, |value| {
            let bytes = match value {
                Value::Integer(number) => u64::try_from(*number).ok(),
                Value::String(text) => parse_bytes(text),
                _ => None,
            };
            bytes.filter(|bytes| *bytes > 0)
        })
    }

    /// Reads a non-zero duration with its unit.
    pub fn duration(&mut self, name: &str, default: Duration) -> Duration {
        let must = "must be a duration above 0 such as \"500ms\", \"5s\", \"2m\" or \"1h\"";
        self.value(name, default, must, |value| parse_duration(value.as_str()?))
    }

    /// Reads a socket address; an empty string disables the listener.
    pub fn address(&mut self, name: &str, default: &str) -> Option<SocketAddr> {
        let text = self.text(name, default);
        if text.is_empty() {
            return None;
        }
        let address = text.parse().ok();
        if address.is_none() {
            self.problem(name, "must be an address and a port such as \"127.0.0.1:5985\", or empty for none");
        }
        address
    }

    /// Reads a secret: its text, or where to find it.
    pub fn secret(&mut self, name: &str) -> Secret {
        match self.table.remove(name).map(secret::read) {
            None => Secret::default(),
            Some(Ok(secret)) => secret,
            Some(Err(message)) => {
                self.problem(name, message);
                Secret::default()
            }
        }
    }

    /// Reads a list; a string is split at commas, as environment variables provide it.
    pub fn list(&mut self, name: &str) -> Vec<Value> {
        match self.table.remove(name) {
            None => Vec::new(),
            Some(Value::Array(values)) => values,
            // JSON in a variable: its parts would be wrong values, such as tokens that can be guessed.
            Some(Value::String(text)) if text.trim_start().starts_with(['[', '{']) => {
                self.problem(name, "begins like a list, but is none in TOML, such as [\"a\", { token = \"b\" }]");
                Vec::new()
            }
            Some(Value::String(text)) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                parts.map(|part| Value::String(part.to_owned())).collect()
            }
            Some(_) => {
                self.problem(name, "must be a list");
                Vec::new()
            }
        }
    }

    fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// Parses a configuration file and overlays the environment: variables that begin with `prefix`, such as `STOWAGE__`, name
/// their key as `SECTION__KEY`. Invalid variables are added to `problems`.
///
/// # Errors
/// If `text` is not valid TOML.
pub fn table(
    text: &str,
    environment: &[(String, String)],
    prefix: &str,
    problems: &mut Vec<Problem>,
) -> Result<Table, Vec<Problem>> {
    let mut table = text
        .parse::<Table>()
        .map_err(|error| vec![Problem { key: "(file)".to_owned(), message: syntax_error(text, &error) }])?;
    for (name, value) in environment {
        if let Some(path) = name.strip_prefix(prefix)
            && let Err(message) = override_key(&mut table, path, value)
        {
            problems.push(Problem { key: name.clone(), message });
        }
    }
    Ok(table)
}

/// Describes an error by its place. The error's own text repeats the line, and behind a colon the value, either of which may be a secret.
fn syntax_error(text: &str, error: &toml::de::Error) -> String {
    let what = error.message().split(':').next().unwrap_or_default();
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return what.to_owned() };
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|char| *char != '\n').count() + 1;
    format!("line {line}, column {column}: {what}")
}

/// Sets the key named by `SECTION__KEY`. A value that looks like a list, a table or a quoted string is parsed as TOML; anything else is a string.
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

/// Splits a quantity into its number and unit.
fn parse_quantity(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim()))
}

fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = parse_quantity(text)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = parse_quantity(text)?;
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3600)?),
        "d" => Duration::from_secs(number.checked_mul(86_400)?),
        _ => return None,
    };
    (!duration.is_zero()).then_some(duration)
}
