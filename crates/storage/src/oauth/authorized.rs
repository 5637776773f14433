//! Calls to a vendor's API with a token.

use http::StatusCode;
use stowage_http::body::Body;
use stowage_http::client::Patience;

use super::{Key, OAuth};
use crate::engine::api::{Api, Call, Lost, Reply};

/// A vendor's API as accessed with one grant.
#[derive(Debug)]
pub(crate) struct Authorized {
    api: Api,
    oauth: OAuth,
    key: Key,
}

impl Authorized {
    pub(crate) const fn new(api: Api, oauth: OAuth, key: Key) -> Self {
        Self { api, oauth, key }
    }

    /// Returns the API without the token, for URLs that carry their own authorization.
    pub(crate) const fn api(&self) -> &Api {
        &self.api
    }

    /// Makes a call with the token; after a 401, once more with a new one.
    ///
    /// # Errors
    /// If there is no token, or no response.
    pub(crate) async fn ask(&self, call: &Call) -> Result<Reply, Lost> {
        let first = self.oauth.authorization(&self.key).await?;
        let reply = self.api.ask(call, Some(&first)).await?;
        let hopeless = reply.status != StatusCode::UNAUTHORIZED || NOT_OF_THE_TOKEN.contains(&reply.code());
        if hopeless || !self.oauth.renew(&self.key, &first).await {
            return Ok(reply);
        }
        let doubtful = reply.doubtful;
        let seen_before = |lost: Lost| Lost { seen: lost.seen || doubtful, ..lost };
        let second = self.oauth.authorization(&self.key).await.map_err(Lost::from).map_err(seen_before)?;
        if second == first {
            return Ok(reply);
        }
        let mut reply = self.api.ask(call, Some(&second)).await.map_err(seen_before)?;
        reply.doubtful |= doubtful;
        Ok(reply)
    }

    /// Makes a call once, with the token; `body` replaces the call's own.
    ///
    /// # Errors
    /// If there is no token, or no response.
    pub(crate) async fn once(&self, call: &Call, body: Body, patience: Patience) -> Result<Reply, Lost> {
        let token = self.oauth.authorization(&self.key).await?;
        self.api.once(call, Some(&token), body, patience).await
    }
}

/// Codes of a 401 that another token of the same grant would get as well (`AuthError` in Dropbox's `auth.stone`).
const NOT_OF_THE_TOKEN: [&str; 5] =
    ["missing_scope", "user_suspended", "invalid_select_user", "invalid_select_admin", "route_access_denied"];
