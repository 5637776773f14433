//! Rules 5 to 8: ranges, missing objects, deletion.

use crate::conformance::prelude::*;
use http_body::Body as _;
use serde_json::Map;
use stowage_storage::Served;

pub async fn ranges_are_cut_or_whole(target: Target) {
    let length = 600_000;
    let data = bytes(length);
    let stored = target.put(&object("ranges"), Body::full(data.clone())).await.expect("stored");
    let last = length as u64 - 1;
    for (first, last) in [(0, 0), (0, 9), (1, 1), (100_000, 399_999), (0, last), (last, last), (last - 5, last)] {
        let range = ByteRange { first, last };
        let download = target.get(&stored.location, Some(range), length as u64).await.expect("an object");
        let (expected, served) = match download.served {
            Served::Whole => (&data[..], Served::Whole),
            Served::Part(_) => {
                let (first, end) = (usize::try_from(first).expect("small"), usize::try_from(last + 1).expect("small"));
                (&data[first..end], Served::Part(range))
            }
        };
        assert_eq!(download.served, served);
        assert!(target.by_url || download.etag == stored.etag);
        if let Some(announced) = download.body.size_hint().exact() {
            assert_eq!(announced, expected.len() as u64);
        }
        assert!(collect(download.body, LIMIT).await.expect("bytes") == expected, "{range:?}");
    }
}

pub async fn a_missing_object_is_missing(target: Target) {
    let stored = target.put(&object("a/b/c"), Body::full("x")).await.expect("stored");
    target.backend.delete(&stored.location).await.expect("removed");
    assert_eq!(kind(target.get(&stored.location, None, 1).await), Some(Kind::Missing));
    let range = Some(ByteRange { first: 0, last: 0 });
    assert_eq!(kind(target.get(&stored.location, range, 1).await), Some(Kind::Missing));
    target.assert_empty("after removal").await;
}

pub async fn deleting_twice_is_fine(target: Target) {
    let kept = target.put(&object("a/kept"), Body::full("kept")).await.expect("stored");
    let stored = target.put(&object("a/gone"), Body::full("gone")).await.expect("stored");
    for _ in 0..2 {
        target.backend.delete(&stored.location).await.expect("removed");
    }
    assert_eq!(target.read(&kept.location, 4).await, b"kept");
    assert_eq!(target.world.objects(), ["a/kept"]);
}

pub async fn a_malformed_location_is_refused(target: Target) {
    let stored = target.put(&object("fine"), Body::full("x")).await.expect("stored");
    let mut wrong = vec![Map::new()];
    for (member, _) in stored.location.iter().filter(|(_, value)| value.is_string()) {
        for value in [json!(7), json!(""), json!(".."), json!(["x"]), json!("../../x")] {
            let mut location: Location = stored.location.clone();
            location.insert(member.clone(), value);
            wrong.push(location);
        }
    }
    for location in wrong {
        let shown = Value::Object(location.clone());
        assert_eq!(kind(target.get(&location, None, 1).await), Some(Kind::Location), "{shown}");
        assert_eq!(kind(target.backend.delete(&location).await), Some(Kind::Location), "{shown}");
    }
    assert_eq!(target.read(&stored.location, 1).await, b"x");
}

/// A job that is written before an upload names the object's place.
pub async fn a_place_is_known_before_it_is_stored(target: Target) {
    for length in [3, CHUNK_BYTES + 3] {
        let object = object(&format!("folder/{length}.mp3"));
        let place = target.backend.place(&object.name);
        let found = target.get(&place, None, length as u64).await.expect_err("nothing is there");
        assert_eq!(found.kind(), Kind::Missing, "{found}");
        target.backend.clear(&place).await.expect("nothing to remove");
        let stored = target.put(&object, Body::full(bytes(length))).await.expect("stored");
        for (member, value) in &place {
            assert_eq!(stored.location.get(member), Some(value), "{place:?} of {:?}", stored.location);
        }
        assert!(target.read(&place, length).await == bytes(length));
        target.backend.clear(&place).await.expect("removed");
        target.assert_empty("after its place was cleared").await;
    }
}
