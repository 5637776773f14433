//! Orphans: objects in storages that no pointer names.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use percent_encoding::percent_decode_str;
use stowage_base::settings::Settings;
use stowage_http::target::encode;
use stowage_storage::{Backend as _, Listed, Opened};

use super::named::Named;
use crate::database::{AccountId, Class};
use crate::error::Error;
use crate::gateway::Gateway;
use crate::plan::Merged;
use crate::router::Database;
use crate::walk::{Fault, Pages, Progress, Totals, Walk, databases};

/// Searches every storage that the plans of the scope's accounts name. Only considers objects whose names contain the id of such an account: a bucket
/// may also hold objects that are not the gateway's.
pub(super) async fn look(walk: Walk<'_>, named: &Named, (age, remove): (Duration, bool)) -> Result<(), Error> {
    let Walk { gateway, progress, .. } = walk;
    if named.is_unsure() || progress.has_failed() || !progress.gone().is_empty() {
        return Err(unsure("not everything that may name an object could be read"));
    }
    let (storages, accounts) = storages(walk).await?;
    for settings in storages.into_values() {
        let looked = match gateway.storages.open(&settings) {
            Ok(opened) => through(&opened, &settings, (named, &accounts), (age, remove), progress).await,
            Err(error) => Err(error),
        };
        // A fault of one storage does not end the search of the others.
        if let Err(error) = looked {
            progress.says(fault(&settings, "", "unreadable", error.to_string()));
        }
    }
    Ok(())
}

/// Returns each storage of the plans once, and the accounts.
async fn storages(walk: Walk<'_>) -> Result<(HashMap<String, Settings>, Vec<AccountId>), Error> {
    let Walk { gateway, scope, progress, .. } = walk;
    let (mut storages, mut inherited, mut accounts) = (HashMap::new(), HashMap::new(), Vec::new());
    let system = gateway.plans.effective(None, None).await?;
    check(&system, "the system")?;
    for database in databases(gateway, scope).await? {
        let Some(account) = database.account.clone().filter(|account| !accounts.contains(account)) else { continue };
        let plan = gateway.homes.of(&database).await?.plan;
        check(&plan, &format!("account {account}"))?;
        for settings in plan.storages() {
            let found =
                if scope.all || is_own(&plan, settings.id(), &account) { &mut storages } else { &mut inherited };
            found.insert(settings.fingerprint(), settings);
        }
        accounts.push(account);
    }
    for (account, user) in users(gateway, &accounts).await? {
        let plan = gateway.plans.effective(Some(&account), Some(&user)).await?;
        check(&plan, &format!("user {user}"))?;
    }
    // A plan that cannot be read counts as absent.
    if gateway.plans.is_any_unread() {
        return Err(unsure("not every plan could be read"));
    }
    for (fingerprint, settings) in inherited {
        storages.remove(&fingerprint);
        let reason = "another plan than the account's own defines it: what the system's databases name there is only known with --all";
        progress.says(fault(&settings, "", "unlisted", reason.to_owned()));
    }
    Ok((storages, accounts))
}

/// Returns whether only the account's own plan defines a storage. Databases of the system may name objects of the account in any other.
fn is_own(plan: &Merged, id: &str, account: &AccountId) -> bool {
    let part = format!("attachments.{id}");
    let defined = plan.parts().iter().find(|(known, _)| *known == part);
    defined.is_some_and(|(_, documents)| documents.iter().all(|document| document == account.as_str()))
}

/// Returns an error if a plan leaves open what names an object.
fn check(plan: &Merged, whose: &str) -> Result<(), Error> {
    if plan.may_copy() {
        return Err(unsure(&format!("the plan of {whose} makes copies, which no document names")));
    }
    if plan.may_connect() {
        return Err(unsure(&format!(
            "the plan of {whose} names a connection, where databases may be that are not walked"
        )));
    }
    Ok(())
}

/// Returns the users of these accounts who may have a plan. They are read from CouchDB, because a command does not follow the changes feed.
async fn users(gateway: &Gateway, accounts: &[AccountId]) -> Result<Vec<(AccountId, String)>, Error> {
    let name = gateway.plans.database();
    let database = Database { path: encode(name), name: name.to_owned(), class: Class::System, account: None };
    let caller = gateway.homes.local().own_account();
    let (mut pages, mut users) = (Pages::of(&caller, &database), Vec::new());
    while let Some(page) = pages.next().await? {
        for (id, document) in page {
            let document = document?;
            let account = document.text("pvt_account_id").and_then(|account| AccountId::parse(&account));
            let account = account.filter(|account| account.as_str() != id && accounts.contains(account));
            let is_plan = document.text("pvt_type").is_some_and(|document_type| document_type == "storage");
            users.extend(account.filter(|_| is_plan).map(|account| (account, id)));
        }
    }
    Ok(users)
}

/// Creates the error that ends the search.
fn unsure(reason: &str) -> Error {
    Error::bad_gateway(format!("{reason}: orphans are not looked for"))
}

async fn through(
    opened: &Opened,
    settings: &Settings,
    (named, accounts): (&Named, &[AccountId]),
    (age, remove): (Duration, bool),
    progress: &Progress,
) -> stowage_storage::Result<()> {
    let Some(mut listed) = opened.list() else {
        let what = format!("a {} storage cannot list what it holds", settings.handler());
        progress.says(fault(settings, "", "unlisted", what));
        return Ok(());
    };
    while let Some(found) = listed.next().await {
        let found = found?;
        let is_old = SystemTime::now().duration_since(found.modified).is_ok_and(|since| since >= age);
        let is_whole = found.length.is_some();
        if !is_old || !is_of(&found, accounts) || (is_whole && named.has(settings.handler(), &found.location)) {
            continue;
        }
        let what = match found.length {
            Some(length) => format!("nothing names it; {length} bytes"),
            None => "an upload that was never completed".to_owned(),
        };
        if remove {
            opened.delete(&found.location).await?;
            progress.removes(&Totals { attachments: 1, bytes: found.length.unwrap_or_default(), ..Totals::default() });
        } else {
            progress.says(fault(settings, &found.name, "orphan", what));
        }
    }
    Ok(())
}

/// Returns whether an object's name contains one of these accounts, by its id or by the id's form in database names.
fn is_of(listed: &Listed, accounts: &[AccountId]) -> bool {
    let name = percent_decode_str(&listed.name).decode_utf8_lossy();
    accounts.iter().any(|account| {
        let id = account.as_str();
        let parts = id.split_at_checked(4).and_then(|(head, rest)| Some((head.split_at_checked(2)?, rest)));
        let in_database = parts.map(|((first, second), rest)| format!("account/{first}/{second}/{rest}"));
        name.split('/').any(|part| part == id) || in_database.is_some_and(|form| name.contains(&form))
    })
}

fn fault(settings: &Settings, name: &str, kind: &'static str, reason: String) -> Fault {
    Fault::new((&format!("storage {}", settings.id()), name, ""), kind, reason)
}
