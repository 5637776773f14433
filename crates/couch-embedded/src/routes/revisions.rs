//! The branches of a document: conflicts and `open_revs`.

use rouchdb_core::adapter::Adapter as _;
use rouchdb_core::document::{ChangesOptions, ChangesStyle, Document, GetOptions, Revision};

use crate::contents::database::Database;
use crate::contents::whole::{self, history, parse_revs};
use crate::exchange::answer::{Answer, Failure};
use crate::exchange::request::{Exchange, Query};
use crate::routes::document::get_options;

/// Returns all leaves of a document, tombstones included.
async fn leaves(database: &Database, id: &str) -> Result<Vec<String>, Failure> {
    let options = ChangesOptions {
        doc_ids: Some(vec![id.to_owned()]),
        style: ChangesStyle::AllDocs,
        ..ChangesOptions::default()
    };
    let changes = database.engine.changes(options).await?;
    let revs = changes.results.into_iter().flat_map(|change| change.changes);
    Ok(revs.map(|change| change.rev).collect())
}

pub(crate) async fn tell_deleted_conflicts(database: &Database, document: &mut Document) -> Result<(), Failure> {
    let own = document.rev.as_ref().map(Revision::to_string);
    let mut deleted: Vec<String> = Vec::new();
    for rev in leaves(database, &document.id).await? {
        let options = GetOptions { rev: Some(rev.clone()), ..GetOptions::default() };
        if Some(&rev) != own.as_ref() && database.read(&document.id, options).await?.deleted {
            deleted.push(rev);
        }
    }
    if let Some(members) = document.data.as_object_mut().filter(|_| !deleted.is_empty()) {
        members.insert("_deleted_conflicts".into(), deleted.into());
    }
    Ok(())
}

/// `?open_revs=`: several revisions at once, as JSON or as parts of a multipart/mixed body.
pub(crate) async fn open_revs(
    database: &Database,
    exchange: &Exchange,
    query: &Query,
    id: &str,
    wanted: &str,
) -> Result<Answer, Failure> {
    let revs = match wanted {
        "all" => None,
        wanted => Some(parse_revs(query.json("open_revs")?.unwrap_or_else(|| wanted.into()))?),
    };
    let mut options = get_options(query)?;
    // A multipart response always includes attachment bytes.
    options.attachments |= exchange.accepts("multipart/mixed");
    let since = whole::atts_since(query)?;
    let found = open(database, id, revs.as_deref(), &options, since.as_deref()).await?;
    if revs.is_none() && found.is_empty() {
        return Err(Failure::not_found("missing"));
    }
    Ok(whole::open_revs(exchange, found))
}

/// Reads the revisions `revs` of a document, or all its leaves; with `latest`, the leaves that descend from the revisions. A missing
/// revision is returned by name.
pub(crate) async fn open(
    database: &Database,
    id: &str,
    revs: Option<&[Revision]>,
    options: &GetOptions,
    since: Option<&[Revision]>,
) -> Result<Vec<Result<Document, String>>, Failure> {
    let names: Vec<String> = match revs {
        None => leaves(database, id).await?,
        Some(revs) if options.latest => latest(database, id, revs).await?,
        Some(revs) => revs.iter().map(Revision::to_string).collect(),
    };
    let mut found = Vec::with_capacity(names.len());
    for rev in names {
        let options = GetOptions { rev: Some(rev.clone()), latest: false, ..options.clone() };
        found.push(database.read_since(id, options, since).await.map_err(|_| rev));
    }
    Ok(found)
}

/// Returns the leaves that descend from revisions, each once; a revision without descendants is returned itself.
async fn latest(database: &Database, id: &str, revs: &[Revision]) -> Result<Vec<String>, Failure> {
    let mut branches = Vec::new();
    for leaf in leaves(database, id).await? {
        let options = GetOptions { rev: Some(leaf), revs: true, ..GetOptions::default() };
        branches.push(history(&database.read(id, options).await?));
    }
    let mut names = Vec::new();
    for rev in revs {
        let leading = branches.iter().filter(|branch| branch.contains(rev)).filter_map(|branch| branch.first());
        let leading: Vec<_> = leading.map(Revision::to_string).collect();
        let found = if leading.is_empty() { vec![rev.to_string()] } else { leading };
        for name in found {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(names)
}
