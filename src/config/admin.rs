//! `[admin]`: the admin listener and who may use the storage API.

use std::net::SocketAddr;

use stowage_base::reader::Section;
use stowage_base::secret::Secret;
use toml::Value;

/// A token of the storage API.
#[derive(Debug, Clone)]
pub struct Token {
    /// The text, or `sha256:` and the hex digest of it.
    pub secret: Secret,
    /// The one account that it may reach; `None`: everything.
    pub account: Option<String>,
}

/// `[admin]`.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Health, metrics and the storage API; `None` where it is turned off.
    pub address: Option<SocketAddr>,
    /// Who may use `/v2`.
    pub tokens: Vec<Token>,
}

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Admin {
    let address = section.address("address", "127.0.0.1:5986");
    let mut tokens = Vec::new();
    for (index, value) in section.list("tokens").into_iter().enumerate() {
        let name = format!("tokens.{index}");
        match token(value) {
            Ok(token) => tokens.push(token),
            Err(message) => section.problem(&name, message),
        }
    }
    section.finish();
    Admin { address, tokens }
}

fn token(value: Value) -> Result<Token, String> {
    let (value, account) = match value {
        Value::Table(mut table) if table.contains_key("token") => {
            let account = match table.remove("account") {
                None => None,
                Some(Value::String(account)) => Some(account),
                Some(_) => return Err("account must be a text".to_owned()),
            };
            let secret = table.remove("token").unwrap_or(Value::Boolean(false));
            if let Some(unknown) = table.keys().next() {
                return Err(format!("{unknown} is not a known key"));
            }
            (secret, account)
        }
        value => (value, None),
    };
    let secret = stowage_base::secret::read(value)?;
    let text = secret.expose();
    let digest = text.strip_prefix("sha256:");
    if digest.is_some_and(|hex| hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Err("sha256: must be followed by 64 hex digits".to_owned());
    }
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    Ok(Token { secret, account })
}
