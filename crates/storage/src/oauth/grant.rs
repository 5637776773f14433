//! Grants, parsed from OAuth documents: how to obtain a token.

use http::header::HeaderValue;
use serde_json::Value;
use sha2::{Digest, Sha256};
use stowage_base::secret::Secret;

use super::jwt::{Algorithm, Claims};
use super::{Document, Key};
use crate::error::{Error, Kind, Result};

/// How to obtain a token.
#[derive(Debug)]
pub(super) struct Grant {
    /// Changes whenever one of the documents does, after which a refused grant is worth retrying.
    pub(super) version: String,
    /// Like `version`, but without the refresh token, which changes in normal operation: identifies what a token is based on.
    pub(super) basis: String,
    pub(super) way: Way,
    /// The id and revision of the grant's document.
    auth: Option<(String, String)>,
}

/// Ways of obtaining a token.
#[derive(Debug)]
pub(super) enum Way {
    /// The token is in the document.
    Static(HeaderValue),
    /// RFC 6749 section 6.
    Refresh { url: String, client_id: String, secret: Secret, refresh_token: Secret },
    /// RFC 7523 section 2.1.
    Assert { url: String, claims: Claims, private_key: Secret, app_id: String },
}

/// The documents read for one grant.
pub(super) struct GrantDocuments {
    pub(super) auth: Option<(String, Document)>,
    pub(super) app: Document,
    pub(super) app_id: String,
    pub(super) provider: Option<(String, Document)>,
    pub(super) server_key: Option<ServerKey>,
}

/// A private key stored as an attachment.
pub(super) struct ServerKey {
    pub(super) id: String,
    pub(super) rev: String,
    pub(super) pem: Secret,
}

impl Grant {
    /// `pvt_static_token`
    pub(super) fn fixed(id: &str, auth: &Document) -> Result<Self> {
        let token = auth.value("pvt_static_token").unwrap_or(&Value::Null);
        let access = token.get("access_token").and_then(Value::as_str).filter(|access| !access.is_empty());
        let access = access.ok_or_else(|| missing(id, "pvt_static_token.access_token"))?;
        let kind = token.get("token_type").and_then(Value::as_str).unwrap_or_default();
        let value = authorization(kind, access).ok_or_else(|| {
            Error::new(Kind::Settings, format!("the static token of OAuth document {id} cannot be sent"))
        })?;
        let version = auth.rev();
        Ok(Self { basis: version.clone(), version, way: Way::Static(value), auth: None })
    }

    /// Returns the document's refresh token, if that is the way.
    pub(super) const fn refresh_token(&self) -> Option<&Secret> {
        match &self.way {
            Way::Refresh { refresh_token, .. } => Some(refresh_token),
            _ => None,
        }
    }

    /// Returns the id and revision of the grant's document, if it has a refresh token.
    pub(super) fn document(&self) -> Option<(&str, &str)> {
        self.auth.as_ref().map(|(id, rev)| (id.as_str(), rev.as_str()))
    }
}

/// Returns the value of `Authorization`; `None` if the token is not valid in a header.
pub(super) fn authorization(kind: &str, token: &str) -> Option<HeaderValue> {
    let kind = if kind.is_empty() || kind.eq_ignore_ascii_case("bearer") { "Bearer" } else { kind };
    let mut value = HeaderValue::from_str(&format!("{kind} {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl GrantDocuments {
    /// Returns the id of the document with the private key, if one is needed and not in the app's document.
    pub(super) fn wants_key(&self) -> Option<String> {
        let none = self.refresh_token().is_none() && self.private_key().is_none();
        self.app.text("pvt_server_key").filter(|id| none && !id.is_empty())
    }

    /// Derives the grant.
    ///
    /// # Errors
    /// `Settings`, naming the document and what it lacks.
    pub(super) fn grant(self, key: &Key) -> Result<Grant> {
        let way = match self.refresh_token() {
            Some(refresh_token) => self.refresh(key, refresh_token)?,
            None => self.assertion(key)?,
        };
        let others = [Some(&self.app), self.provider.as_ref().map(|(_, provider)| provider)];
        let revs = others.into_iter().flatten().map(|document| document.rev());
        let key_rev = self.server_key.as_ref().map(|key| key.rev.clone());
        let others = revs.chain(key_rev).collect::<Vec<_>>().join(" ");
        let auth = self.auth.as_ref().map(|(_, auth)| auth);
        let version = format!("{} {others}", auth.map(Document::rev).unwrap_or_default());
        let basis = format!("{} {others}", auth.map(without_refresh_token).unwrap_or_default());
        Ok(Grant { version, basis, way, auth: self.auth.map(|(id, auth)| (id, auth.rev())) })
    }

    fn refresh(&self, key: &Key, refresh_token: String) -> Result<Way> {
        let secret = self.app.text("pvt_secret").ok_or_else(|| missing(&self.app_id, "pvt_secret"))?;
        let url = endpoint(key, self.provider_text("auth_url")).ok_or_else(|| self.no_endpoint())?;
        let (secret, refresh_token) = (Secret::new(secret), Secret::new(refresh_token));
        Ok(Way::Refresh { url, client_id: self.app_id.clone(), secret, refresh_token })
    }

    fn assertion(&self, key: &Key) -> Result<Way> {
        let text = |member: &str| self.app.text(member).filter(|text| !text.is_empty());
        let named = self.flow("auth_url").or_else(|| text("auth_url")).or_else(|| text("token_uri"));
        let named = named.or_else(|| self.provider_text("auth_url"));
        let url = endpoint(key, named.clone()).ok_or_else(|| self.no_endpoint())?;
        let attached = self.server_key.as_ref();
        let private_key = self.private_key().or_else(|| attached.map(|key| key.pem.expose().to_owned()));
        let private_key = private_key.ok_or_else(|| match &self.auth {
            Some((id, _)) => missing(id, "pvt_refresh_token, and its app no private key"),
            None => missing(&self.app_id, "pvt_server_key and no pvt_private_key"),
        })?;
        let algorithm = text("jwt_algorithm").unwrap_or_else(|| "RS256".to_owned());
        let algorithm = Algorithm::named(&algorithm).ok_or_else(|| {
            let text = format!("OAuth app {}: jwt_algorithm must be RS256, RS384 or RS512", self.app_id);
            Error::new(Kind::Settings, text)
        })?;
        let claims = Claims {
            algorithm,
            key_id: text("private_key_id").or_else(|| attached.map(|key| key.id.clone())),
            issuer: self.flow("iss").or_else(|| text("client_email")).unwrap_or_else(|| self.app_id.clone()),
            audience: self.flow("audience").or(named).unwrap_or_else(|| url.clone()),
            subject: self.flow("sub").and_then(|field| self.of_profile(&field)),
            scope: key.scope,
        };
        Ok(Way::Assert { url, claims, private_key: Secret::new(private_key), app_id: self.app_id.clone() })
    }

    fn refresh_token(&self) -> Option<String> {
        self.auth.as_ref()?.1.text(REFRESH_TOKEN).filter(|token| !token.is_empty())
    }

    fn private_key(&self) -> Option<String> {
        let own = ["pvt_private_key", "private_key"].iter().find_map(|member| self.app.text(member));
        own.filter(|key| !key.is_empty())
    }

    /// Returns a text of `jwt_flow`, from the app or else the provider.
    fn flow(&self, member: &str) -> Option<String> {
        let both = [Some(&self.app), self.provider.as_ref().map(|(_, provider)| provider)];
        let texts = both
            .into_iter()
            .flatten()
            .filter_map(|document| Some(document.value("jwt_flow")?.get(member)?.as_str()?.to_owned()));
        texts.into_iter().find(|text| !text.is_empty())
    }

    fn provider_text(&self, member: &str) -> Option<String> {
        self.provider.as_ref()?.1.text(member).filter(|text| !text.is_empty())
    }

    /// `sub` names a field of the grant's profile, or of the grant itself.
    fn of_profile(&self, field: &str) -> Option<String> {
        let (_, auth) = self.auth.as_ref()?;
        let of_profile = auth.value("profile").and_then(|profile| Some(profile.get(field)?.as_str()?.to_owned()));
        of_profile.or_else(|| auth.text(field))
    }

    fn no_endpoint(&self) -> Error {
        match &self.provider {
            Some((id, _)) => missing(id, "auth_url"),
            None => missing(&self.app_id, "pvt_auth_provider"),
        }
    }
}

/// Returns a digest of everything but the refresh token and what changes with it.
fn without_refresh_token(auth: &Document) -> String {
    let mut hasher = Sha256::new();
    for (key, value) in auth.members().filter(|(key, _)| ![REFRESH_TOKEN, "_rev"].contains(key)) {
        hasher.update(key);
        hasher.update(value.to_string());
        hasher.update([0]);
    }
    hex::encode(hasher.finalize())
}

/// Returns the configured endpoint, else the one named in a document. A configured one without a path gets the document's path.
fn endpoint(key: &Key, named: Option<String>) -> Option<String> {
    let Some(configured) = &key.endpoint else { return named };
    let mut url: url::Url = configured.parse().ok()?;
    if url.path() == "/" {
        let path = named.and_then(|named| Some(named.parse::<url::Url>().ok()?.path().to_owned()));
        url.set_path(path.as_deref().unwrap_or("/token"));
    }
    Some(url.into())
}

/// Returns the error for an OAuth document that lacks something.
pub(super) fn missing(id: &str, member: &str) -> Error {
    Error::new(Kind::Settings, format!("OAuth document {id} has no {member}"))
}

pub(super) const REFRESH_TOKEN: &str = "pvt_refresh_token";
