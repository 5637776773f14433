//! Orphans: objects in storages that no pointer names.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use percent_encoding::percent_decode_str;
use stowage_base::settings::Settings;
use stowage_storage::{Backend as _, Listed, Opened};

use super::named::Named;
use crate::database::AccountId;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::walk::{Fault, Progress, Scope, Totals, Walk, databases};

/// Searches every storage that the plans of the scope's accounts name. Only considers objects whose names contain the id of such an account: a bucket
/// may also hold objects that are not the gateway's.
pub(super) async fn look(walk: Walk<'_>, named: &Named, (age, remove): (Duration, bool)) -> Result<(), Error> {
    let Walk { gateway, scope, progress, .. } = walk;
    if named.is_unsure() || progress.faults().0.iter().any(|fault| fault.kind == "failed") {
        let reason = "not everything that may name an object could be read: orphans are not looked for";
        return Err(Error::bad_gateway(reason));
    }
    let (storages, accounts) = storages(gateway, scope).await?;
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
async fn storages(gateway: &Arc<Gateway>, scope: &Scope) -> Result<(HashMap<String, Settings>, Vec<AccountId>), Error> {
    let (mut storages, mut accounts) = (HashMap::new(), Vec::new());
    for database in databases(gateway, scope).await? {
        let Some(account) = database.account.clone().filter(|account| !accounts.contains(account)) else { continue };
        let home = gateway.homes.of(&database).await?;
        if home.plan.may_copy() {
            let reason = format!(
                "the plan of account {account} makes copies, which no document names: orphans are not looked for"
            );
            return Err(Error::bad_gateway(reason));
        }
        storages.extend(home.plan.storages().map(|settings| (settings.fingerprint(), settings)));
        accounts.push(account);
    }
    Ok((storages, accounts))
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
