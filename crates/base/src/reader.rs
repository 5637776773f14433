//! Takes values out of a parsed TOML table and remembers every problem with its key path.
//!
//! Each reader removes its key, so that what is left at the end is unknown.

use std::net::SocketAddr;
use std::time::Duration;

use toml::{Table, Value};

use super::secret::{self, Secret};

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key it is about, such as `limits.attachment_bytes`.
    pub key: String,
    /// What is wrong, for a person.
    pub message: String,
}

/// One section of the file, with the problems found in the whole file so far.
#[derive(Debug)]
pub struct Section<'a> {
    path: String,
    table: Table,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub fn root(table: Table, problems: &'a mut Vec<Problem>) -> Self {
        Self { path: String::new(), table, problems }
    }

    /// The section below this one; a missing one is empty.
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

    /// Whether there is such a key.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// Whether there is such a key, and it is a section.
    #[must_use]
    pub fn is_section(&self, name: &str) -> bool {
        matches!(self.table.get(name), Some(Value::Table(_)))
    }

    /// Notes that something is wrong with a key.
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

    /// A text.
    pub fn text(&mut self, name: &str, default: &str) -> String {
        match self.table.remove(name) {
            None => default.to_owned(),
            Some(Value::String(text)) => text,
            Some(_) => {
                self.problem(name, "must be a text");
                default.to_owned()
            }
        }
    }

    /// A flag.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        self.optional_flag(name).unwrap_or(default)
    }

    /// A flag that may be left out.
    pub fn optional_flag(&mut self, name: &str) -> Option<bool> {
        match self.table.remove(name)? {
            Value::Boolean(flag) => Some(flag),
            Value::String(text) if text == "true" || text == "false" => Some(text == "true"),
            _ => {
                self.problem(name, "must be true or false");
                None
            }
        }
    }

    /// A whole number above 0.
    pub fn count(&mut self, name: &str, default: usize) -> usize {
        self.number(name, default, 1)
    }

    /// A whole number, or 0 for none.
    pub fn count_or_none(&mut self, name: &str, default: usize) -> usize {
        self.number(name, default, 0)
    }

    fn number(&mut self, name: &str, default: usize, least: usize) -> usize {
        let value = self.table.remove(name);
        let count = match &value {
            None => return default,
            Some(Value::Integer(number)) => usize::try_from(*number).ok(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        count.filter(|count| *count >= least).unwrap_or_else(|| {
            self.problem(name, if least == 0 { "must be a whole number" } else { "must be a whole number above 0" });
            default
        })
    }

    /// A part of a whole, from 0 to 1.
    pub fn share(&mut self, name: &str, default: f64) -> f64 {
        let share = match self.table.remove(name) {
            None => return default,
            Some(Value::Float(number)) => Some(number),
            Some(Value::Integer(number)) => i32::try_from(number).ok().map(f64::from),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        share.filter(|share| (0.0..=1.0).contains(share)).unwrap_or_else(|| {
            self.problem(name, "must be a number from 0 to 1");
            default
        })
    }

    /// A size in bytes, as a number or with a unit.
    pub fn bytes(&mut self, name: &str, default: u64) -> u64 {
        let value = self.table.remove(name);
        let bytes = match &value {
            None => return default,
            Some(Value::Integer(number)) => u64::try_from(*number).ok(),
            Some(Value::String(text)) => parse_bytes(text),
            Some(_) => None,
        };
        match bytes {
            Some(bytes) if bytes > 0 => bytes,
            _ => {
                self.problem(name, "must be a size such as 512, \"64 KiB\", \"8 MiB\" or \"1 GiB\"");
                default
            }
        }
    }

    /// A duration above 0, with its unit.
    pub fn duration(&mut self, name: &str, default: Duration) -> Duration {
        let value = self.table.remove(name);
        let duration = match &value {
            None => return default,
            Some(Value::String(text)) => parse_duration(text),
            Some(_) => None,
        };
        duration.unwrap_or_else(|| {
            self.problem(name, "must be a duration above 0 such as \"500ms\", \"5s\", \"2m\" or \"1h\"");
            default
        })
    }

    /// A socket address; an empty text means that the listener is off.
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

    /// A secret: a text, or where it is.
    pub fn secret(&mut self, name: &str) -> Secret {
        let value = self.table.remove(name);
        self.secret_value(name, value)
    }

    /// A secret that has been taken already.
    pub fn secret_value(&mut self, name: &str, value: Option<Value>) -> Secret {
        match value.map(secret::read) {
            None => Secret::default(),
            Some(Ok(secret)) => secret,
            Some(Err(message)) => {
                self.problem(name, message);
                Secret::default()
            }
        }
    }

    /// A list; a text is taken as a list separated by commas, as environment variables give it.
    pub fn list(&mut self, name: &str) -> Vec<Value> {
        match self.table.remove(name) {
            None => Vec::new(),
            Some(Value::Array(values)) => values,
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

fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let duration = match unit.trim() {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3600)?),
        "d" => Duration::from_secs(number.checked_mul(86_400)?),
        _ => return None,
    };
    (!duration.is_zero()).then_some(duration)
}
