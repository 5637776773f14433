use super::{CouchTarget, Present, Source, load};

fn source(text: &str, environment: &[(&str, &str)]) -> Source {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Source { text: text.to_owned(), environment }
}

fn keys(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    load(&source(text, environment)).unwrap_err().into_iter().map(|problem| problem.key).collect()
}

const LEAST: &str = "[couchdb]\nurl = \"embedded\"\n";

#[test]
fn the_reference_file_says_exactly_the_defaults() {
    let reference = include_str!("../../config/stowage.toml");
    let config = load(&source(reference, &[("STOWAGE__COUCHDB__URL", "embedded")])).unwrap();
    let least = load(&source(LEAST, &[])).unwrap();
    assert_eq!(format!("{config:#?}"), format!("{least:#?}"));
}

#[test]
fn an_empty_url_is_an_error_that_says_so() {
    let problems = load(&source("", &[])).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].key, "couchdb.url");
    assert!(problems[0].message.contains("embedded"), "{problems:?}");
}

#[test]
fn every_problem_is_reported_with_its_key() {
    let text = "nonsense = 1\n[limits]\nattachment_bytes = \"many\"\nfoo = 1\n[timeouts]\nconnect = 5\n[egress]\nallow = [\"10/8\"]\n\
                [admin]\ntokens = [\"sha256:12\", { token = \"x\", acount = \"y\" }]\n[log]\nlevel = \"loud\"\naccess = \"some\"\n\
                [telemetry]\notlp = \"ftp://x\"\nsample = 1.5\n\
                [jobs]\nheld_in_memory = \"all\"\n[listen]\ntrusted_proxies = [\"10/8\"]\n";
    let mut found = keys(text, &[("STOWAGE__NOPE__KEY", "1")]);
    found.sort();
    let expected = [
        "admin.tokens.0",
        "admin.tokens.1",
        "couchdb.url",
        "egress.allow",
        "jobs.held_in_memory",
        "limits.attachment_bytes",
        "limits.foo",
        "listen.trusted_proxies",
        "log.access",
        "log.level",
        "nonsense",
        "nope",
        "telemetry.otlp",
        "telemetry.sample",
        "timeouts.connect",
    ];
    assert_eq!(found, expected);
}

#[test]
fn variables_override_the_file() {
    let config = load(&source(
        "[couchdb]\nurl = \"http://127.0.0.1:5984\"\n[limits]\nin_flight = 3\n",
        &[
            ("STOWAGE__COUCHDB__URL", "embedded"),
            ("STOWAGE__LIMITS__ATTACHMENT_BYTES", "2 KiB"),
            ("STOWAGE__LIMITS__IN_FLIGHT", "7"),
            ("STOWAGE__EGRESS__ALLOW", "127.0.0.0/8, ::1"),
            ("STOWAGE__LISTEN__ADDRESS", ""),
            ("STOWAGE__LISTEN__TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1"),
            ("STOWAGE__JOBS__HELD_IN_MEMORY", "0"),
            ("STOWAGE__ADMIN__TOKENS", "[\"a\", { token = \"b\", account = \"c\" }]"),
            ("STOWAGE__PLANS__ALLOW_UNVALIDATED", "true"),
            ("STOWAGE__TELEMETRY__SAMPLE", "0.25"),
            ("STOWAGE__TELEMETRY__OTLP", "http://collector:4318/tenant"),
            ("OTHER", "x"),
        ],
    ))
    .unwrap();
    assert_eq!(config.couchdb.target, CouchTarget::Embedded);
    assert_eq!(config.limits.attachment_bytes, 2048);
    assert_eq!(config.limits.in_flight, 7);
    for permitted in ["127.0.0.1", "::1"] {
        assert!(config.egress.policy.permits(permitted.parse().unwrap()), "{permitted}");
    }
    assert!(config.listen.address.is_none());
    let proxies: Vec<_> = config.listen.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "192.0.2.1/32"]);
    assert_eq!(config.jobs.held_in_memory, 0);
    assert_eq!(config.admin.tokens[1].account.as_deref(), Some("c"));
    assert!(config.plans.allow_unvalidated);
    assert!((config.telemetry.sample - 0.25).abs() < f64::EPSILON);
    assert_eq!(config.telemetry.otlp.unwrap().path(), "/tenant");
}

#[test]
fn a_list_in_json_is_a_problem_without_its_value() {
    for tokens in
        ["[{\"token\": \"canary\"}, {\"token\": \"canary2\"}]", "[\"canary\", ", " [canary]", "{\"token\": \"canary\"}"]
    {
        let problems = load(&source(LEAST, &[("STOWAGE__ADMIN__TOKENS", tokens)])).unwrap_err();
        assert_eq!(problems.len(), 1, "{tokens}: {problems:?}");
        assert_eq!(problems[0].key, "admin.tokens", "{tokens}");
        assert!(!problems[0].message.contains("canary"), "{tokens}: {problems:?}");
    }
    let config = load(&source(LEAST, &[("STOWAGE__ADMIN__TOKENS", "[\"a\", \"b\"]")])).unwrap();
    assert_eq!(config.admin.tokens.len(), 2, "what JSON and TOML write alike");
}

#[test]
fn stubs_are_shown_where_plans_are_unless_something_else_is_said() {
    let shown = |said: &str| {
        let config = load(&source(&format!("{LEAST}{said}\n"), &[])).unwrap();
        ["modb", "system"].map(|class| config.couchdb.present_stubs.in_class(class))
    };
    assert_eq!(shown(""), [Present::Planned; 2]);
    assert_eq!(shown("present_stubs = true"), [Present::Always; 2]);
    assert_eq!(shown("present_stubs = false"), [Present::Never; 2]);
    assert_eq!(shown("present_stubs = { modb = false }"), [Present::Never, Present::Planned]);
    assert_eq!(shown("present_stubs = { system = true }"), [Present::Planned, Present::Always]);
    assert_eq!(keys(&format!("{LEAST}present_stubs = {{ modb = 7, x = true }}\n"), &[]).len(), 2);
}

#[test]
fn a_secret_never_prints() {
    let text = "[couchdb]\nurl = \"embedded\"\npassword = \"canary-secret\"\n[admin]\ntokens = [\"canary-secret\"]\n";
    let config = load(&source(text, &[])).unwrap();
    assert_eq!(config.couchdb.password.expose(), "canary-secret");
    assert!(!format!("{config:?}").contains("canary"));
}

#[test]
fn a_syntax_error_names_its_place_without_repeating_the_line() {
    for lines in [
        "password = canary",
        "password = \"canary\" 1",
        "password = \"canary",
        "password = \"canary\\q\"",
        "canary canary = 1",
        "password = 1\npassword = \"canary\"",
        "password = 2026-13-01canary",
        // A number without quotes that is too large.
        "password = 31415926535897932384626433832795",
    ] {
        let problems = load(&source(&format!("[couchdb]\n{lines}\n"), &[])).unwrap_err();
        assert_eq!(problems[0].key, "(file)");
        let shown = format!("{problems:?}");
        assert!(!shown.contains("canary") && !shown.contains("31415"), "{shown}");
    }
    let problems = load(&source("[couchdb]\npassword = canary\n", &[])).unwrap_err();
    assert!(problems[0].message.starts_with("line 2, column "), "{problems:?}");
}

#[test]
fn a_url_with_credentials_is_refused_without_repeating_them() {
    let problems = load(&source("[couchdb]\nurl = \"http://a:canary@h/\"\n", &[])).unwrap_err();
    assert_eq!(problems[0].key, "couchdb.url");
    assert!(!format!("{problems:?}").contains("canary"));
}
