//! Calls to a vendor's API with a token.

use http::StatusCode;

use super::{Key, OAuth};
use crate::storage::api::{Api, Call, Lost, Reply};

/// A vendor's API as one grant may use it.
#[derive(Debug)]
pub(in crate::storage) struct Authorized {
    api: Api,
    oauth: OAuth,
    key: Key,
}

impl Authorized {
    pub(in crate::storage) const fn new(api: Api, oauth: OAuth, key: Key) -> Self {
        Self { api, oauth, key }
    }

    /// The API without the token, for addresses that carry their own authorisation.
    pub(in crate::storage) const fn api(&self) -> &Api {
        &self.api
    }

    /// Sends a call with the token; after a 401 once more, with a new one.
    ///
    /// # Errors
    /// Where there is no token, or no answer.
    pub(in crate::storage) async fn ask(&self, call: &Call) -> Result<Reply, Lost> {
        let unsent = |error| Lost { error, seen: false };
        let first = self.oauth.authorization(&self.key).await.map_err(unsent)?;
        let reply = self.api.ask(call, Some(&first)).await?;
        if reply.status != StatusCode::UNAUTHORIZED || !self.oauth.renew(&self.key, &first).await {
            return Ok(reply);
        }
        let doubtful = reply.doubtful;
        let seen_before = |lost: Lost| Lost { seen: lost.seen || doubtful, ..lost };
        let second = self.oauth.authorization(&self.key).await.map_err(unsent).map_err(seen_before)?;
        if second == first {
            return Ok(reply);
        }
        let mut reply = self.api.ask(call, Some(&second)).await.map_err(seen_before)?;
        reply.doubtful |= doubtful;
        Ok(reply)
    }
}
