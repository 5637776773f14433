//! The vendors' handlers, each with a base64 term:
//!
//! - `kz_att_azure`: `azure` is `{Settings, EncodedName}`,
//! - `kz_att_google_storage`: `gstorage` is `{Settings, MediaLink}` or `{Settings, {name, Name}}`,
//! - `kz_att_google_drive`: `gdrive` is `{OAuthDocId, FileId}`,
//! - `kz_att_dropbox`: `dropbox` is `{Settings, Id}`,
//! - `kz_att_onedrive`: `onedrive` is `{Settings, {DriveId, ItemId}}`.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::term::Term;
use super::{Read, location, pair, term};

type Props = Map<String, Value>;

pub(super) fn azure(props: &Props) -> Option<Read> {
    let (settings, name) = pair(term(props, "azure")?)?;
    let (settings, name) = (settings.into_settings()?, name.into_text()?);
    let container = settings.get("container")?.as_str()?.to_owned();
    // The name is percent-encoded, and KAZOO's client (erlazure) sends it in the URL as it is: the blob has the decoded one.
    let blob = decoded(&name).unwrap_or_else(|| name.clone());
    let location = location([("container", container), ("blob", blob)]);
    Some(Read { handler: "azure", location, settings, name: Some(name) })
}

pub(super) fn google_storage(props: &Props) -> Option<Read> {
    let (settings, place) = pair(term(props, "gstorage")?)?;
    let settings = settings.into_settings()?;
    let bucket = settings.get("bucket")?.as_str()?.to_owned();
    let name = match place {
        place @ Term::Tuple(_) => {
            let (tag, name) = pair(place)?;
            tag.into_text().filter(|tag| tag == "name")?;
            name.into_text()?
        }
        link => object_in(&link.into_text()?, &bucket)?,
    };
    let location = location([("bucket", bucket), ("name", name.clone())]);
    Some(Read { handler: "google_storage", location, settings, name: Some(name) })
}

/// Extracts the object's name from a `mediaLink`: `https://{host}/download/storage/v1/b/{bucket}/o/{name}?generation=..&alt=media`.
fn object_in(link: &str, bucket: &str) -> Option<String> {
    let path = link.split(['?', '#']).next()?;
    let (_, rest) = path.split_once("/b/")?;
    let (of, name) = rest.split_once("/o/")?;
    (decoded(of)? == bucket).then(|| decoded(name)).flatten().filter(|name| !name.is_empty())
}

/// Decodes percent signs, if that results in UTF-8.
fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(String::from)
}

pub(super) fn google_drive(props: &Props) -> Option<Read> {
    let (oauth, id) = pair(term(props, "gdrive")?)?;
    let settings = oauth_settings(Value::String(oauth.into_text()?));
    Some(Read { handler: "google_drive", location: location([("id", id.into_text()?)]), settings, name: None })
}

pub(super) fn dropbox(props: &Props) -> Option<Read> {
    let (settings, id) = pair(term(props, "dropbox")?)?;
    let location = location([("id", id.into_text()?)]);
    Some(Read { handler: "dropbox", location, settings: settings.into_settings()?, name: told_name(props) })
}

pub(super) fn onedrive(props: &Props) -> Option<Read> {
    let (settings, place) = pair(term(props, "onedrive")?)?;
    let (drive, item) = pair(place)?;
    let location = location([("drive", drive.into_text()?), ("item", item.into_text()?)]);
    Some(Read { handler: "onedrive", location, settings: settings.into_settings()?, name: told_name(props) })
}

fn oauth_settings(id: Value) -> Map<String, Value> {
    [("oauth_doc_id".to_owned(), id)].into_iter().collect()
}

/// Returns the name in the vendor's response, which KAZOO keeps as `metadata`; the id contains none.
fn told_name(props: &Props) -> Option<String> {
    props.get("metadata")?.get("body")?.get("name")?.as_str().map(str::to_owned)
}
