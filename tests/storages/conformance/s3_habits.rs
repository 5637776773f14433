//! The `s3` driver with other implementations of servers, other kinds of buckets, and wrong regions.

use super::targets::BUCKET;
use crate::conformance::prelude::*;
use futures_util::StreamExt as _;
use stowage_testing::s3::{Failure, Habit, Operation, S3Server};

async fn with(habits: &[Habit]) -> (Arc<S3Server>, Target) {
    let (server, target) = super::s3::start(|_| {}).await;
    habits.iter().for_each(|habit| server.has(habit.clone()));
    (server, target)
}

/// Once a part was refused for lack of a digest, it is sent with one, and all later parts as well.
#[tokio::test]
async fn a_bucket_with_a_default_retention_takes_every_length() {
    let (server, target) = with(&[Habit::Locked]).await;
    for (index, length) in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES].into_iter().enumerate() {
        let data = bytes(length);
        let stored = target.put(&object(&format!("x{index}")), Body::full(data.clone())).await.expect("stored");
        assert!(target.read(&stored.location, length).await == data, "{length}");
    }
    assert_eq!(server.count(Operation::Part), 1 + 2 + 3);
}

/// A part refused for another reason fails the upload, and does not make other parts have digests.
#[tokio::test]
async fn a_part_that_is_refused_is_refused() {
    let (server, target) = with(&[]).await;
    server.fail(Operation::Part, 2, Failure { status: 400, code: "EntityTooLarge" });
    let error = target.put(&object("x"), Body::full(bytes(CHUNK_BYTES + 1))).await.expect_err("refused");
    assert!(error.to_string().contains("EntityTooLarge"), "{error}");
    target.assert_empty("refused").await;
}

/// An empty ETag would differ from that in every response to GET.
#[tokio::test]
async fn an_empty_tag_is_looked_up() {
    let (_server, target) = with(&[Habit::BlankTags]).await;
    let data = bytes(CHUNK_BYTES + 1);
    let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
    let read = target.get(&stored.location, None, data.len() as u64).await.expect("there");
    assert!(stored.etag.is_some());
    assert_eq!(read.etag, stored.etag);
}

#[tokio::test]
async fn a_completion_without_a_document_is_looked_into() {
    let (_server, target) = with(&[Habit::Speechless]).await;
    let data = bytes(CHUNK_BYTES + 1);
    let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("it is there");
    assert!(target.read(&stored.location, data.len()).await == data);

    let (_server, target) = with(&[Habit::Forgetful]).await;
    assert_eq!(kind(target.put(&object("x"), Body::full(data)).await), Some(Kind::Passing));
    target.assert_empty("never completed").await;
}

#[tokio::test]
async fn the_region_that_an_answer_names_is_used_and_remembered() {
    let (server, target) = with(&[Habit::Region("eu-south-2")]).await;
    for length in [10, CHUNK_BYTES + 1] {
        let data = bytes(length);
        let stored = target.put(&object(&format!("x{length}")), Body::full(data.clone())).await.expect("stored");
        assert!(target.read(&stored.location, length).await == data);
        target.backend.delete(&stored.location).await.expect("removed");
    }
    let refused = server.answered().iter().filter(|(_, status)| status.as_u16() == 400).count();
    assert_eq!(refused, 1, "it was asked once for the wrong region");
}

#[tokio::test]
async fn a_redirect_is_followed_and_remembered() {
    for status in [301, 307, 308] {
        let (there, _) = with(&[]).await;
        let moved = Habit::Moved(status, format!("http://{}", there.address()));
        let (here, target) = with(&[moved, Habit::Region("never reached")]).await;
        for length in [10, CHUNK_BYTES + 1] {
            let data = bytes(length);
            let stored =
                target.put(&object(&format!("a b/x{length}")), Body::full(data.clone())).await.expect("stored");
            assert_eq!(stored.location["key"], json!(format!("a b/x{length}")));
            assert!(target.read(&stored.location, length).await == data);
            target.backend.delete(&stored.location).await.expect("removed");
        }
        assert_eq!(here.answered().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn redirects_that_lead_astray_are_refused() {
    let (server, target) = with(&[]).await;
    for location in ["http://127.0.0.1:1/other/key?", "ftp://127.0.0.1", "nonsense", ""] {
        let (_here, target) = with(&[Habit::Moved(307, location.to_owned())]).await;
        assert_eq!(kind(target.put(&object("x"), Body::full("x")).await), Some(Kind::Refused), "{location}");
    }
    // A redirect loop.
    server.has(Habit::Moved(307, format!("http://localhost:{}", server.address().port())));
    assert_eq!(kind(target.put(&object("x"), Body::full("x")).await), Some(Kind::Refused));
    // A redirect that the egress policy forbids.
    let (_here, target) = with(&[Habit::Moved(307, "http://10.1.2.3".to_owned())]).await;
    assert_eq!(kind(target.put(&object("x"), Body::full("x")).await), Some(Kind::Settings));
}

#[tokio::test]
async fn the_servers_clock_is_the_one_that_counts() {
    let (server, target) = with(&[]).await;
    let stored = target.put(&object("x"), Body::full("in time")).await.expect("stored");
    server.has(Habit::Ahead(Duration::from_secs(2 * 3600)));
    for _ in 0..2 {
        let download = target.get(&stored.location, None, 7).await.expect("signed for the server's time");
        assert_eq!(collect(download.body, 99).await.expect("a body"), "in time");
    }
    assert_eq!(server.count(Operation::Get), 3);
}

/// The meaning of each code: for HEAD whether the name is free, for GET whether the object is gone, for DELETE whether it is removed, for PUT whether
/// it is stored.
#[tokio::test]
#[allow(clippy::too_many_lines, reason = "a line for each code")]
async fn every_code_has_one_meaning() {
    const CODES: [(u16, &str); 24] = [
        (400, "ExpiredToken"),
        (400, "InvalidDigest"),
        (400, "KMS.DisabledException"),
        (400, "RequestTimeout"),
        (403, "AccessDenied"),
        (403, "AllAccessDisabled"),
        (403, "InvalidAccessKeyId"),
        (403, "InvalidObjectState"),
        (403, "SignatureDoesNotMatch"),
        (404, "NoSuchBucket"),
        (404, "NoSuchKey"),
        (404, "NoSuchUpload"),
        (404, "NoSuchVersion"),
        (405, "MethodNotAllowed"),
        (409, "ConditionalRequestConflict"),
        (409, "InvalidBucketState"),
        (409, "OperationAborted"),
        (410, "Gone"),
        (411, "MissingContentLength"),
        (412, "PreconditionFailed"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (501, "NotImplemented"),
        (503, "SlowDown"),
    ];
    const PASSING: [&str; 6] = [
        "RequestTimeout",
        "ConditionalRequestConflict",
        "OperationAborted",
        "TooManyRequests",
        "InternalError",
        "SlowDown",
    ];
    together(CODES, async |(status, code)| {
        let failure = Failure { status, code };
        let usual = if PASSING.contains(&code) { Kind::Passing } else { Kind::Refused };
        let (server, target) = with(&[]).await;
        let stored = target.put(&object("there"), Body::full("x")).await.expect("stored");
        server.fail(Operation::Get, 3, failure);
        let got = kind(target.get(&stored.location, None, 1).await);
        assert_eq!(got, Some(if code == "NoSuchKey" { Kind::Missing } else { usual }), "GET {code}");
        server.fail(Operation::Delete, 3, failure);
        let removed = kind(target.backend.delete(&stored.location).await);
        assert_eq!(removed, (code != "NoSuchKey").then_some(usual), "DELETE {code}");

        for length in [1, CHUNK_BYTES + 1] {
            let (server, target) = with(&[]).await;
            server.fail(Operation::Head, 3, failure);
            let outcome = target.put(&object("free"), Body::full(bytes(length))).await;
            // The response to HEAD has no code, only the status.
            let expected = match status {
                404 => Ok("free"),
                429 | 500 | 503 => Err(Some(Kind::Passing)),
                _ => Ok("free.1f6c2a9e"),
            };
            let stored = outcome.as_ref().map(|stored| stored.location["key"].as_str().expect("a key"));
            assert_eq!(stored.map_err(|error| Some(error.kind())), expected, "HEAD {status} {length}");
        }

        let (server, target) = with(&[]).await;
        server.fail(Operation::Put, 3, failure);
        let outcome = target.put(&object("put"), Body::full("x")).await;
        match code {
            // Another object exists.
            "PreconditionFailed" => assert_eq!(kind(outcome), Some(Kind::Refused)),
            "NotImplemented" => assert_eq!(kind(outcome), Some(Kind::Refused)),
            _ => assert_eq!(kind(outcome), Some(usual), "PUT {code}"),
        }
        target.idle().await;
        assert_eq!(server.objects(BUCKET).len(), 0, "PUT {code}");
    })
    .await;
}

/// What is left out of a list looks as if it were not there.
#[tokio::test]
async fn a_list_that_is_not_whole_is_refused() {
    for list in [
        // The answer of a server that takes the request for the older `ListObjects`.
        "<ListBucketResult><NextMarker>b</NextMarker><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><KeyCount>1</KeyCount><x:Contents xmlns:x='y'><x:Key>a</x:Key></x:Contents></ListBucketResult>",
        "<html><body>Sign in to the network</body></html>",
        "",
    ] {
        let (_server, target) = with(&[Habit::Lists(list)]).await;
        let listed: Vec<_> = target.backend.list().expect("a list").collect().await;
        let error = listed.into_iter().find_map(Result::err);
        assert_eq!(error.map(|error| error.kind()), Some(Kind::Refused), "{list}");
    }
}

/// An upload that is not listed could still be completed, and its object would appear after its place was cleared.
#[tokio::test]
async fn a_place_is_cleared_of_the_uploads_on_every_page_or_not_at_all() {
    let truncated = "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>x</NextKeyMarker>\
        <NextUploadIdMarker>1</NextUploadIdMarker></ListMultipartUploadsResult>";
    let (server, target) = with(&[Habit::Uploads(truncated)]).await;
    target.backend.clear(&target.backend.place("x")).await.expect("cleared");
    assert_eq!(server.count(Operation::Other), 2, "the second page is asked for");
    // The answer of a server that takes the request for one of the bucket's objects.
    let (_server, target) = with(&[Habit::Uploads("<ListBucketResult></ListBucketResult>")]).await;
    let error = target.backend.clear(&target.backend.place("x")).await.expect_err("refused");
    // It has a status, because the server has answered.
    assert_eq!((error.kind(), error.status().map(|status| status.as_u16())), (Kind::Refused, Some(200)));
}

#[tokio::test]
async fn a_wrong_key_is_told_from_a_right_that_is_missing() {
    for (code, is_of_login) in [("AccessDenied", false), ("InvalidAccessKeyId", true), ("SignatureDoesNotMatch", true)]
    {
        let (server, target) = with(&[]).await;
        server.fail(Operation::Delete, 1, Failure { status: 403, code });
        let error = target.backend.delete(&target.backend.place("x")).await.expect_err("refused");
        assert_eq!(error.is_of_login(), is_of_login, "{code}");
    }
}

/// As of MinIO's gateways and versitygw, whose last page names a next one.
#[tokio::test]
async fn a_list_ends_where_it_says_so() {
    let list = "<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>1</KeyCount><NextContinuationToken>a</NextContinuationToken>\
        <Contents><Key>a</Key><Size>1</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>";
    let (_server, target) = with(&[Habit::Lists(list)]).await;
    let listed: Vec<_> = target.backend.list().expect("a list").take(3).collect().await;
    assert!(listed.len() == 1 && listed[0].is_ok(), "{listed:?}");
}

#[tokio::test]
async fn a_key_is_listed_with_its_spaces() {
    let (server, target) = with(&[]).await;
    for key in [" before", "after ", "a&b <c>"] {
        server.meddle(BUCKET, key, Some(b"x"));
    }
    let listed: Vec<_> =
        target.backend.list().expect("a list").map(|listed| listed.expect("an object")).collect().await;
    let mut names: Vec<_> = listed.into_iter().map(|listed| listed.name).collect();
    names.sort();
    assert_eq!(names, [" before", "a&b <c>", "after "]);
}
