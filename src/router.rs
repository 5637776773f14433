//! From a method and a target to what is to be done. The target is taken apart once, here.

use http::{HeaderMap, Method, Uri};

use crate::couch::DocumentPath;
use crate::database::{AccountId, Class, classify};
use crate::http::target::{BadEscape, decode, encode};
use crate::storage::old::At;

/// What a request asks for.
#[derive(Debug)]
pub enum Route {
    /// Everything that is CouchDB's own.
    Forward,
    /// An attachment of a database that plans speak of.
    Attachment(Box<Target>, Operation),
    /// An attachment of such a database under a name that cannot be decoded.
    Malformed,
}

/// What is to be done with an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// GET, and HEAD where `body` is false.
    Get {
        /// Whether the bytes are wanted.
        body: bool,
    },
    /// PUT
    Put,
    /// DELETE
    Delete,
}

/// One attachment.
#[derive(Debug, Clone)]
pub struct Target {
    /// The document, as the client wrote it.
    pub path: DocumentPath,
    /// The database's decoded name.
    pub database: String,
    /// Its class.
    pub class: Class,
    /// Its account.
    pub account: Option<AccountId>,
    /// The document's id.
    pub document: String,
    /// The attachment's name.
    pub attachment: String,
    /// The raw query.
    pub query: Option<String>,
}

impl Target {
    /// An attachment by its decoded names; `None` where no plan speaks of its database.
    #[must_use]
    pub fn of(database: &str, document: &str, attachment: &str) -> Option<Self> {
        let found = classify(database)?;
        Some(Self {
            path: DocumentPath { database: encode(database), document: encode(document) },
            database: database.to_owned(),
            class: found.class,
            account: found.account,
            document: document.to_owned(),
            attachment: attachment.to_owned(),
            query: None,
        })
    }

    /// The attachment by its names.
    #[must_use]
    pub fn at(&self) -> At<'_> {
        At { database: &self.database, document: &self.document, attachment: &self.attachment }
    }
}

/// Decides what a request is.
///
/// CouchDB splits the raw path at slashes, drops empty parts, decodes each part, and joins what follows the document
/// to the attachment's name.
#[must_use]
pub fn route(method: &Method, uri: &Uri, headers: &HeaderMap) -> Route {
    let Some(operation) = operation(method, headers) else { return Route::Forward };
    let mut parts = uri.path().split('/').filter(|part| !part.is_empty());
    let (Some(database), Some(document), Some(first)) = (parts.next(), parts.next(), parts.next()) else {
        return Route::Forward;
    };
    if database.starts_with('_') || document.starts_with('_') {
        return Route::Forward;
    }
    let Ok(name) = text(database) else { return Route::Forward };
    let Some(found) = classify(&name) else { return Route::Forward };
    let rest = std::iter::once(first).chain(parts);
    let (id, attachment) = match (text(document), attachment_name(rest)) {
        (Ok(id), Ok(attachment)) => (id, attachment),
        (Err(Undecodable::Escape), _) | (_, Err(Undecodable::Escape)) => return Route::Malformed,
        _ => return Route::Forward,
    };
    if id.starts_with('_') || attachment.starts_with('_') {
        return Route::Forward;
    }
    let target = Target {
        path: DocumentPath { database: database.to_owned(), document: document.to_owned() },
        database: name,
        class: found.class,
        account: found.account,
        document: id,
        attachment,
        query: uri.query().map(str::to_owned),
    };
    Route::Attachment(Box::new(target), operation)
}

/// CouchDB takes the method of a POST from `X-HTTP-Method-Override`.
fn operation(method: &Method, headers: &HeaderMap) -> Option<Operation> {
    match *method {
        Method::GET => Some(Operation::Get { body: true }),
        Method::HEAD => Some(Operation::Get { body: false }),
        Method::PUT => Some(Operation::Put),
        Method::DELETE => Some(Operation::Delete),
        Method::POST => match headers.get("x-http-method-override")?.as_bytes() {
            b"PUT" => Some(Operation::Put),
            b"DELETE" => Some(Operation::Delete),
            _ => None,
        },
        _ => None,
    }
}

enum Undecodable {
    Escape,
    NotUtf8,
}

impl From<BadEscape> for Undecodable {
    fn from(_: BadEscape) -> Self {
        Self::Escape
    }
}

fn text(part: &str) -> Result<String, Undecodable> {
    String::from_utf8(decode(part)?.into_owned()).map_err(|_| Undecodable::NotUtf8)
}

fn attachment_name<'a>(parts: impl Iterator<Item = &'a str>) -> Result<String, Undecodable> {
    let mut name = String::new();
    for (index, part) in parts.enumerate() {
        if index > 0 {
            name.push('/');
        }
        name.push_str(&text(part)?);
    }
    Ok(name)
}

#[cfg(test)]
#[expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]
mod tests {
    use http::{HeaderMap, Method, Uri};
    use proptest::prelude::*;

    use super::{Operation, Route, Target, route};

    const MODB: &str = "account%2F12%2F34%2F567890abcdef1234567890abcdef-202011";

    fn routed(method: Method, target: &str) -> Route {
        route(&method, &target.parse::<Uri>().unwrap(), &HeaderMap::new())
    }

    fn attachment(target: &str) -> Target {
        match routed(Method::GET, target) {
            Route::Attachment(target, Operation::Get { body: true }) => *target,
            other => panic!("{target}: {other:?}"),
        }
    }

    #[test]
    fn attachments_of_planned_databases_are_ours() {
        let found = attachment(&format!("/{MODB}/doc/a+b.mp3?rev=1-a"));
        assert_eq!(found.attachment, "a b.mp3");
        assert_eq!(found.database, "account/12/34/567890abcdef1234567890abcdef-202011");
        assert_eq!(found.query.as_deref(), Some("rev=1-a"));
        assert_eq!(attachment(&format!("/{MODB}/doc/dir/file.mp3")).attachment, "dir/file.mp3");
        assert_eq!(attachment(&format!("//{MODB}//a%2Fb//dir%2Ffile.mp3/")).attachment, "dir/file.mp3");
        assert_eq!(attachment(&format!("/{MODB}/a%2Fb/x")).document, "a/b");
    }

    #[test]
    fn everything_else_is_couchdbs() {
        for target in [
            "/",
            "/_session",
            "/_all_dbs",
            "/db/doc/att",
            "/system_config/doc/att",
            "/_users/doc/att",
            &format!("/{MODB}"),
            &format!("/{MODB}/doc"),
            &format!("/{MODB}/doc/"),
            &format!("/{MODB}/_design/v/_view/x"),
            &format!("/{MODB}/_local/x/y"),
            &format!("/{MODB}/doc/_x.mp3"),
            &format!("/{MODB}/%5Fdesign/x/y"),
            &format!("/{MODB}/doc/%FF"),
            &format!("/{MODB}/_changes/x/y"),
        ] {
            assert!(matches!(routed(Method::GET, target), Route::Forward), "{target}");
        }
        assert!(matches!(routed(Method::POST, &format!("/{MODB}/doc/x")), Route::Forward));
        assert!(matches!(routed(Method::GET, &format!("/{MODB}/doc/%ZZ")), Route::Malformed));
    }

    #[test]
    fn a_post_may_stand_for_a_put() {
        let headers = HeaderMap::from_iter([("x-http-method-override".parse().unwrap(), "PUT".parse().unwrap())]);
        let uri = format!("/{MODB}/doc/x").parse().unwrap();
        assert!(matches!(route(&Method::POST, &uri, &headers), Route::Attachment(_, Operation::Put)));
    }

    proptest! {
        #[test]
        fn no_target_panics(path in "(/[a-z0-9%_+.]{0,12}){0,6}", query in "[a-z=&%]{0,10}") {
            if let Ok(uri) = format!("/{MODB}{path}?{query}").parse::<Uri>() {
                let _ = format!("{:?}", route(&Method::PUT, &uri, &HeaderMap::new()));
            }
        }
    }
}
