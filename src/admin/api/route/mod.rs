//! Maps a path and a method of the storage API to an operation.

use http::Method;
use stowage_base::token::Holder;
use stowage_http::target::decode;

use super::envelope::Failure;
use super::runs::Kind;
use crate::database::AccountId;

/// The owner of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// The system's plan: the document `system`.
    System,
    /// All plans of the system.
    SystemPlans,
    /// A plan of the system.
    SystemPlan(String),
    /// An account's own plan.
    Account(AccountId),
    /// All plans of a reseller.
    ResellerPlans(AccountId),
    /// A plan of a reseller.
    ResellerPlan(AccountId, String),
    /// A user's plan.
    User(AccountId, String),
}

impl Scope {
    /// Returns the account of the scope, if it has one.
    pub(super) const fn account(&self) -> Option<&AccountId> {
        match self {
            Self::System | Self::SystemPlans | Self::SystemPlan(_) => None,
            Self::Account(account)
            | Self::ResellerPlans(account)
            | Self::ResellerPlan(account, _)
            | Self::User(account, _) => Some(account),
        }
    }
}

/// An operation of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// GET of a collection
    List(Scope),
    /// GET
    Read(Scope),
    /// PUT
    Create(Scope),
    /// POST
    Replace(Scope),
    /// PATCH
    Patch(Scope),
    /// DELETE
    Remove(Scope),
    /// Explains what a plan says about an attachment.
    Explain(Option<AccountId>),
    /// Lists an account's failure records.
    Errors(AccountId),
    /// Lists the last failures of all accounts.
    Failures,
    /// An operation on the job queue.
    Queue(OfQueue),
    /// An operation on migrations or verifications.
    Runs(OfRuns),
    /// Validates and checks a plan without saving it.
    Check(Scope),
    /// Returns the schemas of plans.
    Schema,
    /// Returns the storages in use, with their health.
    Health,
}

/// An operation on the job queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OfQueue {
    /// Counts the waiting jobs.
    Summary,
    /// Returns a page of jobs.
    List,
    /// Returns a job.
    Read(String),
    /// Makes a job due at once.
    Retry(String),
    /// Drops a job.
    Drop(String),
    /// Makes all jobs due at once.
    RetryAll,
    /// Drops all jobs.
    DropAll,
}

/// An operation on the runs of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OfRuns {
    /// Lists the known runs.
    List(Kind),
    /// Starts a run.
    Start(Kind),
    /// Returns a run.
    Read(Kind, String),
    /// Stops a run.
    Stop(Kind, String),
    /// Streams a run's progress.
    Watch(Kind, String),
}

impl Operation {
    /// Returns whether a token's holder may perform the operation.
    pub(super) fn is_within_reach(&self, holder: &Holder) -> bool {
        match holder {
            Holder::Operator => true,
            Holder::Account(own) => self.account().is_some_and(|account| account.as_str() == own),
        }
    }

    /// Returns the account that the operation concerns.
    pub(super) const fn account(&self) -> Option<&AccountId> {
        match self {
            Self::List(scope)
            | Self::Read(scope)
            | Self::Create(scope)
            | Self::Replace(scope)
            | Self::Patch(scope)
            | Self::Remove(scope)
            | Self::Check(scope) => scope.account(),
            Self::Explain(account) => account.as_ref(),
            Self::Errors(account) => Some(account),
            Self::Failures | Self::Queue(_) | Self::Runs(_) | Self::Schema | Self::Health => None,
        }
    }
}

/// Parses a path and a method.
///
/// # Errors
/// Returns a 404 for an unknown path, or a 405 for a method that it does not support.
pub(super) fn route(method: &Method, path: &str) -> Result<Operation, Failure> {
    let unknown = || Failure::bad_identifier(path);
    let rest = path.strip_prefix("/v2/").ok_or_else(unknown)?;
    let parts: Vec<String> =
        rest.trim_end_matches('/').split('/').map(part).collect::<Option<_>>().ok_or_else(unknown)?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts[..] {
        ["storage"] => single(method, Scope::System),
        ["storage", "plans"] => collection(method, Scope::SystemPlans),
        ["storage", "plans", id] => item(method, Scope::SystemPlan(id.to_owned())),
        ["storage", "failures"] => only_get(method, Operation::Failures),
        ["storage", "queue"] => only_get(method, Operation::Queue(OfQueue::Summary)),
        ["storage", "jobs"] => jobs(method),
        ["storage", "jobs", id] => job(method, id),
        ["storage", "migrations", ref rest @ ..] => runs(method, Kind::Migration, rest).ok_or_else(unknown)?,
        ["storage", "verifications", ref rest @ ..] => runs(method, Kind::Verification, rest).ok_or_else(unknown)?,
        ["storage", "schema"] => only_get(method, Operation::Schema),
        ["storage", "check"] => only_post(method, Operation::Check(Scope::System)),
        ["storage", "health"] => only_get(method, Operation::Health),
        ["storage", "explain"] => only_get(method, Operation::Explain(None)),
        ["accounts", account, "storage"] => single(method, Scope::Account(account_id(account)?)),
        ["accounts", account, "storage", "plans"] => collection(method, Scope::ResellerPlans(account_id(account)?)),
        ["accounts", account, "storage", "plans", id] => {
            item(method, Scope::ResellerPlan(account_id(account)?, id.to_owned()))
        }
        ["accounts", account, "storage", "check"] => {
            only_post(method, Operation::Check(Scope::Account(account_id(account)?)))
        }
        ["accounts", account, "storage", "explain"] => only_get(method, Operation::Explain(Some(account_id(account)?))),
        ["accounts", account, "storage", "errors"] => only_get(method, Operation::Errors(account_id(account)?)),
        ["accounts", account, "users", user, "storage"] => {
            single(method, Scope::User(account_id(account)?, user.to_owned()))
        }
        _ => Err(unknown()),
    }
}

/// Decodes a path segment; `None` if it cannot be an id.
fn part(text: &str) -> Option<String> {
    let decoded = decode(text).ok()?;
    let text = std::str::from_utf8(&decoded).ok()?;
    let sound =
        !text.is_empty() && !text.starts_with('_') && text.len() <= LONGEST_ID && !text.chars().any(char::is_control);
    sound.then(|| text.to_owned())
}

fn account_id(text: &str) -> Result<AccountId, Failure> {
    AccountId::parse(text).ok_or_else(|| Failure::bad_identifier(text))
}

fn single(method: &Method, scope: Scope) -> Result<Operation, Failure> {
    match method.as_str() {
        "GET" | "HEAD" => Ok(Operation::Read(scope)),
        "PUT" => Ok(Operation::Create(scope)),
        "POST" => Ok(Operation::Replace(scope)),
        "PATCH" => Ok(Operation::Patch(scope)),
        "DELETE" => Ok(Operation::Remove(scope)),
        _ => Err(Failure::method_not_allowed("GET, HEAD, PUT, POST, PATCH, DELETE")),
    }
}

fn collection(method: &Method, scope: Scope) -> Result<Operation, Failure> {
    match method.as_str() {
        "GET" | "HEAD" => Ok(Operation::List(scope)),
        "PUT" => Ok(Operation::Create(scope)),
        _ => Err(Failure::method_not_allowed("GET, HEAD, PUT")),
    }
}

fn item(method: &Method, scope: Scope) -> Result<Operation, Failure> {
    match single(method, scope) {
        Ok(Operation::Create(_)) | Err(_) => Err(Failure::method_not_allowed("GET, HEAD, POST, PATCH, DELETE")),
        operation => operation,
    }
}

fn jobs(method: &Method) -> Result<Operation, Failure> {
    Ok(Operation::Queue(match method.as_str() {
        "GET" | "HEAD" => OfQueue::List,
        "POST" => OfQueue::RetryAll,
        "DELETE" => OfQueue::DropAll,
        _ => return Err(Failure::method_not_allowed("GET, HEAD, POST, DELETE")),
    }))
}

fn job(method: &Method, id: &str) -> Result<Operation, Failure> {
    let id = id.to_owned();
    Ok(Operation::Queue(match method.as_str() {
        "GET" | "HEAD" => OfQueue::Read(id),
        "POST" => OfQueue::Retry(id),
        "DELETE" => OfQueue::Drop(id),
        _ => return Err(Failure::method_not_allowed("GET, HEAD, POST, DELETE")),
    }))
}

/// Parses the path after a kind of run; `None` if it is unknown.
fn runs(method: &Method, kind: Kind, rest: &[&str]) -> Option<Result<Operation, Failure>> {
    let (operation, allowed) = match (method.as_str(), rest) {
        ("GET" | "HEAD", []) => (Some(OfRuns::List(kind)), ""),
        ("POST", []) => (Some(OfRuns::Start(kind)), ""),
        (_, []) => (None, "GET, HEAD, POST"),
        ("GET" | "HEAD", [id]) => (Some(OfRuns::Read(kind, (*id).to_owned())), ""),
        ("DELETE", [id]) => (Some(OfRuns::Stop(kind, (*id).to_owned())), ""),
        (_, [_]) => (None, "GET, HEAD, DELETE"),
        ("GET" | "HEAD", [id, "events"]) => (Some(OfRuns::Watch(kind, (*id).to_owned())), ""),
        (_, [_, "events"]) => (None, "GET, HEAD"),
        _ => return None,
    };
    Some(operation.map(Operation::Runs).ok_or_else(|| Failure::method_not_allowed(allowed)))
}

fn only_post(method: &Method, operation: Operation) -> Result<Operation, Failure> {
    if *method == Method::POST { Ok(operation) } else { Err(Failure::method_not_allowed("POST")) }
}

fn only_get(method: &Method, operation: Operation) -> Result<Operation, Failure> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(operation);
    }
    Err(Failure::method_not_allowed("GET, HEAD"))
}

/// The longest id in bytes.
const LONGEST_ID: usize = 256;

#[cfg(test)]
mod tests;
