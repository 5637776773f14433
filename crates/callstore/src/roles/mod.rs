//! The roles of the site: its instances, their groups and the domains that each group serves.
//!
//! The whole list is validated, and every problem is reported with its path. A domain belongs to the group that names it or its nearest ancestor; a
//! domain that no group names belongs to the group without domains.

mod reading;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use stowage_base::reader::Problem;

use reading::Reading;

/// The role of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The instance's name.
    pub name: String,
    /// The alias of the network interface for traffic between the roles of a site.
    pub iface: String,
    /// Options other than the known ones.
    pub ext: Value,
    /// The instance's group.
    pub group: u32,
    /// The instance's rank in the group: the lowest acts first.
    pub order: i64,
    /// The domains that the group serves, with their subdomains; if empty, all domains that no group names.
    pub include_domains: BTreeSet<String>,
    /// Whether the instance follows calls to their ends and writes records.
    pub cdr_enabled: bool,
    /// Whether `cdr/COPM3/dialogs` is written.
    pub sorm3_enabled: bool,
    /// Whether an event is only acknowledged once a majority of the journal's replicas has it (`sync`); the default.
    pub is_transactional: bool,
}

/// The validated list of the site's enabled roles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles(Vec<Role>);

impl Roles {
    /// Parses and validates a list.
    ///
    /// # Errors
    /// Every problem with its path, such as `roles[2].group`.
    pub fn read(text: &str) -> Result<Self, Vec<Problem>> {
        let problem = |key: &str, message: String| vec![Problem { key: key.to_owned(), message }];
        let list: Value =
            serde_json::from_str(text).map_err(|error| problem("roles", format!("is no JSON: {error}")))?;
        let Value::Array(list) = list else { return Err(problem("roles", "must be a list".to_owned())) };
        let mut problems = Vec::new();
        let mut roles = Vec::new();
        for (place, value) in list.iter().enumerate() {
            let path = format!("roles[{place}]");
            let Value::Object(members) = value else {
                problems.push(Problem { key: path, message: "must be an object".to_owned() });
                continue;
            };
            // The list contains the roles of other services, too; those and disabled ones are skipped.
            let is_other = members.get("roletype").is_some_and(|kind| kind.is_string() && kind != "callstore");
            if is_other || members.get("enabled") == Some(&Value::Bool(false)) {
                continue;
            }
            let mut reading = Reading { path, members: members.clone(), problems: &mut problems };
            roles.extend(reading.role().map(|role| (place, role)));
        }
        whole(&roles, &mut problems);
        if problems.is_empty() { Ok(Self(roles.into_iter().map(|(_, role)| role).collect())) } else { Err(problems) }
    }

    /// Returns the role of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Role> {
        self.0.iter().find(|role| role.name == name)
    }

    /// Returns all roles.
    #[must_use]
    pub fn all(&self) -> &[Role] {
        &self.0
    }

    /// Returns the group that serves a domain: the one that names it or its nearest ancestor, else the one without domains.
    #[must_use]
    pub fn owner(&self, domain: &str) -> Option<u32> {
        let named =
            self.0.iter().flat_map(|role| role.include_domains.iter().map(move |name| (name.len(), name, role.group)));
        let nearest = named.filter(|(_, name, _)| is_within(domain, name)).max();
        let root = || self.0.iter().find(|role| role.include_domains.is_empty()).map(|role| role.group);
        nearest.map(|(_, _, group)| group).or_else(root)
    }
}

/// The calls that an instance follows to their ends; cheap to clone. Without roles, all calls.
#[derive(Debug, Clone, Default)]
pub struct Serves(Option<Arc<(Roles, u32)>>);

impl Serves {
    /// Selects the calls of a group; none if no instance of the group has `cdr_enabled`.
    #[must_use]
    pub fn group_of(roles: Roles, group: u32) -> Self {
        // Without an instance that writes records, ended calls would wait for theirs for ever, on disk and in memory.
        let is_followed = roles.0.iter().any(|role| role.group == group && role.cdr_enabled);
        let roles = if is_followed { roles } else { Roles::default() };
        Self(Some(Arc::new((roles, group))))
    }

    /// Returns the group; 0 without roles.
    #[must_use]
    pub fn group(&self) -> u32 {
        self.0.as_ref().map_or(0, |served| served.1)
    }

    /// Returns whether any instance of the group follows calls to their ends.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.0.as_ref().is_none_or(|served| !served.0.all().is_empty())
    }

    /// Returns whether a domain's calls are included. Calls without a domain belong to the group of the root.
    #[must_use]
    pub fn has(&self, domain: Option<&str>) -> bool {
        let owner =
            |served: &(Roles, u32)| served.0.owner(&domain.unwrap_or_default().to_lowercase()) == Some(served.1);
        self.0.as_ref().is_none_or(|served| owner(served))
    }
}

/// Returns whether a domain equals `of` or is a subdomain of it.
#[must_use]
pub(crate) fn is_within(domain: &str, of: &str) -> bool {
    domain.strip_suffix(of).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Checks the constraints between the roles of the list.
fn whole(roles: &[(usize, Role)], problems: &mut Vec<Problem>) {
    let mut problem = |place: usize, name: &str, message: String| {
        problems.push(Problem { key: format!("roles[{place}].{name}"), message });
    };
    let mut names = BTreeMap::new();
    let mut orders = BTreeMap::new();
    let mut groups: BTreeMap<u32, (usize, &BTreeSet<String>)> = BTreeMap::new();
    let mut owners: BTreeMap<&str, u32> = BTreeMap::new();
    for (place, role) in roles {
        if let Some(first) = names.insert(&role.name, *place) {
            problem(*place, "name", format!("is that of roles[{first}] too"));
        }
        if u32::try_from(role.order).is_err() {
            problem(*place, "order", format!("must be a whole number from 0 to {}", u32::MAX));
        }
        if let Some(first) = orders.insert((role.group, role.order), *place) {
            problem(*place, "order", format!("is taken in group {} by roles[{first}]", role.group));
        }
        match groups.get(&role.group) {
            Some((first, domains)) if **domains != role.include_domains => {
                problem(*place, "include_domains", format!("differs from roles[{first}] of the same group"));
                continue;
            }
            Some(_) => continue,
            None => drop(groups.insert(role.group, (*place, &role.include_domains))),
        }
        for domain in &role.include_domains {
            if let Some(other) = owners.insert(domain, role.group) {
                problem(*place, "include_domains", format!("{domain} is named by group {other} too"));
            }
        }
    }
    let roots: Vec<_> = groups.iter().filter(|(_, (_, domains))| domains.is_empty()).collect();
    match roots.as_slice() {
        [_] => {}
        [] => problems.push(Problem {
            key: "roles".to_owned(),
            message: "no group serves the root: one has to have no include_domains".to_owned(),
        }),
        [(first, _), rest @ ..] => {
            for (_, (place, _)) in rest {
                problem(*place, "include_domains", format!("is empty, and group {first} serves the root already"));
            }
        }
    }
}

/// Reads and validates the file that the configuration names.
///
/// # Errors
/// The problems of the list, or that it lacks this instance.
pub fn read_file(path: &Path, instance: &str) -> Result<Roles, Vec<Problem>> {
    let problem = |key: &str, message: String| vec![Problem { key: key.to_owned(), message }];
    let text = std::fs::read_to_string(path)
        .map_err(|error| problem("roles", format!("{} cannot be read: {error}", path.display())))?;
    let roles = Roles::read(&text)?;
    if roles.get(instance).is_none() {
        return Err(problem("instance", format!("{} has no enabled role of the name {instance:?}", path.display())));
    }
    Ok(roles)
}
