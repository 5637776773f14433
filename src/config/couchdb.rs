//! `[couchdb]`: the CouchDB behind the gateway.

use std::path::PathBuf;

use stowage_base::reader::Section;
use stowage_base::secret::Secret;

use super::values::{CREDENTIALS, NO_URL, web_url};

/// The CouchDB behind the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CouchTarget {
    /// An `http` or `https` URL.
    Url(url::Url),
    /// The built-in store.
    Embedded,
}

/// `[couchdb]`.
#[derive(Debug, Clone)]
pub struct Couchdb {
    /// The `local` connection.
    pub target: CouchTarget,
    /// The data directory of the built-in store.
    pub data: PathBuf,
    /// The user name of the gateway's own account.
    pub username: String,
    /// The password of the gateway's own account.
    pub password: Secret,
    /// Whether a plan connection's credentials replace the client's.
    pub connection_credentials: bool,
    /// The databases in which pointers are presented as stubs.
    pub present_stubs: PresentStubs,
}

/// `couchdb.present_stubs` by database class; classes that it does not name follow their plans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PresentStubs(Vec<(String, bool)>);

impl PresentStubs {
    /// The database classes.
    pub const CLASSES: [&str; 5] = ["account", "modb", "yodb", "system", "aggregate"];

    /// Creates the setting from the classes that are configured.
    #[must_use]
    pub fn of(classes: impl IntoIterator<Item = (impl Into<String>, bool)>) -> Self {
        Self(classes.into_iter().map(|(class, shown)| (class.into(), shown)).collect())
    }

    /// Returns the setting for databases of a class.
    #[must_use]
    pub fn in_class(&self, class: &str) -> Present {
        match self.0.iter().find(|(known, _)| known == class) {
            None => Present::Planned,
            Some((_, true)) => Present::Always,
            Some((_, false)) => Present::Never,
        }
    }

    /// Returns whether stubs are presented in databases that no plan covers.
    #[must_use]
    pub fn beyond_plans(&self) -> bool {
        self.0.iter().any(|(_, shown)| *shown)
    }
}

/// Where pointers are presented as stubs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Present {
    /// In databases whose plan may store attachments outside CouchDB.
    Planned,
    /// Everywhere, even where no plan covers them any more.
    Always,
    /// Nowhere.
    Never,
}

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Couchdb {
    let url = section.text("url", "");
    let target = match couch_target(&url) {
        Ok(target) => target,
        Err(message) => {
            section.problem("url", message);
            CouchTarget::Embedded
        }
    };
    let data = PathBuf::from(section.text("data", "data"));
    let username = section.text("username", "");
    let password = section.secret("password");
    let connection_credentials = section.flag("connection_credentials", false);
    let present_stubs = present_stubs(&mut section);
    section.finish();
    Couchdb { target, data, username, password, connection_credentials, present_stubs }
}

/// Parses `true`, `false` or a table by class; classes that are not set follow their plans.
fn present_stubs(section: &mut Section<'_>) -> PresentStubs {
    if !section.is_section("present_stubs") {
        let everywhere = section.optional_flag("present_stubs");
        return PresentStubs::of(
            everywhere.into_iter().flat_map(|shown| PresentStubs::CLASSES.map(|class| (class, shown))),
        );
    }
    let mut table = section.section("present_stubs");
    let said = PresentStubs::CLASSES.map(|class| Some((class, table.optional_flag(class)?)));
    table.finish();
    PresentStubs::of(said.into_iter().flatten())
}

fn couch_target(text: &str) -> Result<CouchTarget, &'static str> {
    match text {
        "" => Err("is required: the URL of CouchDB, or \"embedded\" for the built-in store"),
        "embedded" => Ok(CouchTarget::Embedded),
        text => match web_url(text) {
            Ok(url) => Ok(CouchTarget::Url(url)),
            Err(CREDENTIALS) => Err("must not hold credentials: use couchdb.username and couchdb.password"),
            Err(NO_URL) => Err("is neither a URL nor \"embedded\""),
            Err(message) => Err(message),
        },
    }
}
