//! Compares the paths and methods in the code with the documented ones.

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

/// Returns the words in paths: every literal in `mod.rs`, plus an account and an id.
fn words() -> Vec<&'static str> {
    let code = include_str!("mod.rs").split("#[cfg(test)]").next().unwrap();
    let literals = code.split('"').skip(1).step_by(2);
    let mut words: Vec<_> = literals.filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())).collect();
    words.extend([ACCOUNT, "id"]);
    words.sort_unstable();
    words.dedup();
    words
}

/// Returns the words that a path can begin with: the first of each arm of `route`.
fn first_words() -> BTreeSet<&'static str> {
    let code = include_str!("mod.rs").split("#[cfg(test)]").next().unwrap();
    code.split("[\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// Returns the documented path of an operation.
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
            OfRuns::Read(Kind::Migration, _) | OfRuns::Stop(Kind::Migration, _) => "/v2/storage/migrations/{RUN_ID}",
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

/// Returns the documented methods of every path of up to five words.
fn known() -> BTreeSet<(&'static str, String)> {
    let (words, mut known) = (words(), BTreeSet::new());
    let mut paths: Vec<String> = first_words().iter().map(|word| format!("/v2/{word}")).collect();
    for length in 1..=5 {
        if length > 1 {
            paths = paths.iter().flat_map(|path| words.iter().map(move |word| format!("{path}/{word}"))).collect();
        }
        let is_known = |path: &&String| [Method::GET, Method::POST].iter().any(|method| route(method, path).is_ok());
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
    let description: Value = serde_json::from_str(include_str!("../../../../docs/openapi.json")).unwrap();
    let mut described = BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
        described.extend(methods.map(|method| (path.as_str(), method.clone())));
    }
    assert_eq!(known(), described);
}
