//! Verification of stored bytes by their `ETag`.
//!
//! The ETag of an object stored with a single PUT is the MD5 of its bytes, unless it is encrypted with a KMS or customer key, or is in
//! a directory bucket ("Object" in the S3 API reference); other servers have ETags of their own. So an ETag is only trusted once the
//! same bucket has returned a correct one.

use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderMap;

/// The kind of ETags a bucket returns.
#[derive(Debug, Default)]
pub(super) struct Tags {
    are_md5: AtomicBool,
}

impl Tags {
    /// Returns whether the ETag in a response to a PUT shows that other bytes were stored than those with this MD5.
    pub(super) fn contradict(&self, headers: &HeaderMap, etag: Option<&str>, md5: &[u8; 16]) -> bool {
        let is_other = ENCRYPTED.iter().any(|name| headers.get(*name).is_some_and(|value| value != "AES256"));
        let Some(tag) =
            etag.filter(|tag| !is_other && tag.len() == 32 && tag.bytes().all(|byte| byte.is_ascii_hexdigit()))
        else {
            return false;
        };
        if tag.eq_ignore_ascii_case(&hex::encode(md5)) {
            self.are_md5.store(true, Ordering::Relaxed);
            return false;
        }
        self.are_md5.load(Ordering::Relaxed)
    }
}

/// With a value other than `AES256`, the ETag is not an MD5; the second header is only present for customer keys.
const ENCRYPTED: [&str; 2] = ["x-amz-server-side-encryption", "x-amz-server-side-encryption-customer-key-md5"];

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::Tags;

    const MD5: [u8; 16] = [0xab; 16];

    fn contradicts(tags: &Tags, headers: &[(&'static str, &str)], tag: &str) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        tags.contradict(&map, Some(tag), &MD5)
    }

    #[test]
    fn a_wrong_tag_counts_once_a_right_one_was_given() {
        let (right, wrong) = ("AB".repeat(16), "cd".repeat(16));
        let tags = Tags::default();
        assert!(!contradicts(&tags, &[], &wrong), "tags of this bucket may be anything");
        assert!(!contradicts(&tags, &[], &right));
        assert!(contradicts(&tags, &[], &wrong));
        assert!(contradicts(&tags, &[("x-amz-server-side-encryption", "AES256")], &wrong));
        for (name, value) in [
            ("x-amz-server-side-encryption", "aws:kms"),
            ("x-amz-server-side-encryption", "aws:kms:dsse"),
            ("x-amz-server-side-encryption-customer-key-md5", "AAAA"),
        ] {
            assert!(!contradicts(&tags, &[(name, value)], &wrong), "{name}: {value}");
        }
        for other in ["", "v1", "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd-2", "zzcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"] {
            assert!(!contradicts(&tags, &[], other), "{other}");
        }
        assert!(!tags.contradict(&HeaderMap::new(), None, &MD5));
    }
}
