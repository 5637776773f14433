//! Look-up of the backends and connections that a merged plan defines.

use serde_json::{Map, Value};

use super::members::{Members, as_object, must_be, object, text};
use super::{LOCAL, Merged, PlanError, Settings};

#[cfg(test)]
mod tests;

/// Settings that published documents also put beside `settings`.
const BESIDE_SETTINGS: [&str; 3] = ["field_list", "field_separator", "folder_base_path"];

impl Merged {
    /// Returns a backend's settings by its id, to follow an older pointer; `None` if they are unusable.
    pub fn storage(&self, id: &str) -> Option<Settings> {
        self.backend(id).ok().flatten()
    }

    /// Returns the settings of every usable backend.
    pub fn storages(&self) -> impl Iterator<Item = Settings> {
        let attachments = self.part("attachments").ok().flatten();
        attachments.into_iter().flat_map(Map::keys).filter_map(|id| self.storage(id))
    }

    /// Returns a connection's settings, with its driver as the handler; `None` if the plan does not define it.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection is malformed.
    pub fn connection(&self, id: &str) -> Result<Option<Settings>, PlanError> {
        let place = format!("connections.{id}");
        let Some(entry) = object(self.part("connections")?, "connections", id)? else {
            return Ok(None);
        };
        let driver = text(Some(entry), &place, "driver")?.unwrap_or_default();
        let members = object(Some(entry), &place, "settings")?;
        let members = members.cloned().unwrap_or_default();
        Ok(Some(Settings::new(id, driver, members)))
    }

    /// Returns an error for a connection that the plan does not define.
    pub(super) fn check_connection(&self, id: &str) -> Result<(), PlanError> {
        if id == LOCAL || object(self.part("connections")?, "connections", id)?.is_some() {
            return Ok(());
        }
        Err(PlanError::unknown("connection", id))
    }

    /// Returns a backend's settings, `None` if the plan does not define it.
    pub(super) fn backend(&self, id: &str) -> Result<Option<Settings>, PlanError> {
        let entry = match self.part("attachments")?.and_then(|all| all.get(id)) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(entry)) => entry,
            Some(_) => return Err(must_be(id.to_owned(), "an object")),
        };
        let handler = text(Some(entry), id, "handler")?.ok_or_else(|| PlanError::wrong(id, "`handler` is missing"))?;
        let beside =
            BESIDE_SETTINGS.into_iter().filter_map(|key| entry.get(key).map(|value| (key.to_owned(), value.clone())));
        let mut settings = Settings::new(id, handler, beside.collect());
        if let Some(members) = object(Some(entry), id, "settings")? {
            settings.overlay(members);
        }
        Ok(Some(settings))
    }

    /// Returns a top-level part: `attachments`, `connections` or `plan`.
    pub(super) fn part(&self, key: &str) -> Result<Option<&Members>, PlanError> {
        as_object(self.members().get(key), || key.to_owned())
    }
}
