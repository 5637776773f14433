//! Rule 10: no output of a driver contains a secret.

use super::bodies::End;
use crate::conformance::prelude::*;

pub async fn nothing_shows_a_secret(target: Target) {
    let mut shown = vec![format!("{:?} {:#?}", target.backend, target.backend)];
    let stored = target.put(&object("canary"), Body::full("x")).await.expect("stored");
    shown.push(Value::Object(stored.location.clone()).to_string());
    shown.push(format!("{stored:?}"));
    let mut errors = vec![
        target.put(&object("../canary"), Body::full("x")).await.err(),
        target.put(&object("broken"), Frames::new("x").then(End::Breaks).body()).await.err(),
        target.put(&object(&"x".repeat(2000)), Body::full("x")).await.err(),
        target.get(&stored.location, Some(ByteRange { first: 5, last: 9 }), 10).await.err(),
    ];
    target.backend.delete(&stored.location).await.expect("removed");
    errors.push(target.get(&stored.location, None, 1).await.err());
    for error in errors.into_iter().flatten() {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(link) = cause {
            shown.push(format!("{link} {link:?}"));
            cause = link.source();
        }
    }
    for text in shown {
        for secret in &target.secrets {
            assert!(!text.contains(secret.as_str()), "a secret shows in {text}");
        }
    }
}
