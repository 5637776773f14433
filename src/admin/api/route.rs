//! Path and method of the storage API → what is asked for.

use http::Method;
use stowage_base::token::Holder;
use stowage_http::target::decode;

use super::envelope::Failure;
use super::runs::Kind;
use crate::database::AccountId;

/// Whose plan it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// The system's: the document `system`.
    System,
    /// All plans of the system.
    SystemPlans,
    /// One of the system's plans.
    SystemPlan(String),
    /// An account's own.
    Account(AccountId),
    /// All plans of a reseller.
    ResellerPlans(AccountId),
    /// One of a reseller's plans.
    ResellerPlan(AccountId, String),
    /// That of an account's user.
    User(AccountId, String),
}

impl Scope {
    /// The account, where it is one's.
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

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// GET of a collection.
    List(Scope),
    /// GET.
    Read(Scope),
    /// PUT.
    Create(Scope),
    /// POST.
    Replace(Scope),
    /// PATCH.
    Patch(Scope),
    /// DELETE.
    Remove(Scope),
    /// What a plan says of an attachment.
    Explain(Option<AccountId>),
    /// An account's failure records.
    Errors(AccountId),
    /// The last failures of all accounts.
    Failures,
    /// Something with the queue of jobs.
    Queue(OfQueue),
    /// Something with migrations or verifications.
    Runs(OfRuns),
    /// POST of a plan that is tried and not saved.
    Check(Scope),
    /// What plans are checked against.
    Schema,
    /// The storages in use, and whether they answer.
    Health,
}

/// What is asked of the queue of jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OfQueue {
    /// How much waits.
    Summary,
    /// A page of jobs.
    List,
    /// A job.
    Read(String),
    /// A job is to be tried at once.
    Retry(String),
    /// A job is to be forgotten.
    Drop(String),
    /// All are to be tried at once.
    RetryAll,
    /// All are to be forgotten.
    DropAll,
}

/// What is asked of runs of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OfRuns {
    /// Those that are known.
    List(Kind),
    /// One is to begin.
    Start(Kind),
    /// One of them.
    Read(Kind, String),
    /// It is to end.
    Stop(Kind, String),
    /// How it goes on.
    Watch(Kind, String),
}

impl Operation {
    /// Whether it is within the reach of who holds a token.
    pub(super) fn is_within_reach(&self, holder: &Holder) -> bool {
        match holder {
            Holder::Operator => true,
            Holder::Account(own) => self.account().is_some_and(|account| account.as_str() == own),
        }
    }

    /// The account that it is about.
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

/// Takes path and method apart.
///
/// # Errors
/// 404 for a path that is none, 405 for a method that it does not have.
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

/// A part of the path, decoded; `None` for what no id can be.
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

/// What stands behind the word for a kind of run; `None` for what is no path.
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

/// In bytes.
const LONGEST_ID: usize = 256;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http::{Method, StatusCode};
    use serde_json::Value;

    use super::{Kind, OfQueue, OfRuns, Operation, Scope, route};
    use crate::database::AccountId;

    const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";

    fn account() -> AccountId {
        AccountId::parse(ACCOUNT).unwrap()
    }

    #[test]
    fn every_documented_path_is_known() {
        let read = |path: &str| route(&Method::GET, &path.replace("{A}", ACCOUNT)).unwrap();
        assert_eq!(read("/v2/storage"), Operation::Read(Scope::System));
        assert_eq!(read("/v2/storage/"), Operation::Read(Scope::System));
        assert_eq!(read("/v2/storage/plans"), Operation::List(Scope::SystemPlans));
        assert_eq!(read("/v2/storage/plans/p"), Operation::Read(Scope::SystemPlan("p".into())));
        assert_eq!(read("/v2/storage/explain"), Operation::Explain(None));
        assert_eq!(read("/v2/accounts/{A}/storage"), Operation::Read(Scope::Account(account())));
        assert_eq!(read("/v2/accounts/{A}/storage/plans"), Operation::List(Scope::ResellerPlans(account())));
        let plan = Scope::ResellerPlan(account(), "p".into());
        assert_eq!(read("/v2/accounts/{A}/storage/plans/p"), Operation::Read(plan));
        assert_eq!(read("/v2/accounts/{A}/storage/errors"), Operation::Errors(account()));
        assert_eq!(read("/v2/accounts/{A}/storage/explain"), Operation::Explain(Some(account())));
        assert_eq!(read("/v2/accounts/{A}/users/u/storage"), Operation::Read(Scope::User(account(), "u".into())));
    }

    #[test]
    fn each_path_has_its_methods() {
        let methods = |path: &str| -> Vec<&str> {
            let all = ["GET", "PUT", "POST", "PATCH", "DELETE", "COPY"];
            all.into_iter().filter(|method| route(&method.parse().unwrap(), path).is_ok()).collect()
        };
        assert_eq!(methods("/v2/storage"), ["GET", "PUT", "POST", "PATCH", "DELETE"]);
        assert_eq!(methods("/v2/storage/plans"), ["GET", "PUT"]);
        assert_eq!(methods("/v2/storage/plans/p"), ["GET", "POST", "PATCH", "DELETE"]);
        assert_eq!(methods("/v2/storage/explain"), ["GET"]);
        assert_eq!(methods("/v2/storage/check"), ["POST"]);
        assert_eq!(methods("/v2/storage/jobs"), ["GET", "POST", "DELETE"]);
        assert_eq!(methods("/v2/storage/jobs/move-1"), ["GET", "POST", "DELETE"]);
        assert_eq!(methods("/v2/storage/migrations"), ["GET", "POST"]);
        assert_eq!(methods("/v2/storage/verifications/1"), ["GET", "DELETE"]);
        assert_eq!(methods("/v2/storage/verifications/1/events"), ["GET"]);
    }

    #[test]
    fn what_is_no_path_is_not_found() {
        let long = format!("/v2/storage/plans/{}", "x".repeat(300));
        for path in [
            "/v2",
            "/v2/",
            "/v2/storage/x",
            "/v2/storage/migrations/1/x",
            "/v2/storage/migrations/1/events/x",
            "/v2/storage/plans/_design",
            "/v2/storage/plans/%zz",
            "/v2/accounts/short/storage",
            &long,
        ] {
            let failure = route(&Method::GET, path).unwrap_err();
            assert_eq!(failure.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    /// Words that paths are made of: every literal of this file, with an account and an id.
    fn words() -> Vec<&'static str> {
        let code = include_str!("route.rs").split("#[cfg(test)]").next().unwrap();
        let literals = code.split('"').skip(1).step_by(2);
        let mut words: Vec<_> = literals.filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())).collect();
        words.extend([ACCOUNT, "id"]);
        words.sort_unstable();
        words.dedup();
        words
    }

    /// Those of them that a path begins with: an arm of `route` begins with one.
    fn first_words() -> BTreeSet<&'static str> {
        let code = include_str!("route.rs").split("#[cfg(test)]").next().unwrap();
        code.split("[\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    /// The path of an operation, as a description has it.
    fn template(operation: &Operation) -> &'static str {
        match operation {
            Operation::Explain(None) => "/v2/storage/explain",
            Operation::Explain(Some(_)) => "/v2/accounts/{ACCOUNT_ID}/storage/explain",
            Operation::Errors(_) => "/v2/accounts/{ACCOUNT_ID}/storage/errors",
            Operation::Failures => "/v2/storage/failures",
            Operation::Queue(OfQueue::Summary) => "/v2/storage/queue",
            Operation::Queue(OfQueue::List | OfQueue::RetryAll | OfQueue::DropAll) => "/v2/storage/jobs",
            Operation::Queue(_) => "/v2/storage/jobs/{JOB_ID}",
            Operation::Runs(operation) => match operation {
                OfRuns::List(Kind::Migration) | OfRuns::Start(Kind::Migration) => "/v2/storage/migrations",
                OfRuns::List(_) | OfRuns::Start(_) => "/v2/storage/verifications",
                OfRuns::Read(Kind::Migration, _) | OfRuns::Stop(Kind::Migration, _) => {
                    "/v2/storage/migrations/{RUN_ID}"
                }
                OfRuns::Read(..) | OfRuns::Stop(..) => "/v2/storage/verifications/{RUN_ID}",
                OfRuns::Watch(Kind::Migration, _) => "/v2/storage/migrations/{RUN_ID}/events",
                OfRuns::Watch(..) => "/v2/storage/verifications/{RUN_ID}/events",
            },
            Operation::Schema => "/v2/storage/schema",
            Operation::Check(Scope::System) => "/v2/storage/check",
            Operation::Check(_) => "/v2/accounts/{ACCOUNT_ID}/storage/check",
            Operation::Health => "/v2/storage/health",
            Operation::List(scope)
            | Operation::Read(scope)
            | Operation::Create(scope)
            | Operation::Replace(scope)
            | Operation::Patch(scope)
            | Operation::Remove(scope) => match scope {
                Scope::System => "/v2/storage",
                Scope::SystemPlans => "/v2/storage/plans",
                Scope::SystemPlan(_) => "/v2/storage/plans/{PLAN_ID}",
                Scope::Account(_) => "/v2/accounts/{ACCOUNT_ID}/storage",
                Scope::ResellerPlans(_) => "/v2/accounts/{ACCOUNT_ID}/storage/plans",
                Scope::ResellerPlan(..) => "/v2/accounts/{ACCOUNT_ID}/storage/plans/{PLAN_ID}",
                Scope::User(..) => "/v2/accounts/{ACCOUNT_ID}/users/{USER_ID}/storage",
            },
        }
    }

    /// The methods of every path of up to five words, as a description has it.
    fn known() -> BTreeSet<(&'static str, String)> {
        let (words, mut known) = (words(), BTreeSet::new());
        let mut paths: Vec<String> = first_words().iter().map(|word| format!("/v2/{word}")).collect();
        for length in 1..=5 {
            if length > 1 {
                paths = paths.iter().flat_map(|path| words.iter().map(move |word| format!("{path}/{word}"))).collect();
            }
            let is_known =
                |path: &&String| [Method::GET, Method::POST].iter().any(|method| route(method, path).is_ok());
            for path in paths.iter().filter(is_known) {
                for method in METHODS {
                    if let Ok(operation) = route(&method.parse().unwrap(), path) {
                        known.insert((template(&operation), method.to_ascii_lowercase()));
                    }
                }
            }
        }
        known
    }

    const METHODS: [&str; 9] = ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT", "OPTIONS", "TRACE", "COPY"];

    #[test]
    fn the_description_has_every_path_and_method_and_no_other() {
        let description: Value = serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap();
        let mut described = BTreeSet::new();
        for (path, item) in description["paths"].as_object().unwrap() {
            let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
            described.extend(methods.map(|method| (path.as_str(), method.clone())));
        }
        assert_eq!(known(), described);
    }
}
