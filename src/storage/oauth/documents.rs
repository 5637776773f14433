//! What CouchDB's OAuth documents say: the grant of somebody, the app that it was given to, and the app's provider.

use http::header::HeaderValue;
use serde_json::{Map, Value};

use super::{Key, Subject, jwt};
use crate::config::Secret;
use crate::couch::{Answer, Couch, Document, DocumentPath};
use crate::http::target::encode;
use crate::storage::error::{Error, Kind, Result};

/// The database of OAuth documents (`system_auth` by default), read with the gateway's own account.
#[derive(Debug)]
pub(super) struct Documents {
    couch: Couch,
    database: String,
}

/// How a token is to be had.
#[derive(Debug)]
pub(super) struct Grant {
    /// Changes whenever one of the documents does.
    pub(super) version: String,
    pub(super) way: Way,
}

/// How a token is to be had.
#[derive(Debug)]
pub(super) enum Way {
    /// It stands in the document.
    Static(HeaderValue),
    /// This form is to be posted to the token endpoint.
    Ask(Ask),
}

/// A form for a token endpoint.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) url: String,
    pub(super) form: Vec<(&'static str, Secret)>,
}

/// What is read for one grant.
struct Papers {
    auth: Option<Document>,
    app: Document,
    app_id: String,
    provider: Document,
}

impl Documents {
    pub(super) fn new(couch: Couch, database: &str) -> Self {
        Self { couch, database: encode(database) }
    }

    /// Reads the documents of a grant.
    ///
    /// # Errors
    /// `Settings` for documents that are missing or do not say what they have to, `Passing` where CouchDB cannot be asked.
    pub(super) async fn read(&self, key: &Key) -> Result<Grant> {
        let (auth, app_id) = match &key.subject {
            Subject::App(id) => (None, id.clone()),
            Subject::Document(id) => {
                let auth = self.document(id).await?;
                if let Some(token) = auth.value("pvt_static_token").filter(|token| !token.is_null()) {
                    let version = auth.rev().unwrap_or_default();
                    return Ok(Grant { version, way: Way::Static(fixed(id, &token)?) });
                }
                let app = auth.text("pvt_app_id").ok_or_else(|| missing(id, "pvt_app_id"))?;
                (Some(auth), app)
            }
        };
        let app = self.document(&app_id).await?;
        let provider_id = app.text("pvt_auth_provider").ok_or_else(|| missing(&app_id, "pvt_auth_provider"))?;
        let provider = self.document(&provider_id).await?;
        let papers = Papers { auth, app, app_id, provider };
        let way = match papers.auth.as_ref().and_then(|auth| auth.text("pvt_refresh_token")) {
            Some(refresh_token) => papers.refresh(key, &provider_id, refresh_token)?,
            None => papers.assert(key, &provider_id)?,
        };
        Ok(Grant { version: papers.version(), way: Way::Ask(way) })
    }

    async fn document(&self, id: &str) -> Result<Document> {
        let path = DocumentPath { database: self.database.clone(), document: encode(id) };
        let answer = self.couch.read(&path, "", &self.couch.own_account()).await;
        let answer = answer.map_err(|error| {
            Error::new(Kind::Passing, format!("CouchDB cannot be asked for OAuth document {id}")).because(error)
        })?;
        match answer {
            Answer::Document(document, _) if document.value("pvt_deleted") != Some(Value::Bool(true)) => Ok(document),
            Answer::Document(..) => Err(absent(id)),
            Answer::Other(answer) if answer.status() == http::StatusCode::NOT_FOUND => Err(absent(id)),
            Answer::Other(answer) => {
                let status = answer.status();
                Err(Error::answered(status, format!("CouchDB does not give OAuth document {id}")))
            }
        }
    }
}

impl Papers {
    fn version(&self) -> String {
        let all = [self.auth.as_ref(), Some(&self.app), Some(&self.provider)];
        let revs = all.into_iter().flatten().map(|document| document.rev().unwrap_or_default());
        revs.collect::<Vec<_>>().join(" ")
    }

    /// RFC 6749 section 6.
    fn refresh(&self, key: &Key, provider_id: &str, refresh_token: String) -> Result<Ask> {
        let secret = self.app.text("pvt_secret").ok_or_else(|| missing(&self.app_id, "pvt_secret"))?;
        let named = self.provider.text("auth_url").filter(|url| !url.is_empty());
        let url = endpoint(key, named).ok_or_else(|| missing(provider_id, "auth_url"))?;
        let form = vec![
            ("client_id", Secret::new(self.app_id.clone())),
            ("client_secret", Secret::new(secret)),
            ("grant_type", Secret::new("refresh_token")),
            ("refresh_token", Secret::new(refresh_token)),
        ];
        Ok(Ask { url, form })
    }

    /// RFC 7523 section 2.1.
    fn assert(&self, key: &Key, provider_id: &str) -> Result<Ask> {
        let named =
            self.flow("auth_url").or_else(|| self.app.text("auth_url")).or_else(|| self.provider.text("auth_url"));
        let url = endpoint(key, named.clone()).ok_or_else(|| missing(provider_id, "auth_url"))?;
        let private_key = ["pvt_private_key", "private_key"].iter().find_map(|member| self.app.text(member));
        let private_key = private_key.or_else(|| jwt_flow(&self.app).get("private_key")?.as_str().map(str::to_owned));
        let private_key = private_key.ok_or_else(|| missing(&self.app_id, "pvt_private_key"))?;
        let claims = jwt::Claims {
            issuer: self.flow("iss").unwrap_or_else(|| self.app_id.clone()),
            audience: self.flow("audience").or(named).unwrap_or_else(|| url.clone()),
            subject: self.flow("sub").and_then(|field| self.of_profile(&field)),
            scope: key.scope,
        };
        let assertion = jwt::assertion(&claims, &private_key).ok_or_else(|| {
            Error::new(Kind::Settings, format!("the private key of OAuth app {} cannot be used", self.app_id))
        })?;
        let form = vec![
            ("grant_type", Secret::new("urn:ietf:params:oauth:grant-type:jwt-bearer")),
            ("assertion", Secret::new(assertion)),
        ];
        Ok(Ask { url, form })
    }

    /// A text of `jwt_flow`: the app's, else the provider's.
    fn flow(&self, member: &str) -> Option<String> {
        let text = |document: &Document| jwt_flow(document).get(member)?.as_str().map(str::to_owned);
        text(&self.app).or_else(|| text(&self.provider)).filter(|text| !text.is_empty())
    }

    /// `sub` names a field of the grant's profile, or of the grant itself.
    fn of_profile(&self, field: &str) -> Option<String> {
        let auth = self.auth.as_ref()?;
        let of_profile = auth.value("profile").and_then(|profile| Some(profile.get(field)?.as_str()?.to_owned()));
        of_profile.or_else(|| auth.text(field))
    }
}

fn jwt_flow(document: &Document) -> Map<String, Value> {
    match document.value("jwt_flow") {
        Some(Value::Object(flow)) => flow,
        _ => Map::new(),
    }
}

/// `pvt_static_token`
fn fixed(id: &str, token: &Value) -> Result<HeaderValue> {
    let access = token.get("access_token").and_then(Value::as_str);
    let access = access.ok_or_else(|| missing(id, "pvt_static_token.access_token"))?;
    let kind = token.get("token_type").and_then(Value::as_str).unwrap_or("Bearer");
    let mut value = HeaderValue::from_str(&format!("{kind} {access}"))
        .map_err(|_| Error::new(Kind::Settings, format!("the static token of OAuth document {id} cannot be sent")))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The configuration's endpoint, else the one that a document names. One without a path gets the path of that.
fn endpoint(key: &Key, named: Option<String>) -> Option<String> {
    let Some(configured) = &key.endpoint else { return named };
    let mut url: url::Url = configured.parse().ok()?;
    if url.path() == "/" {
        let path = named.and_then(|named| Some(named.parse::<url::Url>().ok()?.path().to_owned()));
        url.set_path(path.as_deref().unwrap_or("/token"));
    }
    Some(url.into())
}

fn absent(id: &str) -> Error {
    Error::new(Kind::Settings, format!("OAuth document {id} does not exist"))
}

fn missing(id: &str, member: &str) -> Error {
    Error::new(Kind::Settings, format!("OAuth document {id} has no {member}"))
}
