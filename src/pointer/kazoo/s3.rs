//! `kz_att_s3`: `S3` is base64 of one of
//!
//! - `{Key, Secret, Bucket, Folder}` (2016), for the object `Folder/{encoded database}/{document}_{attachment}`,
//! - `{Key, Secret, Host, Bucket, Folder}` and `{Key, Secret, {Scheme, Host, Port}, Bucket, Folder}` (2017), likewise, with an additional member
//!   `S3-01` for `bucket_after_host`,
//! - a map of settings, in which `file` is the whole key, or `path`, or `folder_base_path` and `folder_path`, are the folder,
//! - `{Map, Key}` (since 2018) with the whole key.

use serde_json::{Map, Value};
use stowage_base::settings::as_flag;
use stowage_http::target::encode;

use super::term::Term;
use super::{AttachmentAddress, Read, location, pair, term};

pub(super) fn read(props: &Map<String, Value>, at: AttachmentAddress<'_>) -> Option<Read> {
    let (mut settings, key) = match term(props, "S3")? {
        map @ Term::Map(_) => of_map(map.into_settings()?, at)?,
        Term::Tuple(elements) => match elements.len() {
            2 => {
                let (map, key) = pair(Term::Tuple(elements))?;
                (map.into_settings()?, key.into_text()?)
            }
            4 => of_four(elements, at)?,
            5 => of_five(elements, at)?,
            _ => return None,
        },
        _ => return None,
    };
    if let Some(flag) = props.get("S3-01").and_then(as_flag) {
        settings.insert("bucket_after_host".to_owned(), flag.into());
    }
    if let Some(Value::String(scheme)) = settings.get_mut("scheme") {
        *scheme = scheme.trim_end_matches("://").to_owned();
    }
    let bucket = settings.get("bucket")?.as_str()?.to_owned();
    let location = location([("bucket", bucket), ("key", key.clone())]);
    Some(Read { handler: "s3", location, settings, name: Some(key) })
}

type Found = (Map<String, Value>, String);

fn of_four(elements: Vec<Term>, at: AttachmentAddress<'_>) -> Option<Found> {
    let [key, secret, bucket, folder] = <[Term; 4]>::try_from(elements).ok()?;
    let settings = texts([("key", key), ("secret", secret), ("bucket", bucket)])?;
    Some((settings, key_in(folder_of(folder)?, at)))
}

fn of_five(elements: Vec<Term>, at: AttachmentAddress<'_>) -> Option<Found> {
    let [key, secret, server, bucket, folder] = <[Term; 5]>::try_from(elements).ok()?;
    let mut settings = texts([("key", key), ("secret", secret), ("bucket", bucket)])?;
    match server {
        Term::Tuple(server) => {
            let [scheme, host, port] = <[Term; 3]>::try_from(server).ok()?;
            settings.extend(texts([("scheme", scheme), ("host", host)])?);
            settings.insert("port".to_owned(), port.into_json()?);
        }
        host => settings.extend(texts([("host", host)])?),
    }
    Some((settings, key_in(folder_of(folder)?, at)))
}

fn of_map(settings: Map<String, Value>, at: AttachmentAddress<'_>) -> Option<Found> {
    let text = |key: &str| settings.get(key).and_then(Value::as_str);
    let key = match (text("file"), text("path")) {
        (Some(file), _) => file.to_owned(),
        (None, Some(path)) => key_in(Some(path.to_owned()), at),
        (None, None) => key_in(joined(text("folder_base_path"), text("folder_path")), at),
    };
    Some((settings, key))
}

/// Joins paths as Erlang's `filename:join` does: an absolute second part replaces the first, and slashes are not repeated.
fn joined(base: Option<&str>, folder: Option<&str>) -> Option<String> {
    let (base, folder) = match (base, folder) {
        (Some(base), Some(folder)) if !folder.starts_with('/') => (base, folder),
        (base, folder) => return folder.or(base).map(str::to_owned),
    };
    let parts = base.split('/').chain(folder.split('/')).filter(|part| !part.is_empty());
    let joined = parts.collect::<Vec<_>>().join("/");
    Some(if base.starts_with('/') { format!("/{joined}") } else { joined })
}

fn folder_of(term: Term) -> Option<Option<String>> {
    match term {
        Term::Nothing => Some(None),
        folder => folder.into_text().map(Some),
    }
}

/// Builds a key: the database's name is percent-encoded, as everywhere in KAZOO, the document and the attachment are not.
fn key_in(folder: Option<String>, at: AttachmentAddress<'_>) -> String {
    let key = format!("{}/{}_{}", encode(at.database), at.document, at.attachment);
    folder.map_or_else(|| key.clone(), |folder| format!("{folder}/{key}"))
}

fn texts<const N: usize>(terms: [(&str, Term); N]) -> Option<Map<String, Value>> {
    terms.into_iter().map(|(key, term)| Some((key.to_owned(), Value::String(term.into_text()?)))).collect()
}
