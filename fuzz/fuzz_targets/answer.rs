//! Feeds arbitrary bytes as CouchDB's JSON response, in chunks of arbitrary size, with a KAZOO pointer planted in it. The chunk size must not change the
//! output, and a response that may hold no document must not give away the pointer's secret.
//!
//! The first byte sets the chunk size; the pointer replaces the first `@`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stowage::present::shown_text as shown;

const PLANTED: &[u8] = br#""pvt_attachments":{"a":{"content_type":"x/y","handler":{"kz_att_s3":{"S3":"canary"}}}}"#;
/// The index of `Kind::Other`, a response not known to hold documents. In the other kinds, members of a document are the client's own.
const OTHER: usize = 3;

/// Returns whether these bytes end inside a JSON string.
fn in_string(bytes: &[u8]) -> bool {
    let (mut string, mut escape) = (false, false);
    for byte in bytes {
        match byte {
            _ if escape => escape = false,
            b'\\' if string => escape = true,
            b'"' => string = !string,
            _ => {}
        }
    }
    string
}

fuzz_target!(|bytes: &[u8]| {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let mut parts = bytes.splitn(2, |byte| *byte == b'@');
    let (before, after) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let text = [before, PLANTED, after].concat();
    let body = br#"{"docs":[{"id":"d"}],"queries":[{}]}"#;
    let whole = shown(&[&text], "", body);
    let pieces: Vec<&[u8]> = text.chunks(usize::from(*piece).max(1)).collect();
    assert_eq!(shown(&pieces, "", body), whole);
    if let Some(Some(left)) = whole.get(OTHER)
        && !in_string(before)
        && ![before, after].iter().any(|text| text.windows(6).any(|window| window == b"canary"))
    {
        assert!(!left.windows(6).any(|window| window == b"canary"), "{}", String::from_utf8_lossy(left));
    }
});
