//! Names of arbitrary documents.

#![expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]

use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::{DATABASE, HANDLERS, fields, of, settings};
use super::*;

/// Texts that are dangerous in a path.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[./\\\\%?#=&a\u{0}\n]{0,8}", "(\\.\\.?/?){1,3}", Just("%2e%2e".to_owned()),]
}

fn item() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        "account_id|db|id|attachment".prop_map(|arg| json!({ "arg": arg })),
        "owner_id|name".prop_map(|field| json!({ "field": field })),
        "[./?=a]{0,3}".prop_map(|text| json!({ "const": text })),
    ];
    leaf.clone().prop_recursive(2, 8, 3, move |inner| {
        proptest::collection::vec(inner, 0..3).prop_map(|items| json!({ "group": items }))
    })
}

fn check_confined(handler: &str, name: &str) -> Result<(), TestCaseError> {
    let path = if handler == "http" { name.split('?').next().unwrap() } else { name };
    prop_assert!(!path.starts_with('/'), "{}", name);
    prop_assert!(!path.contains("//"), "{}", name);
    prop_assert!(!name.chars().any(char::is_control), "{}", name);
    prop_assert!(!name.split('/').any(|segment| segment == ".." || segment == "."), "{}", name);
    if handler == "http" {
        let url = format!("http://host/folder/inner/{name}");
        let parsed = url::Url::parse(&url).unwrap();
        prop_assert!(parsed.path().starts_with("/folder/inner/"), "{}", parsed);
        let decoded = percent_decode_str(path).decode_utf8_lossy();
        prop_assert!(!decoded.split('/').any(|segment| segment == ".."), "{}", name);
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_document_leads_out_of_a_folder(
        id in hostile(), attachment in hostile(), owner in hostile(), account in hostile(),
        which in 0..HANDLERS.len(), folder in "[a/.]{0,5}",
        list in proptest::option::of(proptest::collection::vec(item(), 0..4)), separator in "[/.-]?",
    ) {
        let document = fields(json!({ "owner_id": owner, "name": attachment, "pvt_account_id": account }));
        let source = NameSource {
            account: None, database: DATABASE, document_id: &id, attachment: &attachment, document: &document,
        };
        let members = json!({ "field_list": list, "field_separator": separator, "folder_path": folder });
        if let Ok(name) = compose(&settings(HANDLERS[which], members), &source) {
            check_confined(HANDLERS[which], name.as_str())?;
            let suffixed = name.with_suffix("1f6c2a9e");
            prop_assert_eq!(suffixed.len().abs_diff(name.as_str().len() + 8) <= 1, true);
            check_confined(HANDLERS[which], &suffixed)?;
        }
    }

    #[test]
    fn ordinary_names_are_never_refused(id in "[a-z0-9][ -~é]{0,9}", which in 0..HANDLERS.len()) {
        prop_assume!(!id.contains(".."));
        prop_assume!(!id.contains("/.") && !id.contains("\\."));
        let name = of(HANDLERS[which], "db", &id, "call.mp3");
        let last = name.rsplit('/').next().unwrap();
        prop_assert!(last.ends_with("call.mp3"), "{}", name);
    }

    #[test]
    fn values_decode_to_what_they_were(value in any::<String>()) {
        let name = Name::value(&value);
        let encoded = name.as_str();
        prop_assert_eq!(percent_decode_str(encoded).decode_utf8().unwrap(), value.as_str());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
        prop_assert!(encoded.bytes().all(allowed), "{}", encoded);
        for escape in encoded.split('%').skip(1) {
            let digits = escape.as_bytes()[..2].iter();
            prop_assert!(digits.clone().all(|digit| digit.is_ascii_digit() || (b'A'..=b'F').contains(digit)));
        }
    }
}
