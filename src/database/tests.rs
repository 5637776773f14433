use super::*;

const ID: &str = "abcdef0123456789abcdef0123456789";
pub(super) const NAME: &str = "account/ab/cd/ef0123456789abcdef0123456789";
const FIXTURE: &str = "account/ac/co/unt0000000000000000000000004";

fn class(name: &str) -> Option<Class> {
    classify(name).map(|database| database.class)
}

pub(super) fn account(name: &str) -> Option<String> {
    Some(classify(name)?.account?.to_string())
}

#[test]
fn account_databases_have_their_class_and_account() {
    for (suffix, expected) in [
        ("", Class::Account),
        ("-selectors", Class::Account),
        ("-202011", Class::Modb),
        ("-000000", Class::Modb),
        ("-2020", Class::Yodb),
    ] {
        let name = format!("{NAME}{suffix}");
        assert_eq!(class(&name), Some(expected), "{name}");
        assert_eq!(account(&name).as_deref(), Some(ID), "{name}");
        let name = format!("{FIXTURE}{suffix}");
        assert_eq!(class(&name), Some(expected), "{name}");
        assert_eq!(account(&name).as_deref(), Some("account0000000000000000000000004"), "{name}");
    }
}

#[test]
fn what_only_looks_like_an_account_passes_through() {
    for suffix in [
        "-provisioner",
        "-",
        "-20201",
        "-2020111",
        "-20201a",
        "-20a0",
        "-202",
        "-２０２０",
        "-selectors-2020",
        "-selector",
        "-202011-202011",
        "x",
        "/x",
        "_202011",
        " -2020",
    ] {
        assert_eq!(class(&format!("{NAME}{suffix}")), None, "{suffix}");
    }
    for name in [
        "account",
        "account/",
        "account/ab/cd",
        "account/ab/cd/",
        "account/ab/cd/ef0123456789abcdef012345678",
        "account/abc/d/ef0123456789abcdef0123456789",
        "account/a/bcd/ef0123456789abcdef0123456789",
        "account/ab/cde/f0123456789abcdef0123456789",
        "account/ab/c/def0123456789abcdef0123456789",
        "account/ab/cd/ef0123456789abcd/f0123456789",
        "account/ab/cd/ef0123456789abcdef01234567é",
        "account/ab/cd/ef0123456789abcdef01234567\u{1}9",
        "account/abcdef0123456789abcdef0123456789",
        "account%2Fab%2Fcd%2Fef0123456789abcdef0123456789",
        "Account/ab/cd/ef0123456789abcdef0123456789",
        "/account/ab/cd/ef0123456789abcdef0123456789",
        ID,
    ] {
        assert_eq!(class(name), None, "{name}");
        assert_eq!(class_of(name), None, "{name}");
    }
}

#[test]
fn named_databases_have_their_class() {
    let system = [
        "system_schemas",
        "system_media",
        "system_auth",
        "alerts",
        "offnet",
        "anonymous_cdrs",
        "dedicated_ips",
        "oauth",
        "tasks",
        "pending_notifications",
        "cccps",
        "numbers/+1415",
        "ratedeck",
        "ratedeck/custom",
        "ratedeck-custom",
    ];
    for name in system {
        assert_eq!(class(name), Some(Class::System), "{name}");
        assert_eq!(account(name), None, "{name}");
    }
    let aggregate = ["accounts", "token_auth", "sip_auth", "faxes", "acdc", "port_requests", "webhooks", "functions"];
    for name in aggregate {
        assert_eq!(class(name), Some(Class::Aggregate), "{name}");
    }
}

#[test]
fn the_platforms_configuration_passes_through_and_keeps_its_class() {
    for (name, expected) in
        [("system_config", Class::System), ("system_data", Class::System), ("services", Class::Aggregate)]
    {
        assert_eq!(class(name), None, "{name}");
        let described = class_of(name).map(|database| database.class);
        assert_eq!(described, Some(expected), "{name}");
    }
}

#[test]
fn every_other_name_passes_through() {
    for name in [
        "",
        "_users",
        "_replicator",
        "_global_changes",
        "_dbs",
        "_nodes",
        "numbers",
        "numbersx",
        "accountsx",
        "system",
        "system_medi",
        "media",
        "alerts2",
    ] {
        assert_eq!(class(name), None, "{name}");
    }
}

#[test]
fn account_ids_are_taken_by_length_and_shape() {
    assert!(AccountId::parse(ID).is_some());
    assert!(AccountId::parse("account0000000000000000000000004").is_some());
    for id in ["", "abc", "abcdef0123456789abcdef012345678", "../../../../../../../../../../../"] {
        assert_eq!(AccountId::parse(id), None, "{id}");
    }
    assert_eq!(AccountId::parse("abcdef0123456789/bcdef0123456789"), None);
}
