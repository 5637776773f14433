//! Queries of reads.

use super::features::Feature;

/// Returns queries and `Accept` headers for reading documents.
pub fn queries() -> Vec<(&'static str, &'static str)> {
    let json = "application/json";
    let mut queries = vec![
        ("", "*/*"),
        ("", json),
        ("?revs=true", json),
        ("?conflicts=true", json),
        ("?meta=true", json),
        ("?revs_info=true", json),
        ("?open_revs=all", json),
        ("?open_revs=all&revs=true", json),
        ("?deleted_conflicts=true&conflicts=true", json),
    ];
    if Feature::InlineReads.on() {
        queries.extend([
            ("?attachments=true", json),
            ("?attachments=true", "*/*"),
            ("?attachments=true", "multipart/related"),
            ("?attachments=true&open_revs=all", json),
            ("?open_revs=all&revs=true&latest=true", "multipart/mixed"),
            ("?attachments=true&att_encoding_info=true", json),
        ]);
    }
    if Feature::AttsSince.on() {
        queries.push(("?atts_since=[]", json));
    }
    queries
}
