//! The rules in the `Backend` trait's contract, with a test per rule and target.
//!
//! A target is a driver with a real server or a real directory (`targets.rs`). A rule that does not apply to a target is printed as skipped, with the
//! reason. Tests of a single driver are in separate files.
//!
//! | files | contain |
//! |---|---|
//! | `storing`, `breaks`, `reading`, `names`, `secrets`, `memory` | the rules for every target |
//! | `proxied`, `tamper` | the rules for drivers behind a TCP proxy |
//! | `vendors/` | the rules for vendors with OAuth, with a row for each |
//! | `azure/`, `file`, `ftp/`, `google/`, `s3`, `s3_habits` | tests of a single driver |
//! | `targets`, `around`, `bodies` | the common foundation |

pub mod around;
mod azure;
mod bodies;
mod breaks;
mod file;
mod ftp;
mod google;
mod memory;
mod names;
mod proxied;
mod reading;
mod s3;
mod s3_habits;
mod secrets;
mod storing;
mod tamper;
mod targets;
mod vendors;

use futures_util::StreamExt as _;
use futures_util::stream;

/// Checks cases concurrently, eight at a time, each in its own world: most of them wait.
pub async fn together<I: IntoIterator>(cases: I, check: impl AsyncFn(I::Item)) {
    stream::iter(cases).map(|case| Box::pin(check(case))).buffer_unordered(8).collect::<()>().await;
}

/// Common imports.
mod prelude {
    pub use super::together;
    pub use crate::conformance::around::Around;
    pub use crate::conformance::bodies::{Frames, bytes};
    pub use crate::conformance::targets::{BUDGET, LIMIT, Target, kind, object};
    pub use serde_json::{Value, json};
    pub use std::sync::Arc;
    pub use std::time::Duration;
    pub use stowage_base::tasks::Tasks;
    pub use stowage_http::body::{Body, collect};
    pub use stowage_http::range::ByteRange;
    pub use stowage_storage::{Budget, CHUNK_BYTES, Kind, Location};
    pub use stowage_testing::trouble::Trouble;
}

macro_rules! rules {
    ($($group:ident: $($rule:ident),*;)*) => {$($(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $rule() {
            crate::conformance::$group::$rule(super::targets::Target::start(module_path!()).await).await;
        }
    )*)*};
}
/// Generates a module per target, with a test per rule.
macro_rules! targets {
    ($($(#[$note:meta])* $target:ident),* $(,)?) => {$(
        $(#[$note])*
        mod $target {
            rules! {
                storing: bytes_come_back_with_a_length, bytes_come_back_without_a_length, large_bodies_come_back,
                    digests_are_those_of_the_body, a_second_put_takes_the_spare, a_taken_name_is_left_alone,
                    twenty_puts_of_one_name_keep_their_bytes, two_chunks_at_most_are_in_memory,
                    one_chunk_of_budget_is_enough;
                breaks: a_dropped_put_leaves_nothing, a_put_dropped_at_any_poll_leaves_nothing,
                    a_broken_body_leaves_nothing, a_short_body_leaves_nothing, a_body_over_the_limit_leaves_nothing;
                reading: ranges_are_cut_or_whole, a_missing_object_is_missing, deleting_twice_is_fine,
                    a_malformed_location_is_refused, a_place_is_known_before_it_is_stored;
                names: odd_names_come_back, names_do_not_leave_their_folder;
                secrets: nothing_shows_a_secret;
            }

            #[test]
            fn memory_stays_flat() {
                crate::conformance::memory::alone(module_path!(), || super::targets::Target::start(module_path!()));
            }
        }
    )*};
}

targets! {
    /// azurite, with the account in the path.
    on_azure,
    /// A separate directory for each test.
    on_file,
    /// libunftp, without TLS.
    on_ftp,
    /// libunftp with TLS after `AUTH TLS`.
    on_ftps_explicit,
    /// libunftp behind a proxy with TLS from the first byte.
    on_ftps_implicit,
    /// s3s-fs, addressed as `host/bucket/key`.
    on_s3_path,
    /// s3s-fs, addressed as `bucket.host/key`.
    on_s3_vhost,
    /// A double of Cloud Storage.
    on_google_storage,
    /// A double of Drive, with folders by name.
    on_google_drive,
    /// nginx with DAV, for the `http` driver.
    on_nginx,
    /// A web server that stores base64.
    on_http_base64,
    /// A web server that receives multipart/mixed.
    on_http_multipart,
    /// A double of Dropbox's API v2.
    on_dropbox,
    /// A double of Microsoft Graph's files.
    on_onedrive,
}
