//! How long CouchDB may take to respond.
//!
//! One rule: a request about a single document, its attachments, or a database as such is answered within `timeouts.http.response_head`. Anything
//! else may have to build an index, scan a database or wait for a replication before its first byte, whatever its name (the `*_httpd_handlers.erl` of
//! CouchDB's applications list them). It has no such deadline, because a request that is cancelled and retried starts over. The connection detects
//! that CouchDB's machine is gone.

use http::Uri;
use stowage_http::client::Patience;
use stowage_http::target::query_value;

use crate::config::Timeouts;

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    /// A response that CouchDB has at hand.
    Shortly,
    /// A response that CouchDB may have to work for.
    ForItsHead,
    /// As for `ForItsHead`, with pauses in between: only the changes that pass a filter are sent.
    ForEachRow,
    /// Changes that have not happened yet.
    ForEver,
}

impl Waits {
    /// Returns what a request to this target waits for.
    pub(crate) fn of(uri: &Uri) -> Self {
        let mut parts = uri.path().split('/').filter(|part| !part.is_empty()).map(Part::of);
        let Some(database) = parts.next() else { return Self::Shortly };
        let parts: Vec<Part<'_>> = parts.collect();
        match (database, parts.as_slice()) {
            (Part::Special("db_updates"), []) | (_, [Part::Special("changes")]) => Self::of_feed(uri.query()),
            (Part::Special(name), _) if !is_database(name) => Self::ForItsHead,
            (_, [Part::Special(name), rest @ ..]) if is_document(name) && !has_special(rest) => Self::Shortly,
            // The rules of a design document may lead to a feed.
            (_, rest) if rest.iter().any(|part| matches!(part, Part::Special("rewrite"))) => Self::of_feed(uri.query()),
            (_, rest) if has_special(rest) => Self::ForItsHead,
            _ => Self::Shortly,
        }
    }

    fn of_feed(query: Option<&str>) -> Self {
        let is_live = |feed| matches!(feed, "longpoll" | "continuous" | "eventsource" | "live");
        let given = |name| query_value(query, name).is_some();
        match query_value(query, "feed") {
            Some(feed) if is_live(&*feed) => Self::ForEver,
            _ if given("filter") || given("view") => Self::ForEachRow,
            _ => Self::ForItsHead,
        }
    }

    /// Returns the deadlines.
    pub(crate) fn patience(self, timeouts: &Timeouts) -> Patience {
        let (head, idle) = (Some(timeouts.http.response_head), Some(timeouts.http.idle_body));
        match self {
            Self::Shortly => Patience { head, idle },
            Self::ForItsHead => Patience { head: None, idle },
            Self::ForEachRow | Self::ForEver => Patience { head: None, idle: None },
        }
    }
}

/// A segment of a path.
enum Part<'a> {
    Name,
    /// A segment that begins with `_`; holds the rest of it.
    Special(&'a str),
}

impl<'a> Part<'a> {
    fn of(part: &'a str) -> Self {
        let escaped = || part.strip_prefix("%5F").or_else(|| part.strip_prefix("%5f"));
        part.strip_prefix('_').or_else(escaped).map_or(Self::Name, Self::Special)
    }
}

fn has_special(parts: &[Part<'_>]) -> bool {
    parts.iter().any(|part| matches!(part, Part::Special(_)))
}

/// Returns whether this is one of CouchDB's own databases.
fn is_database(name: &str) -> bool {
    matches!(name, "users" | "replicator" | "global_changes" | "dbs" | "nodes")
}

/// Returns whether this prefix is of a document id, also with an escaped slash.
fn is_document(name: &str) -> bool {
    let id = |kind| name.strip_prefix(kind).is_some_and(|rest: &str| rest.is_empty() || rest.starts_with('%'));
    id("design") || id("local")
}

#[cfg(test)]
mod tests {
    use super::Waits;

    #[test]
    #[expect(clippy::too_many_lines, reason = "a line for each of CouchDB's paths")]
    fn only_what_is_at_hand_has_a_deadline() {
        for target in [
            "/",
            "/db",
            "/db/",
            "/db?q=8",
            "/account%2Fab%2Fcd%2F1-202611/doc?rev=1-a&attachments=true",
            "//db//doc",
            "/db/doc/att",
            "/db/doc/a/b/c",
            "/db/_local/x",
            "/db/_local%2Fx",
            "/db/_design/x",
            "/db/_design%2Fx",
            "/db/_design/x/att.js",
            "/db/%5Fdesign/x",
            "/_users",
            "/_users/org.couchdb.user:x",
            "/_replicator/job?rev=1-a",
            "/db/doc?feed=continuous",
        ] {
            assert_eq!(Waits::of(&target.parse().unwrap()), Waits::Shortly, "{target}");
        }
        for target in [
            "/db/_all_docs",
            "/db/%5fall_docs?include_docs=true",
            "/db/_all_docs/queries",
            "/db/_design_docs",
            "/db/_local_docs",
            "/db/_find",
            "/db/_explain",
            "/db/_index",
            "/db/_index/_design/x/json/y",
            "/db/_bulk_get",
            "/db/_bulk_docs",
            "/db/_compact",
            "/db/_compact/x",
            "/db/_view_cleanup",
            "/db/_search_cleanup",
            "/db/_nouveau_cleanup",
            "/db/_ensure_full_commit",
            "/db/_purge",
            "/db/_purged_infos",
            "/db/_revs_diff",
            "/db/_missing_revs",
            "/db/_sync_shards",
            "/db/_shards/doc",
            "/db/_security",
            "/db/_temp_view",
            "/db/_changes",
            "/db/_changes?since=5&feed=normal",
            "/db/_partition/p/_all_docs",
            "/db/_partition/p",
            "/db/_design/x/_view/y?key=1",
            "/db/_design%2Fx/_view/y",
            "/db/_design/x/_view/y/queries",
            "/db/_design/x/_info",
            "/db/_design/x/_list/y/z",
            "/db/_design/x/_show/y/doc",
            "/db/_design/x/_update/y/doc",
            "/db/_design/x/_rewrite/a/b",
            "/db/_design/x/_search/y",
            "/db/_design/x/_nouveau/y",
            "/_replicate",
            "/_all_dbs",
            "/_dbs_info",
            "/_active_tasks",
            "/_scheduler/jobs",
            "/_node/_local/_stats",
            "/_reshard/jobs",
            "/_cluster_setup",
            "/_users/_all_docs",
            "/_db_updates",
        ] {
            assert_eq!(Waits::of(&target.parse().unwrap()), Waits::ForItsHead, "{target}");
        }
    }

    #[test]
    fn feeds_wait_for_what_has_not_happened() {
        for target in [
            "/db/_changes?feed=longpoll",
            "/db/_changes?since=5&feed=continuous&filter=a/b",
            "/db/_changes/?feed=eventsource",
            "/db/%5Fchanges?feed=live",
            "/db/_changes?feed=%6congpoll",
            "/_db_updates?feed=continuous",
            "/_replicator/_changes?feed=continuous",
            "/db/_design/x/_rewrite/feed?feed=continuous",
        ] {
            assert_eq!(Waits::of(&target.parse().unwrap()), Waits::ForEver, "{target}");
        }
        for target in
            ["/db/_changes?filter=app/f", "/db/_changes?view=a/b&filter=_view", "/db/_changes?filter=_selector"]
        {
            assert_eq!(Waits::of(&target.parse().unwrap()), Waits::ForEachRow, "{target}");
        }
    }
}
