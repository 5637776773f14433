//! Classification of arbitrary names.

#![expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]

use proptest::prelude::*;

use super::tests::{NAME, account};
use super::*;

/// A reference implementation of the same rules, by splitting and counting.
fn reference(name: &str) -> Option<(Class, String)> {
    let parts: Vec<&str> = name.split('/').collect();
    let [head, first, second, last] = parts.as_slice() else {
        return None;
    };
    let whole = [*first, *second, *last].concat();
    let printable = whole.chars().all(|character| ('!'..='~').contains(&character));
    if *head != "account" || first.len() != 2 || second.len() != 2 || !printable || last.len() < 28 {
        return None;
    }
    let suffix = last.get(28..)?;
    let digits = suffix.len() > 1 && suffix.chars().skip(1).all(|c| c.is_ascii_digit());
    let class = match (suffix.len(), suffix.starts_with('-') && digits) {
        (0, _) => Class::Account,
        (7, true) => Class::Modb,
        (5, true) => Class::Yodb,
        _ if suffix == "-selectors" => Class::Account,
        _ => return None,
    };
    Some((class, whole.get(..32)?.to_owned()))
}

proptest! {
    #[test]
    fn account_names_agree_with_the_reference(
        name in "account/[a-z0-9]{1,3}/[a-z0-9é]{1,3}/[a-z0-9/]{27,29}(-[0-9a]{3,7}|-selectors|-provisioner)?"
    ) {
        let expected = reference(&name);
        let actual = class_of(&name).map(|database| {
            (database.class, database.account.map(|id| id.to_string()).unwrap_or_default())
        });
        prop_assert_eq!(actual, expected);
    }

    #[test]
    fn well_formed_account_names_are_never_missed(
        first in "[a-z0-9]{2}", second in "[a-z0-9]{2}", rest in "[a-z0-9]{28}",
        suffix in "(-[0-9]{6}|-[0-9]{4}|-selectors)?",
    ) {
        let name = format!("account/{first}/{second}/{rest}{suffix}");
        prop_assert_eq!(account(&name), Some(format!("{first}{second}{rest}")));
    }

    #[test]
    fn any_name_is_classified_without_harm(name in any::<String>(), tail in any::<String>()) {
        let _ = classify(&name);
        let _ = classify(&format!("account/{tail}"));
        let _ = classify(&format!("{NAME}{tail}"));
    }
}
