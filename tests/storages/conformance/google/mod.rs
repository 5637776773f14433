//! Google's two drivers: their rows of the table, and tests that other vendors' drivers do not need.
//!
//! Common tests are in `session` and `long`, and run for both.

pub mod long;
pub mod session;

mod drive;
mod storage;

use std::net::SocketAddr;

use stowage_storage::Endpoints;

use crate::conformance::prelude::*;
use crate::conformance::targets::{BUCKET, try_open};
use crate::conformance::vendors::Vendor;
use stowage_testing::google::{GoogleServer, envelope, saying};
use stowage_testing::tokens::{GRANT, TokenServer};
use stowage_testing::trouble::{Double, Troubles};

/// More than two chunks.
pub const LARGE: usize = 2 * CHUNK_BYTES + 70_000;

/// Google's servers as used by one of the drivers.
pub struct Google<const IS_DRIVE: bool>(pub GoogleServer);

/// A bucket.
pub type CloudStorage = Google<false>;

/// A Drive, with folders by name.
pub type Drive = Google<true>;

impl<const IS_DRIVE: bool> Double for Google<IS_DRIVE> {
    fn troubles(&self) -> &Troubles {
        self.0.troubles()
    }

    fn paths(&self) -> Vec<String> {
        if IS_DRIVE { self.0.files() } else { self.0.objects(BUCKET) }
    }

    fn sessions(&self) -> Vec<String> {
        self.0.pending()
    }

    fn place(&self, path: &str, data: &[u8]) -> String {
        if IS_DRIVE {
            return self.0.place(path, data);
        }
        self.0.overwrite(BUCKET, path, data.to_vec());
        path.to_owned()
    }

    fn revise(&self, path: &str, data: &[u8]) {
        if IS_DRIVE {
            self.0.change(path, data);
        } else {
            self.0.overwrite(BUCKET, path, data.to_vec());
        }
    }

    fn expire_sessions(&self) {
        self.0.expire_sessions();
    }
}

impl<const IS_DRIVE: bool> Vendor for Google<IS_DRIVE> {
    const DRIVER: &'static str = if IS_DRIVE { "google_drive" } else { "google_storage" };
    const LARGE: usize = LARGE;
    const UPLOAD: &'static [&'static str] = if IS_DRIVE { &["ids", "list", "folder", "create"] } else { &["create"] };
    const SESSION: &'static [&'static str] =
        if IS_DRIVE { &["ids", "list", "folder", "begin", "chunk"] } else { &["begin", "chunk"] };
    const DELETE: &'static str = "delete";
    const CANARIES: &'static [&'static str] = &["canary-access-", "canary-session-", "canary-message"];
    const UNFIT: &'static [&'static str] = &[];
    const BUSY: &'static str = "userRateLimitExceeded";
    const BY_ID: Option<&'static str> =
        if IS_DRIVE { Some("a file of a Drive is found by its id, and its name may be another's too") } else { None };
    const LOST: &'static [(&'static str, usize)] = &[("create", 10), ("chunk", CHUNK_BYTES + 70_000)];
    const DOUBTED: (&'static [(&'static str, usize)], &'static [&'static str]) = (&[("create", 10)], &["look"]);
    const DAMAGED: &'static [(&'static str, usize)] = &[("create", 10), ("chunk", LARGE)];

    async fn start(provider: &TokenServer) -> Self {
        Self(GoogleServer::start(provider.tokens.clone(), BUCKET).await)
    }

    fn edge(&self) -> SocketAddr {
        self.0.address()
    }

    fn endpoints(&self, edge: SocketAddr, endpoints: &mut Endpoints) {
        self.0.give(edge);
        endpoints.set("google_api", format!("http://{edge}"));
    }

    fn settings() -> Value {
        if IS_DRIVE { json!({"oauth_doc_id": GRANT}) } else { json!({"oauth_doc_id": GRANT, "bucket": BUCKET}) }
    }

    fn busy() -> Trouble {
        refusal(403, "userRateLimitExceeded")
    }

    fn too_many(pause: u32) -> Trouble {
        Trouble::Refuses(429, envelope(429, "rateLimitExceeded"), Some(pause))
    }

    fn unavailable() -> Vec<Trouble> {
        vec![refusal(403, "rateLimitExceeded"), refusal(503, "backendError")]
    }

    fn nothing() -> Trouble {
        refusal(404, "notFound")
    }

    /// The response to the last chunk contains the hash.
    fn damage() -> (Trouble, u32, Kind) {
        (Trouble::Mistakes, 9, Kind::Passing)
    }

    fn refusals() -> Vec<(Trouble, &'static [&'static str], &'static str)> {
        let reasons = [
            ("dailyLimitExceeded", ": dailyLimitExceeded (status 403)"),
            ("storageQuotaExceeded", ": storageQuotaExceeded (status 403)"),
            ("forbidden", ": forbidden (status 403)"),
        ];
        reasons.map(|(reason, words)| (refusal(403, reason), &["create", "begin", "chunk"][..], words)).into()
    }

    fn gone() -> Vec<([Trouble; 2], Option<Kind>)> {
        let (refused, passing) = (Some(Kind::Refused), Some(Kind::Passing));
        let answers = [
            (404, envelope(404, "notFound"), None),
            (404, json!({"error": {"code": 404, "message": "m", "status": "NOT_FOUND"}}), None),
            (404, no_bucket(), refused),
            (400, envelope(400, "invalid"), refused),
            (401, envelope(401, "authError"), refused),
            (403, envelope(403, "forbidden"), refused),
            (403, envelope(403, "retentionPolicyNotMet"), refused),
            (403, envelope(403, "objectUnderActiveHold"), refused),
            (403, envelope(403, "accountDisabled"), refused),
            (403, envelope(403, "dailyLimitExceeded"), refused),
            (403, envelope(403, "storageQuotaExceeded"), refused),
            (403, envelope(403, "appNotAuthorizedToFile"), refused),
            (403, envelope(403, "cannotDownloadAbusiveFile"), refused),
            (403, envelope(403, "userRateLimitExceeded"), passing),
            (409, envelope(409, "conflict"), refused),
            (412, envelope(412, "orgPolicyConstraintFailed"), refused),
        ];
        let texts = [
            (404, "", None),
            (404, HTML, refused),
            (405, "", refused),
            (410, HTML, refused),
            (429, "", passing),
            (599, HTML, passing),
        ];
        let answers = answers.map(|(status, answer, kind)| (Trouble::Refuses(status, answer, None), kind));
        let texts = texts.map(|(status, text, kind)| (Trouble::Says(status, text), kind));
        answers.into_iter().chain(texts).map(|(trouble, kind)| ([trouble.clone(), trouble], kind)).collect()
    }

    /// The name is not queried: a bucket rejects a name that is taken, and a Drive does not need free names.
    fn looks() -> Vec<(Trouble, Result<bool, Kind>)> {
        Vec::new()
    }

    fn conflicts() -> Vec<(&'static [&'static str], Trouble, Option<Kind>)> {
        if IS_DRIVE {
            return Vec::new();
        }
        let refused = Some(Kind::Refused);
        let answers = [
            (refusal(412, "conditionNotMet"), None),
            (Trouble::Says(412, ""), None),
            (refusal(409, "conflict"), None),
            (refusal(403, "retentionPolicyNotMet"), None),
            (refusal(403, "objectUnderActiveHold"), None),
            (refusal(412, "orgPolicyConstraintFailed"), refused),
            (refusal(403, "forbidden"), refused),
            (Trouble::Refuses(404, no_bucket(), None), refused),
            (Trouble::Says(404, HTML), refused),
            (Trouble::Says(413, ""), refused),
        ];
        answers.map(|(trouble, failure)| (&["create", "begin"][..], trouble, failure)).into()
    }

    /// Without a generation; for a Drive only an id.
    fn kazoo(location: &mut Location) {
        location.retain(|member, _| matches!(member.as_str(), "name" | "id"));
    }
}

const HTML: &str = "<!DOCTYPE html><html><title>Error 404 (Not Found)!!1</title></html>";

fn no_bucket() -> Value {
    saying(404, "notFound", "The specified bucket does not exist.")
}

/// Builds a response with Google's envelope.
pub fn refusal(status: u16, reason: &str) -> Trouble {
    Trouble::Refuses(status, envelope(status, reason), None)
}

/// Checks that settings are rejected, with the key in the error.
fn assert_refused<const N: usize>(driver: &str, cases: [(Value, &str); N]) {
    let mut around = Around::default();
    around.endpoints.set("google_api", "https://www.googleapis.com");
    for (settings, key) in cases {
        let opened = try_open(driver, settings.clone(), &around, &Tasks::default(), &Budget::new(1));
        let error = opened.expect_err("wrong");
        let text = error.to_string();
        assert_eq!(error.kind(), Kind::Settings);
        assert!(text.contains("storage1") && text.contains(&format!("setting {key} ")), "{settings}: {text}");
        assert!(!text.contains("canary"), "{text}");
    }
}
