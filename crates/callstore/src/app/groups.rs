//! What the list of roles defines for this instance.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stowage_http::body::BoxError;

use crate::config::{Config, CouchTarget};
use crate::roles::{Role, Serves, read_file};

/// The contents of `/v1/groups`, and the settings of this instance's role.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    /// The groups as JSON.
    pub(super) shown: Value,
    /// Whether this instance follows calls to their records (`cdr_enabled`).
    pub(super) acts: bool,
    /// Whether this instance writes `cdr/COPM3/dialogs`.
    pub(super) sorm3: bool,
    /// What of the configuration the role overrides, where that may be an oversight.
    pub(super) doubt: Option<String>,
    /// Whether events are acknowledged before a majority of the journal's replicas has them (`sync`).
    pub(super) is_local: bool,
    /// The calls that this instance follows to their ends.
    pub(super) serves: Serves,
}

/// Returns what the roles define for this instance; without roles, it serves all calls.
///
/// # Errors
/// An invalid list.
pub(super) fn of_config(config: &Config) -> Result<Groups, BoxError> {
    let Some(path) = &config.roles else {
        return Ok(Groups {
            shown: json!([]),
            acts: true,
            sorm3: true,
            doubt: None,
            is_local: false,
            serves: Serves::default(),
        });
    };
    let roles = read_file(path, &config.instance).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(|problem| format!("{} {}", problem.key, problem.message)).collect();
        lines.join("; ")
    })?;
    let own = roles.get(&config.instance).ok_or("instance is not in the list")?;
    let mut shown: BTreeMap<u32, Vec<&Role>> = BTreeMap::new();
    roles.all().iter().for_each(|role| shown.entry(role.group).or_default().push(role));
    let shown = shown.into_iter().map(|(group, mut members)| {
        members.sort_by_key(|role| role.order);
        let domains = members.first().map(|role| &role.include_domains);
        let members = members.iter().map(|role| json!({ "name": role.name, "order": role.order }));
        json!({ "group": group, "domains": domains, "members": members.collect::<Vec<_>>(), "is_own": group == own.group })
    });
    let (acts, sorm3) = (own.cdr_enabled, own.cdr_enabled && own.sorm3_enabled);
    let (shown, group, is_local) = (shown.collect(), own.group, !own.is_transactional);
    let is_silent = acts && !sorm3 && config.records.sorm3 && config.couchdb.target != CouchTarget::Off;
    let doubt = is_silent.then(|| {
        format!("records.sorm3 is on, but not sorm3_enabled of the role {}: no conversation gets a record", own.name)
    });
    Ok(Groups { shown, acts, sorm3, doubt, is_local, serves: Serves::group_of(roles.clone(), group) })
}
