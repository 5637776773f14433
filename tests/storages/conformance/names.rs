//! Names are literal: whatever a name contains, exactly its own object is found again.

use crate::conformance::prelude::*;
use stowage_http::target::encode;

/// Different names that must remain different.
const ODD: [&str; 18] = [
    "plain",
    "a b",
    "a+b",
    "a%20b",
    "a%2Fb",
    "a%2fb",
    "a%252Fb",
    "a/b",
    "a\"b'c",
    "a?b=c&d",
    "a#b",
    "ü/é/日本.mp3",
    "a;b,c:d@e!$*()",
    "[x]{y}|~^`",
    "back\\slash",
    "account%2Fab%2Fcd%2F0123-202011/doc_att.mp3",
    "..dots..",
    "%",
];

pub async fn odd_names_come_back(target: Target) {
    let mut stored = Vec::new();
    let fit: Vec<_> = ODD.into_iter().filter(|name| !target.unfit.contains(name)).collect();
    for name in &fit {
        // A separate folder, since on a disk `a` cannot be both a file and a folder.
        let name = if target.by_url { format!("odd/{}", encode(name)) } else { format!("odd/{name}") };
        let kept = target.put(&object(&name), Body::full(name.clone())).await;
        stored.push((kept.unwrap_or_else(|error| panic!("{name}: {error}")), name));
    }
    for (stored, name) in &stored {
        assert_eq!(target.read(&stored.location, name.len()).await, name.as_bytes(), "{name}");
    }
    assert_eq!(target.world.objects().len(), fit.len());
    if !target.by_url {
        let mut expected: Vec<_> = stored.iter().map(|(_, name)| name.clone()).collect();
        expected.sort();
        let mut objects = target.world.objects();
        objects.sort();
        assert_eq!(objects, expected);
    }
    for (stored, name) in &stored {
        target.backend.delete(&stored.location).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    target.assert_empty("after removal").await;
}

pub async fn names_do_not_leave_their_folder(target: Target) {
    if target.by_url {
        println!("skipped: names_do_not_leave_their_folder: a name of a URL is confined where it is composed");
        return;
    }
    for name in ["", "..", "../x", "a/../../x", "a/./b"] {
        assert_eq!(kind(target.put(&object(name), Body::full("x")).await), Some(Kind::Refused), "{name}");
    }
    target.assert_empty("after refusals").await;
}
