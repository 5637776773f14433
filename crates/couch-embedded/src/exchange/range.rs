//! Ranges of an attachment.

use http::StatusCode;

use crate::exchange::answer::Failure;

/// CouchDB sends everything when more ranges than this are asked for.
const MOST: usize = 9;

/// The parts that a Range header asks of `length` bytes, first and last byte of each. `None` asks for everything: no bytes,
/// not understood, too many, or all of them (`0-`).
///
/// # Errors
///
/// 416 when a part begins behind the end, or ends before it begins.
pub(crate) fn parse(header: &str, length: u64) -> Result<Option<Vec<(u64, u64)>>, Failure> {
    let Some(specs) = header.trim().strip_prefix("bytes=") else {
        return Ok(None);
    };
    let mut ranges = Vec::new();
    for spec in specs.split(',') {
        let Some((first, last)) = spec.trim().split_once('-') else {
            return Ok(None);
        };
        let number = |text: &str| text.parse::<u64>();
        let range = match (first.is_empty(), last.is_empty()) {
            (true, true) => return Ok(None),
            // `-0` is none, and no count reaches the first byte (`chttpd_db:parse_ranges/3` clips it as if it were a last byte).
            (true, false) => number(last).map(|count| (length.saturating_sub(count).max(1), u64::MAX)),
            (false, true) => number(first).map(|first| (first, u64::MAX)),
            (false, false) => number(first).and_then(|first| Ok((first, number(last)?))),
        };
        let Ok((first, last)) = range else {
            return Ok(None);
        };
        if spec.trim() == "0-" {
            return Ok(None);
        }
        ranges.push((first, last));
    }
    if ranges.iter().any(|(first, last)| first > last || *first >= length) {
        let reason = "Requested range not satisfiable";
        let status = StatusCode::RANGE_NOT_SATISFIABLE;
        return Err(Failure::new(status, "requested_range_not_satisfiable", reason));
    }
    let clipped = ranges.into_iter().map(|(first, last)| (first, last.min(length - 1)));
    let ranges: Vec<_> = clipped.collect();
    Ok((ranges.len() <= MOST).then_some(ranges))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_couchdb_reads_them() {
        let cases = [
            ("bytes=0-9", Some(vec![(0, 9)])),
            ("bytes=95-", Some(vec![(95, 99)])),
            ("bytes=-5", Some(vec![(95, 99)])),
            ("bytes=-99", Some(vec![(1, 99)])),
            ("bytes=-100", Some(vec![(1, 99)])),
            ("bytes=-500", Some(vec![(1, 99)])),
            ("bytes=0-999", Some(vec![(0, 99)])),
            ("bytes=0-1,4-5", Some(vec![(0, 1), (4, 5)])),
            ("bytes=0-1, 4-5", Some(vec![(0, 1), (4, 5)])),
            ("bytes=0-", None),
            ("items=0-1", None),
            ("bytes=x", None),
            ("bytes=1 - 2", None),
            ("bytes=x-y", None),
            ("bytes=-", None),
            ("bytes=", None),
            ("bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9", None),
        ];
        for (header, expected) in cases {
            assert_eq!(parse(header, 100).unwrap(), expected, "{header}");
        }
        for header in ["bytes=100-", "bytes=9-0", "bytes=100-200", "bytes=0-1,100-", "bytes=-0"] {
            assert!(parse(header, 100).is_err(), "{header}");
        }
        assert!(parse("bytes=0-1", 0).is_err());
        assert!(parse("bytes=-2", 1).is_err());
    }

    #[expect(clippy::result_large_err, reason = "proptest's own error")]
    mod properties {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            #[test]
            fn what_is_cut_lies_inside(header in "(bytes=)?[-0-9, x]{0,20}", length in 0_u64..50) {
                for (first, last) in parse(&header, length).ok().flatten().unwrap_or_default() {
                    prop_assert!(first <= last && last < length);
                }
            }
        }
    }
}
