//! Maps a method and a target to a route. This is the only place that parses the target.

use http::{HeaderMap, Method, Uri};
use stowage_couch::DocumentPath;
use stowage_http::method::overridden;
use stowage_http::target::{BadEscape, decode, encode};

use crate::database::{AccountId, Class, classify};
use crate::pointer::kazoo::AttachmentAddress;

/// The operation that a request asks for.
#[derive(Debug)]
pub enum Route {
    /// A request that is CouchDB's alone.
    Forward,
    /// An attachment of a database that plans cover.
    Attachment(Box<Target>, Operation),
    /// A document of a database that plans cover.
    Document(Box<DocumentTarget>, DocumentOperation),
    /// A database that plans cover, or a resource in it that is not a plain document: lists, views, design and local documents.
    Database(Box<Database>, DatabaseOperation),
    /// A name in a database that plans cover, with an invalid percent escape.
    Malformed,
}

/// An operation on an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// GET, and HEAD where `body` is false.
    Get {
        /// Whether the client wants the body.
        body: bool,
    },
    /// PUT
    Put,
    /// DELETE
    Delete,
}

/// An operation on a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentOperation {
    /// GET, and HEAD.
    Get,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// COPY
    Copy,
    /// Any other method, which CouchDB refuses.
    Other,
}

/// An operation on a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseOperation {
    /// `PUT /db`
    Create,
    /// `DELETE /db`
    Delete,
    /// `POST /db`: a document without an id in the target.
    Post,
    /// `POST /db/_bulk_docs`
    BulkDocs,
    /// `POST /db/_bulk_get`
    BulkGet,
    /// A list whose rows may hold documents.
    List(List),
    /// An attachment that no plan covers, such as a design document's: bytes rather than documents.
    Bytes,
    /// Anything else.
    Other,
}

/// A list of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `_all_docs`, `_design_docs`, `_local_docs`, views and full-text searches.
    Rows,
    /// Several lists of rows: `.../queries`
    Queries,
    /// `_changes`
    Changes,
    /// `_find`
    Found,
}

/// A database that plans cover.
#[derive(Debug, Clone)]
pub struct Database {
    /// The database's segment of the path, as the client wrote it.
    pub path: String,
    /// The decoded name.
    pub name: String,
    /// The database's class.
    pub class: Class,
    /// The account that the database belongs to.
    pub account: Option<AccountId>,
}

/// A document that a request addresses.
#[derive(Debug, Clone)]
pub struct DocumentTarget {
    /// The document's database.
    pub database: Database,
    /// The document's path, as the client wrote it.
    pub path: DocumentPath,
    /// The document's id.
    pub document: String,
    /// The raw query.
    pub query: Option<String>,
}

/// An attachment that a request addresses.
#[derive(Debug, Clone)]
pub struct Target {
    /// The attachment's database.
    pub database: Database,
    /// The document's path, as the client wrote it.
    pub path: DocumentPath,
    /// The document's id.
    pub document: String,
    /// The attachment's name.
    pub attachment: String,
    /// The raw query.
    pub query: Option<String>,
}

impl Database {
    /// Looks up a database by its decoded name; `None` if no plan covers it.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let found = classify(name)?;
        Some(Self { path: encode(name), name: name.to_owned(), class: found.class, account: found.account })
    }

    /// Returns the document with this id.
    #[must_use]
    pub fn document(&self, id: &str) -> DocumentTarget {
        let path = DocumentPath { database: self.path.clone(), document: encode(id) };
        DocumentTarget { database: self.clone(), path, document: id.to_owned(), query: None }
    }
}

impl DocumentTarget {
    /// Returns the document's attachment with this name.
    #[must_use]
    pub fn attachment(&self, name: &str) -> Target {
        Target {
            database: self.database.clone(),
            path: self.path.clone(),
            document: self.document.clone(),
            attachment: name.to_owned(),
            query: None,
        }
    }
}

impl Target {
    /// Builds a target from decoded names; `None` if no plan covers the database.
    #[must_use]
    pub fn of(database: &str, document: &str, attachment: &str) -> Option<Self> {
        Some(Database::of(database)?.document(document).attachment(attachment))
    }

    /// Returns the attachment's document.
    #[must_use]
    pub fn of_document(&self) -> DocumentTarget {
        let Self { database, path, document, .. } = self;
        DocumentTarget { database: database.clone(), path: path.clone(), document: document.clone(), query: None }
    }

    /// Returns the attachment's decoded names.
    #[must_use]
    pub fn at(&self) -> AttachmentAddress<'_> {
        AttachmentAddress { database: &self.database.name, document: &self.document, attachment: &self.attachment }
    }
}

/// Returns whether a request reads or writes a document or a database rather than an attachment, without parsing the target.
#[must_use]
pub fn is_plain(method: &Method, uri: &Uri) -> bool {
    let is_plain = matches!(*method, Method::GET | Method::HEAD | Method::PUT);
    is_plain && uri.path().split('/').filter(|part| !part.is_empty()).nth(2).is_none()
}

/// Returns the route of a request.
///
/// CouchDB splits the raw path at slashes, drops empty segments, decodes each segment, and joins everything after the document into the attachment's
/// name.
#[must_use]
pub fn route(method: &Method, uri: &Uri, headers: &HeaderMap) -> Route {
    let mut parts = uri.path().split('/').filter(|part| !part.is_empty());
    let Some(path) = parts.next().filter(|path| !path.starts_with('_')) else { return Route::Forward };
    let Ok(name) = text(path) else { return Route::Forward };
    let Some(found) = classify(&name) else { return Route::Forward };
    let database = Database { path: path.to_owned(), name, class: found.class, account: found.account };
    let method = overridden(method, headers);
    let query = uri.query().map(str::to_owned);
    match (parts.next(), parts.next()) {
        (None, _) => Route::Database(Box::new(database), on_database(&method)),
        (Some(inside), next) if is_inside(inside) => {
            let names = [inside].into_iter().chain(next).chain(parts).map(text);
            let operation = match names.collect::<Result<Vec<_>, _>>() {
                Ok(names) => inside_database(&method, &names.iter().map(String::as_str).collect::<Vec<_>>()),
                Err(_) => DatabaseOperation::Other,
            };
            Route::Database(Box::new(database), operation)
        }
        (Some(document), None) => one_document(database, document, query, &method),
        (Some(document), Some(first)) => {
            let rest = std::iter::once(first).chain(parts);
            one_attachment(database, document, rest, query, &method)
        }
    }
}

fn on_database(method: &Method) -> DatabaseOperation {
    match *method {
        Method::PUT => DatabaseOperation::Create,
        Method::DELETE => DatabaseOperation::Delete,
        Method::POST => DatabaseOperation::Post,
        _ => DatabaseOperation::Other,
    }
}

/// Returns whether a path segment is not a document id. Decodes it first, as CouchDB does.
fn is_inside(part: &str) -> bool {
    part.starts_with('_') || text(part).is_ok_and(|name| name.starts_with('_'))
}

/// Returns the operation on a resource inside a database; `names` are the decoded segments after the database.
fn inside_database(method: &Method, names: &[&str]) -> DatabaseOperation {
    let post = *method == Method::POST;
    let reads = post || *method == Method::GET;
    match names {
        ["_bulk_docs"] if post => DatabaseOperation::BulkDocs,
        ["_bulk_get"] if post => DatabaseOperation::BulkGet,
        ["_changes"] if reads => DatabaseOperation::List(List::Changes),
        ["_find"] if post => DatabaseOperation::List(List::Found),
        ["_all_docs" | "_design_docs" | "_local_docs"] if reads => DatabaseOperation::List(List::Rows),
        ["_all_docs" | "_design_docs" | "_local_docs", "queries"] if post => DatabaseOperation::List(List::Queries),
        ["_design", _, "_view", _, "queries"] if post => DatabaseOperation::List(List::Queries),
        ["_design", _, "_view" | "_search" | "_nouveau", _] if reads => DatabaseOperation::List(List::Rows),
        ["_design", _, name, ..] if !name.starts_with('_') => DatabaseOperation::Bytes,
        ["_partition", _, inside, ..] if *inside != "_partition" => {
            inside_database(method, names.get(2..).unwrap_or_default())
        }
        _ => DatabaseOperation::Other,
    }
}

fn one_document(database: Database, document: &str, query: Option<String>, method: &Method) -> Route {
    let Some(id) = text(document).ok().filter(|id| !id.starts_with('_')) else {
        return Route::Database(Box::new(database), DatabaseOperation::Other);
    };
    let operation = match method.as_str() {
        "GET" | "HEAD" => DocumentOperation::Get,
        "PUT" => DocumentOperation::Put,
        "DELETE" => DocumentOperation::Delete,
        "COPY" => DocumentOperation::Copy,
        _ => DocumentOperation::Other,
    };
    let path = DocumentPath { database: database.path.clone(), document: document.to_owned() };
    Route::Document(Box::new(DocumentTarget { database, path, document: id, query }), operation)
}

fn one_attachment<'a>(
    database: Database,
    document: &str,
    names: impl Iterator<Item = &'a str>,
    query: Option<String>,
    method: &Method,
) -> Route {
    let others = |database| Route::Database(Box::new(database), DatabaseOperation::Bytes);
    let Some(operation) = operation(method) else { return others(database) };
    let names: Result<Vec<String>, Undecodable> = names.map(text).collect();
    let (id, attachment) = match (text(document), names) {
        (Ok(id), Ok(names)) => (id, names.join("/")),
        (Err(Undecodable::Escape), _) | (_, Err(Undecodable::Escape)) => return Route::Malformed,
        _ => return others(database),
    };
    if id.starts_with('_') || attachment.starts_with('_') {
        return others(database);
    }
    let path = DocumentPath { database: database.path.clone(), document: document.to_owned() };
    Route::Attachment(Box::new(Target { database, path, document: id, attachment, query }), operation)
}

fn operation(method: &Method) -> Option<Operation> {
    match *method {
        Method::GET => Some(Operation::Get { body: true }),
        Method::HEAD => Some(Operation::Get { body: false }),
        Method::PUT => Some(Operation::Put),
        Method::DELETE => Some(Operation::Delete),
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

#[cfg(test)]
mod tests;
