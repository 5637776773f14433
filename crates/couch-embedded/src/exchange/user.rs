//! Authentication and authorization: Basic auth, cookie sessions, and a database's `_security`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::exchange::answer::Failure;

/// Lifetime of a session cookie; also CouchDB's default.
pub(crate) const SESSION: Duration = Duration::from_secs(600);

/// The accounts and active sessions.
pub(crate) struct Users {
    accounts: Vec<Account>,
    sessions: Mutex<HashMap<String, (String, Instant)>>,
}

struct Account {
    name: String,
    /// Digest of the password, which is not kept; comparing digests does not reveal how close a guess was.
    password: [u8; 32],
    admin: bool,
}

/// The client of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct User {
    pub(crate) name: Option<String>,
    pub(crate) admin: bool,
    /// CouchDB's name of the authentication method.
    pub(crate) handler: Option<&'static str>,
}

fn digest(password: &str) -> [u8; 32] {
    Sha256::digest(password.as_bytes()).into()
}

impl Users {
    pub(crate) fn new(admin: (String, String), user: Option<(String, String)>) -> Self {
        let account = |(name, password): (String, String), admin| Account { name, password: digest(&password), admin };
        let accounts = [Some(account(admin, true)), user.map(|user| account(user, false))];
        Self { accounts: accounts.into_iter().flatten().collect(), sessions: Mutex::default() }
    }

    /// Verifies a name and password.
    pub(crate) fn login(&self, name: &str, password: &str) -> Result<User, Failure> {
        let given = digest(password);
        let account = self.accounts.iter().find(|one| one.name == name && one.password == given);
        account.map(|account| account.user("default")).ok_or_else(|| unauthorized("Name or password is incorrect."))
    }

    /// Returns the user these headers authenticate; anonymous without credentials or with an expired cookie.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Result<User, Failure> {
        let basic = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some((scheme, token)) = basic.and_then(|value| value.split_once(' '))
            && scheme.eq_ignore_ascii_case("basic")
        {
            let text = STANDARD.decode(token.trim()).ok().and_then(|raw| String::from_utf8(raw).ok());
            let pair = text.as_deref().and_then(|text| text.split_once(':'));
            let (name, password) = pair.unwrap_or_default();
            return self.login(name, password);
        }
        let session = session_token(headers);
        let name = session.and_then(|token| {
            let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.get(token).filter(|(_, end)| *end > Instant::now()).map(|(name, _)| name.clone())
        });
        let account = self.accounts.iter().find(|one| Some(&one.name) == name.as_ref());
        Ok(account.map(|account| account.user("cookie")).unwrap_or_default())
    }

    /// Starts a session and returns its cookie's token. Random tokens need no signature.
    pub(crate) fn start_session(&self, name: &str) -> String {
        let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let now = Instant::now();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, (_, end)| *end > now);
        sessions.insert(token.clone(), (name.to_owned(), now + SESSION));
        token
    }

    /// Ends the session of these headers, if any.
    pub(crate) fn end_session(&self, headers: &HeaderMap) {
        if let Some(token) = session_token(headers) {
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
        }
    }
}

impl Account {
    fn user(&self, handler: &'static str) -> User {
        User { name: Some(self.name.clone()), admin: self.admin, handler: Some(handler) }
    }
}

fn session_token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix("AuthSession="))
}

fn unauthorized(reason: &'static str) -> Failure {
    Failure::new(StatusCode::UNAUTHORIZED, "unauthorized", reason)
}

impl User {
    pub(crate) fn roles(&self) -> &'static [&'static str] {
        if self.admin { &["_admin"] } else { &[] }
    }

    pub(crate) fn require_server_admin(&self) -> Result<(), Failure> {
        if self.admin { Ok(()) } else { Err(unauthorized("You are not a server admin.")) }
    }

    /// Rejects a user who is not an admin of a database with this `_security`.
    pub(crate) fn require_admin(&self, security: &Value) -> Result<(), Failure> {
        if self.listed(security, "admins") {
            return Ok(());
        }
        Err(unauthorized("You are not a db or server admin."))
    }

    /// Rejects a user who may not access a database with this `_security`. Without any members, it is public.
    pub(crate) fn require_member(&self, security: &Value) -> Result<(), Failure> {
        let group = security.get("members");
        let empty = |kind| {
            let list = group.and_then(|group| group.get(kind)).and_then(Value::as_array);
            list.is_none_or(Vec::is_empty)
        };
        let public = empty("names") && empty("roles");
        if public || self.listed(security, "admins") || self.listed(security, "members") {
            return Ok(());
        }
        if self.name.is_none() {
            return Err(unauthorized("You are not authorized to access this db."));
        }
        let reason = "You are not allowed to access this db.";
        Err(Failure::new(StatusCode::FORBIDDEN, "forbidden", reason))
    }

    fn listed(&self, security: &Value, group: &str) -> bool {
        let holds = |kind: &str, wanted: &str| {
            let list = security.get(group).and_then(|group| group.get(kind)).and_then(Value::as_array);
            list.is_some_and(|list| list.iter().any(|one| one == wanted))
        };
        self.admin
            || self.name.as_deref().is_some_and(|name| holds("names", name))
            || self.roles().iter().any(|role| holds("roles", role))
    }

    /// Returns the `userCtx` of `GET /_session`.
    pub(crate) fn context(&self) -> Value {
        json!({"name": self.name, "roles": self.roles()})
    }
}
