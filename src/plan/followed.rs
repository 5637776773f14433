//! What the changes feed says about the plans as a whole, which saves requests from reading plans.

use std::sync::atomic::Ordering;

use super::Plans;
use crate::database::AccountId;

impl Plans {
    /// Returns whether the changes feed has reported every plan, and is still connected.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.0.local.is_complete.load(Ordering::Acquire)
    }

    /// Returns whether surely no plan uses connections or create options.
    #[must_use]
    pub fn all_is_local(&self) -> bool {
        self.0.local.is_sure.load(Ordering::Acquire)
    }

    /// Returns whether surely no plan sends attachments to a storage.
    #[must_use]
    pub fn nothing_is_stored(&self) -> bool {
        self.0.local.stores_nothing.load(Ordering::Acquire)
    }

    /// Returns whether users of an account may have plans of their own, which only a document's `owner_id` leads to. Without a complete feed any may.
    #[must_use]
    pub fn has_user_plans(&self, account: Option<&AccountId>) -> bool {
        account.is_some_and(|account| !self.is_followed() || self.users().has(account.as_str()))
    }

    /// Returns the users of an account whose plans may send documents to connections of their own.
    #[must_use]
    pub fn users_with_connections(&self, account: Option<&AccountId>) -> Vec<String> {
        account.map(|account| self.users().with_connections(account.as_str())).unwrap_or_default()
    }
}
