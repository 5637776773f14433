//! The settings of an `http` storage, parsed and validated once.

use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, header};
use serde_json::Value;
use stowage_base::settings::Settings;

use super::form::{Form, Subtype};
use super::link::{Base, Link};
use super::{BASE64, URL};
use crate::Location;
use crate::engine::location::location;
use crate::error::Result;

/// Parsed settings.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) base: Base,
    pub(super) verb: Method,
    pub(super) form: Form,
    /// The document field that receives the object's URL.
    pub(super) url_field: Option<String>,
    /// Sent with every request to the base's own origin.
    pub(super) headers: HeaderMap,
}

impl Options {
    pub(super) fn read(settings: &Settings) -> Result<Self> {
        let url = settings.required("url")?;
        let wrong_url = || settings.wrong("url", "must be an http or https URL without a fragment");
        let base = Base::parse(&url).ok_or_else(wrong_url)?;
        let verb = match settings.text("verb")?.unwrap_or_default().to_ascii_lowercase().as_str() {
            "" | "put" => Method::PUT,
            "post" => Method::POST,
            _ => return Err(settings.wrong("verb", "must be put or post").into()),
        };
        let subtype = match settings.text("multipart_subtype")?.unwrap_or_default().to_ascii_lowercase().as_str() {
            "" | "mixed" => Subtype::Mixed,
            "form-data" => Subtype::FormData,
            _ => return Err(settings.wrong("multipart_subtype", "must be mixed or form-data").into()),
        };
        let multipart = settings.flag("send_multipart")?.unwrap_or(false).then_some(subtype);
        let base64 = settings.flag("base64_encode_data")?.unwrap_or(false);
        let url_field = settings.public_field("document_url_field")?;
        Ok(Self { base, verb, form: Form { multipart, base64 }, url_field, headers: headers(settings)? })
    }

    /// Returns the location of an object at a URL.
    pub(super) fn location(&self, link: &Link) -> Location {
        let mut location = location([(URL, &self.base.masked(link))]);
        if self.form.base64 {
            location.insert(BASE64.to_owned(), Value::Bool(true));
        }
        location
    }
}

fn headers(settings: &Settings) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let Some(members) = settings.object("headers")? else { return Ok(headers) };
    for (name, value) in members {
        let wrong = |what: &str| settings.wrong(format!("headers.{name}"), what);
        let name: HeaderName = name.parse().map_err(|_| wrong("is not the name of a header"))?;
        if NOT_THEIRS.contains(&name) || NOT_THEIRS_EITHER.contains(&name.as_str()) {
            return Err(wrong("is for the gateway to set").into());
        }
        let Value::String(text) = value else { return Err(wrong("must be a text").into()) };
        let mut value = HeaderValue::try_from(text).map_err(|_| wrong("cannot stand in a header"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Headers that describe the body, the connection, or how a response is requested.
const NOT_THEIRS: [HeaderName; 11] = [
    CONTENT_TYPE,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    HOST,
    CONNECTION,
    EXPECT,
    TE,
    TRAILER,
    UPGRADE,
    header::RANGE,
    header::ACCEPT_ENCODING,
];
const NOT_THEIRS_EITHER: [&str; 2] = ["keep-alive", "proxy-connection"];
