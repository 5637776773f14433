//! The configuration: the reference states the defaults, and every problem is reported with its key.

use callstore::config::{Source, load};

fn source(text: &str, environment: &[(&str, &str)]) -> Source {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Source { text: text.to_owned(), environment }
}

#[test]
fn the_reference_file_says_exactly_the_defaults() {
    let reference = include_str!("../../../../config/callstore.toml");
    let config = load(&source(reference, &[])).unwrap();
    assert_eq!(format!("{config:#?}"), format!("{:#?}", load(&source("", &[])).unwrap()));
    // Every key is read: omitting a default changes nothing, but a value of a wrong type is reported.
    for line in reference.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')) {
        let (key, _) = line.split_once(" = ").unwrap();
        let broken = reference.replace(line, &format!("{key} = {{ wrong = 1 }}"));
        assert!(load(&source(&broken, &[])).is_err(), "{key} is not read");
    }
}

#[test]
fn every_problem_is_reported_with_its_key() {
    let text = "nonsense = 1\nroles = \"x.json\"\n[listen]\naddress = \"0.0.0.0:1\"\n[journal]\nkind = \"paper\"\nkeep = 5\n[couchdb]\nurl = \"ftp://x\"\n\
                [records]\ndatabase = \"CDR\"\n[orders]\nwebhook = \"x\"\n[limits]\ninlet_bytes = 1\n[log]\nlevel = \"loud\"\n\
                [[sites]]\nname = \"a b\"\nkeep = 1\n[[sites]]\nname = \"a b\"\nurls = [\"amqp://x\"]\nadopt_after = 0\n";
    let problems = load(&source(text, &[("CALLSTORE__DEAD__NOPE", "1")])).unwrap_err();
    let mut found: Vec<_> = problems.into_iter().map(|problem| problem.key).collect();
    found.sort();
    let expected = [
        "couchdb.url",
        "dead.nope",
        "instance",
        "journal.keep",
        "journal.kind",
        "limits.inlet_bytes",
        "listen.tokens",
        "log.level",
        "nonsense",
        "orders.webhook",
        "records.database",
        "sites[0].keep",
        "sites[0].name",
        "sites[0].urls",
        "sites[1].adopt_after",
        "sites[1].name",
        "sites[1].name",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_certificate_and_its_key_belong_together_and_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("client.pem");
    std::fs::write(&there, "").unwrap();
    let there = there.display();
    let text = format!(
        "roles = \"x.json\"\ninstance = \"a\"\n[journal]\nkind = \"rabbitmq\"\n[broker]\nurls = [\"amqps://x\"]\nkey = \"{there}\"\n\
         [group]\netcd = [\"https://x:2379\"]\ncertificate = \"{there}\"\nca = \"missing.pem\"\n\
         [[sites]]\nname = \"north\"\nurls = [\"amqps://x\"]\ncertificate = \"{there}\"\nkey = \"missing.key\"\n"
    );
    let problems = load(&source(&text, &[])).unwrap_err();
    let found: Vec<_> = problems.iter().map(|problem| format!("{} {}", problem.key, problem.message)).collect();
    let expected = [
        "broker.certificate is missing: certificate and key belong together",
        "group.ca there is no file missing.pem",
        "group.key is missing: certificate and key belong together",
        "sites[0].key there is no file missing.key",
    ];
    assert_eq!(found, expected);
}

#[test]
fn variables_override_the_file() {
    let variables =
        [("CALLSTORE__INSTANCE", "callstore2"), ("CALLSTORE__DEAD__HOLD_OFF", "7s"), ("STOWAGE__DEAD__HOLD_OFF", "9s")];
    let config = load(&source("[dead]\nhold_off = \"5s\"\n", &variables)).unwrap();
    assert_eq!((config.instance.as_str(), config.dead.hold_off.as_secs()), ("callstore2", 7));
}
