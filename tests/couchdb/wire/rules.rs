//! Which recorded exchanges are compared with the embedded store's responses, and how.

use crate::wire::wire::{Excluded, Exclusion, Loose, Rules, Step};

pub const PACKED: &str = "CouchDB stores text gzipped, the embedded store does not";
const UNPACKED: &str = "CouchDB stores what a client has gzipped as it came, the embedded store unpacks it";
const CLUSTER: &str = "about a cluster node: its configuration, tasks or replicator";
const VIEWS: &str = "the embedded store has no views, no Mango and no validation functions";
const RAW_FAULT: &str = "CouchDB never answers, or with 500; a server need not repeat its faults";
const RANDOM: &str = "the bytes of big.wav are not recorded, nor can they be made again";
const SHARDS: &str = "the recorded database has two shards, whose changes and counts interleave";
const QUOTES: &str = "hyper refuses a target with unescaped quotes";
const SILENT: &str = "CouchDB waits for the rest of the body; what was not saved is compared afterwards";
const LIVE: &str = "changes have to land while it runs: `tests/couchdb/store/feeds.rs` does that";
const IDS: &str = "depends on how generated ids sort";

/// Exchanges that are not compared, with reasons.
pub const EXCLUDED: &[Exclusion] = &[
    ("01-server", Excluded::Skipped, CLUSTER, &["_membership", "_active_tasks"]),
    ("02-db", Excluded::Skipped, QUOTES, &["_all_dbs keys range"]),
    ("02-db", Excluded::Skipped, CLUSTER, &["_dbs_info"]),
    (
        "04-att-put",
        Excluded::Skipped,
        PACKED,
        &["doc of it (3)", "get of it, plain", "get of it, Accept-Encoding gzip", "GET"],
    ),
    (
        "04-att-put",
        Excluded::Sent,
        SILENT,
        &["PUT body shorter than Content-Length (curl sends 1 byte of 10 and times out)"],
    ),
    ("04-att-put", Excluded::Skipped, RANDOM, &["GET 3 MiB"]),
    (
        "05-att-get",
        Excluded::Skipped,
        PACKED,
        &["text/plain GET (stored gzip)", "text/plain Accept-Encoding gzip", "text/plain HEAD", "text/plain Range"],
    ),
    ("08-bulk-docs", Excluded::Skipped, IDS, &["_all_docs"]),
    ("09-changes", Excluded::Skipped, SHARDS, &["_changes", "_changes limit=2 descending include_docs"]),
    ("09-changes", Excluded::Skipped, VIEWS, &["_changes eventsource"]),
    (
        "09-changes",
        Excluded::Skipped,
        LIVE,
        &[
            "_changes continuous heartbeat=400, with a doc, an attachment and a delete landing (cut by curl at 3 s)",
            "_changes longpoll woken",
        ],
    ),
    (
        "10-views",
        Excluded::Skipped,
        VIEWS,
        &[
            "view",
            "view reduce",
            "view atts",
            "view group",
            "view js reduce",
            "view keys POST",
            "view HEAD (ETag)",
            "view include_docs",
            "missing view",
            "missing ddoc",
            "bad query",
            "bad key json",
            "descending range wrong way",
            "ddoc syntax error",
            "its view",
            "_design/_info",
            "view quickjs",
            "_find",
            "_index",
            "forbidden",
            "unauthorized",
        ],
    ),
    (
        "11-limits",
        Excluded::Skipped,
        CLUSTER,
        &[
            "max_attachment_size=1000",
            "PUT 2048 bytes",
            "PUT 2048 bytes chunked",
            "inline too large",
            "restore",
            "max_document_size=100",
            "PUT big doc",
            "restore (2)",
            "max_http_request_size=1000",
            "restore (3)",
        ],
    ),
    ("12-replicate", Excluded::Skipped, CLUSTER, &["_replicate with attachments"]),
    (
        "13-raw-sockets",
        Excluded::Skipped,
        "hyper keeps the connection of an old client that asks for it, as it may",
        &["HTTP/1.0 keep-alive"],
    ),
    (
        "13-raw-sockets",
        Excluded::Sent,
        SILENT,
        &[
            "PUT attachment, Content-Length then half the body then client half-closes",
            "PUT attachment chunked, cut mid-chunk",
        ],
    ),
    (
        "13-raw-sockets",
        Excluded::Skipped,
        RAW_FAULT,
        &[
            "PUT attachment chunked with a chunk extension",
            "PUT attachment chunked with an extension and a trailer",
            "both Content-Length and Transfer-Encoding",
            "two PUTs of two attachments with the same rev in ONE segment (pipelined)",
            "not HTTP",
        ],
    ),
    ("14-edits", Excluded::Skipped, UNPACKED, GZIP),
];

/// Exchanges about an attachment gzipped by the client.
pub const GZIP: &[&str] = &[
    "HEAD of gzip",
    "HEAD of gzip, a range",
    "gzip, a range",
    "gzip, a range behind its end",
    "gzip undone, a range",
    "gzip undone, a range behind its end",
];

/// Members that are not compared: the server's description of itself, what depends on excluded exchanges, and a Content-Length that hyper omits (304)
/// or that was recorded wrong (HEAD of a list).
pub const LOOSE: &[Loose] = &[
    ("01-server", &["git_sha", "uuid", "features", "vendor"], &["root NOAUTH is open", "NOAUTH root"]),
    ("02-db", &["cluster"], &["info", "HEAD", "same db, lower-case %2f", "trailing slash"]),
    ("03-doc", &["content-length"], &["GET If-None-Match"]),
    ("05-att-get", &["content-length"], &["If-None-Match same"]),
    ("14-edits", &["content-length"], &["a weak tag", "a list of tags"]),
    ("04-att-put", &["digest"], &["the doc of it"]),
    (
        "08-bulk-docs",
        &["total_rows", "offset"],
        &["_all_docs keys", "_all_docs include_docs", "_all_docs include_docs attachments"],
    ),
    ("08-bulk-docs", &["content-length"], &["_all_docs ETag"]),
    ("09-changes", &["pending"], &["_changes doc_ids filter"]),
    (
        "13-raw-sockets",
        &["revpos"],
        &["what it is now", "GET doc attachments=true gzip-able part, Accept-Encoding: gzip"],
    ),
];

pub const DB: &str = "/account%2F12%2F34%2F567890abcdef1234567890abcdef12-202011";

/// Preconditions of the recordings that are not recorded themselves.
pub const BEFORE: &[(&str, &str, &[Step])] = &[
    ("01-server", "_all_dbs", &[("PUT", "/_users", ""), ("PUT", "/_replicator", "")]),
    ("13-raw-sockets", "keep-alive: two requests in one segment (pipelined)", &[("PUT", DB, "")]),
    ("14-edits", "an attachment", &[("DELETE", DB, ""), ("PUT", DB, "")]),
    (
        "13-raw-sockets",
        "DELETE attachment, stale rev which HAD the attachment",
        &[
            (
                "REV",
                "/account%2F12%2F34%2F567890abcdef1234567890abcdef12-202011/drib",
                "1-d620886d0b8ae20a4a325b01080e01db",
            ),
            (
                "PUT",
                "/account%2F12%2F34%2F567890abcdef1234567890abcdef12-202011/drib/y.mp3?rev=1-d620886d0b8ae20a4a325b01080e01db",
                "",
            ),
        ],
    ),
    (
        "12-replicate",
        "attachment at the target",
        &[("REPLICATE", "/account%2F12%2F34%2F567890abcdef1234567890abcdef12-202011/mp1", "/tr_target/mp1")],
    ),
    ("12-replicate", "after", &[("GONE", DB, "")]),
    (
        "13-raw-sockets",
        "two PUTs on one connection, one after the other, same rev (a wins, b 409)",
        &[("PUT", "/account%2F12%2F34%2F567890abcdef1234567890abcdef12-202011/race", "{}")],
    ),
];

/// Digests of `hello attachment\n`, `hello` and `short`, gzipped by CouchDB and uncompressed.
pub const DIGESTS: &[(&str, &str)] = &[
    ("qEvPlRQniDBFNMJHdnGvdQ==", "F7j5MQaDRQVcPnGaqxTxWA=="),
    ("iMaiC8wqiFlD2NjLTemvCQ==", "XUFAKrxLKna5cZ2REBfFkg=="),
    ("4aPhBKYCPF74+mWTr6/jAw==", "TwnaqdlbyxZqMCQHoOC6vg=="),
];

/// Differences between CouchDB installations: whether `_global_changes` exists, and the release.
const REAL_EXCLUDED: &[Exclusion] = &[
    ("01-server", Excluded::Skipped, "other tests have databases there", &["_all_dbs"]),
    ("02-db", Excluded::Skipped, "it takes its time, and old revisions that later exchanges ask for", &["_compact"]),
    ("09-changes", Excluded::Skipped, "whether it is there depends on `_global_changes`", &["_db_updates"]),
];
const REAL_LOOSE: &[Loose] = &[("01-server", &["version"], &["root NOAUTH is open", "NOAUTH root"])];

/// Returns the rules for a server without a gateway.
pub fn rules() -> Rules {
    let (mut excluded, mut loose) = (EXCLUDED.to_vec(), LOOSE.to_vec());
    if std::env::var_os("COUCHDB_URL").is_some() {
        excluded.extend(REAL_EXCLUDED);
        loose.extend(REAL_LOOSE);
    }
    Rules { excluded, loose, before: BEFORE, digests: DIGESTS, ..Rules::default() }
}
