//! Classifies a database by its name: its class, and the account it belongs to.
//!
//! Names are decoded (`account/ab/cd/...`): the caller percent-decodes the path segment once.

use std::fmt;
use std::time::SystemTime;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

/// The length of an account id in bytes.
const ACCOUNT_ID_LENGTH: usize = 32;

/// The length in bytes of `AA/BB/REST28`, the form of an account id in a database name.
pub(crate) const ACCOUNT_PATH_LENGTH: usize = ACCOUNT_ID_LENGTH + 2;

/// An account's id: 32 printable ASCII characters without a slash, not necessarily hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccountId(Box<str>);

impl AccountId {
    /// Parses an id as written in a document or in a path of the storage API.
    pub fn parse(id: &str) -> Option<Self> {
        (id.len() == ACCOUNT_ID_LENGTH && is_id_text(id)).then(|| Self(id.into()))
    }

    /// Returns the 32 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A database's class: the entry of a storage plan that covers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// An account's main database.
    Account,
    /// An account's database of one month.
    Modb,
    /// An account's database of one year.
    Yodb,
    /// A database of the platform.
    System,
    /// A database that holds documents of many accounts.
    Aggregate,
}

impl Class {
    /// Returns the class's key in a plan.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Modb => "modb",
            Self::Yodb => "yodb",
            Self::System => "system",
            Self::Aggregate => "aggregate",
        }
    }
}

/// A database that belongs to a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// The database's class.
    pub class: Class,
    /// The account in the database's name.
    pub account: Option<AccountId>,
}

/// Returns the class and account of a database whose attachments a plan may store elsewhere; `None` for one that passes through.
pub fn classify(decoded_name: &str) -> Option<Database> {
    if is_platform_configuration(decoded_name) {
        return None;
    }
    class_of(decoded_name)
}

/// Returns the class and account of any database that has a class, even if its attachments always pass through.
///
/// Only for explaining a name: [`classify`] decides what may leave CouchDB.
pub fn class_of(decoded_name: &str) -> Option<Database> {
    if let Some(path) = decoded_name.strip_prefix("account/") {
        return account_database(path);
    }
    let class = if is_system(decoded_name) {
        Class::System
    } else if is_aggregate(decoded_name) {
        Class::Aggregate
    } else {
        return None;
    };
    Some(Database { class, account: None })
}

/// Returns the decoded name of an account's database for the month of `time`.
#[must_use]
pub fn month_database(account: &AccountId, time: SystemTime) -> String {
    let id = account.as_str();
    let (first, rest) = id.split_at_checked(2).unwrap_or((id, ""));
    let (second, rest) = rest.split_at_checked(2).unwrap_or((rest, ""));
    format!("account/{first}/{second}/{rest}-{}", month(time))
}

/// Formats a month as the platform writes it: `202611`.
#[must_use]
pub fn month(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.chars().filter(char::is_ascii_digit).take("YYYYMM".len()).collect()
}

/// Returns whether this is one of the telephone number databases (`numbers/...`).
pub fn is_numbers(decoded_name: &str) -> bool {
    decoded_name.starts_with("numbers/")
}

/// Returns whether this is the platform's own configuration: a plan that moved its attachments could no longer be read.
fn is_platform_configuration(name: &str) -> bool {
    matches!(name, "system_config" | "system_data" | "services")
}

fn is_system(name: &str) -> bool {
    matches!(
        name,
        "system_config"
            | "system_data"
            | "system_schemas"
            | "system_media"
            | "system_auth"
            | "alerts"
            | "offnet"
            | "anonymous_cdrs"
            | "dedicated_ips"
            | "oauth"
            | "tasks"
            | "pending_notifications"
            | "cccps"
    ) || is_numbers(name)
        || name.starts_with("ratedeck")
}

fn is_aggregate(name: &str) -> bool {
    matches!(
        name,
        "accounts"
            | "token_auth"
            | "sip_auth"
            | "faxes"
            | "acdc"
            | "services"
            | "port_requests"
            | "webhooks"
            | "functions"
    )
}

/// Parses what follows `account/`: `AA/BB/REST28` and a suffix.
fn account_database(path: &str) -> Option<Database> {
    let (id, suffix) = path.split_at_checked(ACCOUNT_PATH_LENGTH)?;
    let class = match suffix.strip_prefix('-') {
        None if suffix.is_empty() => Class::Account,
        Some("selectors") => Class::Account,
        Some(month) if is_digits(month, 6) => Class::Modb,
        Some(year) if is_digits(year, 4) => Class::Yodb,
        _ => return None,
    };
    Some(Database { class, account: Some(account_id(id)?) })
}

fn account_id(path: &str) -> Option<AccountId> {
    let (first, rest) = path.split_once('/')?;
    let (second, rest) = rest.split_once('/')?;
    let shaped = first.len() == 2 && second.len() == 2 && [first, second, rest].into_iter().all(is_id_text);
    shaped.then(|| AccountId([first, second, rest].concat().into()))
}

fn is_id_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
}

fn is_digits(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())
}
