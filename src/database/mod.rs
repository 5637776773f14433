//! What a database's name says about it: its class, and the account it belongs to.
//!
//! Names are the decoded ones (`account/ab/cd/...`); the caller undoes the percent-encoding of the path segment once.

use std::fmt;
use std::time::SystemTime;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

/// Bytes of an account id.
const ACCOUNT_ID_LENGTH: usize = 32;

/// Bytes of `AA/BB/REST28`, the form of an account id inside a database name.
const ACCOUNT_PATH_LENGTH: usize = ACCOUNT_ID_LENGTH + 2;

/// The id of an account: 32 printable ASCII characters without a slash, not necessarily hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccountId(Box<str>);

impl AccountId {
    /// Takes an id as it stands in a document or in a path of the storage API.
    pub fn parse(id: &str) -> Option<Self> {
        (id.len() == ACCOUNT_ID_LENGTH && is_id_text(id)).then(|| Self(id.into()))
    }

    /// The 32 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The class of a database: which entry of a storage plan speaks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// An account's main database.
    Account,
    /// An account's database of one month.
    Modb,
    /// An account's database of one year.
    Yodb,
    /// A database of the platform itself.
    System,
    /// A database with documents of many accounts.
    Aggregate,
}

impl Class {
    /// The class's key in a plan.
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

impl fmt::Display for Class {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A database that has a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// The entry of a plan that speaks of it.
    pub class: Class,
    /// The account in its name.
    pub account: Option<AccountId>,
}

/// The class and account of a database whose attachments a plan may send elsewhere; `None` passes through.
pub fn classify(decoded_name: &str) -> Option<Database> {
    if is_platform_configuration(decoded_name) {
        return None;
    }
    class_of(decoded_name)
}

/// The class and account of any database that has one, also of those whose attachments always pass through.
///
/// For explaining a name; what may leave CouchDB is for [`classify`] to say.
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

/// The name of an account's database of a month, decoded.
#[must_use]
pub fn month_database(account: &AccountId, time: SystemTime) -> String {
    let id = account.as_str();
    let (first, rest) = id.split_at_checked(2).unwrap_or((id, ""));
    let (second, rest) = rest.split_at_checked(2).unwrap_or((rest, ""));
    format!("account/{first}/{second}/{rest}-{}", month(time))
}

/// A month as the platform writes it: `202611`.
#[must_use]
pub fn month(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.chars().filter(char::is_ascii_digit).take("YYYYMM".len()).collect()
}

/// Whether this is one of the databases of telephone numbers (`numbers/...`).
pub fn is_numbers(decoded_name: &str) -> bool {
    decoded_name.starts_with("numbers/")
}

/// The platform's own configuration: a plan that moved its attachments could not be read any more.
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

/// Reads what follows `account/`: `AA/BB/REST28` and a suffix.
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
