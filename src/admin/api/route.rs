//! Path and method of the storage API → what is asked for.

use http::Method;
use stowage_http::target::decode;

use super::envelope::Failure;
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
    /// What waits in the queue of jobs.
    Jobs,
    /// The storages in use, and whether they answer.
    Health,
}

impl Operation {
    /// The account that it is about.
    pub(super) const fn account(&self) -> Option<&AccountId> {
        match self {
            Self::List(scope)
            | Self::Read(scope)
            | Self::Create(scope)
            | Self::Replace(scope)
            | Self::Patch(scope)
            | Self::Remove(scope) => scope.account(),
            Self::Explain(account) => account.as_ref(),
            Self::Errors(account) => Some(account),
            Self::Failures | Self::Jobs | Self::Health => None,
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
        ["storage", "jobs"] => only_get(method, Operation::Jobs),
        ["storage", "health"] => only_get(method, Operation::Health),
        ["storage", "explain"] => only_get(method, Operation::Explain(None)),
        ["accounts", account, "storage"] => single(method, Scope::Account(account_id(account)?)),
        ["accounts", account, "storage", "plans"] => collection(method, Scope::ResellerPlans(account_id(account)?)),
        ["accounts", account, "storage", "plans", id] => {
            item(method, Scope::ResellerPlan(account_id(account)?, id.to_owned()))
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

    use super::{Operation, Scope, route};
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
    }

    #[test]
    fn what_is_no_path_is_not_found() {
        let long = format!("/v2/storage/plans/{}", "x".repeat(300));
        for path in [
            "/v2",
            "/v2/",
            "/v2/storage/x",
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

    /// The path of an operation, as a description has it.
    fn template(operation: &Operation) -> &'static str {
        match operation {
            Operation::Explain(None) => "/v2/storage/explain",
            Operation::Explain(Some(_)) => "/v2/accounts/{ACCOUNT_ID}/storage/explain",
            Operation::Errors(_) => "/v2/accounts/{ACCOUNT_ID}/storage/errors",
            Operation::Failures => "/v2/storage/failures",
            Operation::Jobs => "/v2/storage/jobs",
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
        let mut paths = vec![String::from("/v2")];
        for _ in 0..5 {
            paths = paths.iter().flat_map(|path| words.iter().map(move |word| format!("{path}/{word}"))).collect();
            for path in paths.iter().filter(|path| route(&Method::GET, path).is_ok()) {
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
