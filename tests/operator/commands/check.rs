//! `stowage check`, and unknown commands.

use crate::commands::program::{code, command, run, text};

#[test]
fn a_sound_configuration_is_0() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.toml"), "[couchdb]\nurl = \"http://127.0.0.1:5984\"\n").unwrap();
    let checked = run(folder.path(), &["check", "--config", "a.toml"]);
    assert_eq!(code(&checked), 0, "{checked:?}");
    std::fs::create_dir(folder.path().join("config")).unwrap();
    std::fs::rename(folder.path().join("a.toml"), folder.path().join("config/stowage.toml")).unwrap();
    assert_eq!(code(&run(folder.path(), &["check"])), 0, "config/stowage.toml is found");
    std::fs::rename(folder.path().join("config/stowage.toml"), folder.path().join("b.toml")).unwrap();
    assert_eq!(code(&run(folder.path(), &["check"])), 64, "there is no couchdb.url");
    let named = command(folder.path(), &["check"]).env("STOWAGE_CONFIG", "b.toml").output().unwrap();
    assert_eq!(code(&named), 0, "STOWAGE_CONFIG is read");
    let set = command(folder.path(), &["check"]).env("STOWAGE__COUCHDB__URL", "embedded").output().unwrap();
    assert_eq!(code(&set), 0, "variables are read");
}

#[test]
fn the_examples_configuration_is_sound() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/compose/stowage.toml");
    let folder = tempfile::tempdir().unwrap();
    let check = |password: Option<&str>| {
        let mut command = command(folder.path(), &["check", "--config", file]);
        code(&command.envs(password.map(|password| ("COUCHDB_PASSWORD", password))).output().unwrap())
    };
    assert_eq!((check(Some("a password")), check(None)), (0, 64));
}

#[test]
fn every_problem_is_printed_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let configuration = "nonsense = 1\n[couchdb]\npassword = { env = \"NOT_SET\" }\n[limits]\nattachment_bytes = \"canary\"\n\
                         [timeouts]\nconnect = 5\n[egress]\ndeny = [\"10/8\"]\n[listen.tls]\ncertificate = \"none.pem\"\n";
    std::fs::write(folder.path().join("a.toml"), configuration).unwrap();
    let mut command = command(folder.path(), &["check", "--config", "a.toml"]);
    let checked = command.env("STOWAGE__LIMITS__NOPE", "1").output().unwrap();
    assert_eq!(code(&checked), 64);
    let printed = text(&checked.stderr);
    for key in [
        "nonsense",
        "couchdb.url",
        "couchdb.password",
        "limits.attachment_bytes",
        "limits.nope",
        "timeouts.connect",
        "egress.deny",
        "listen.tls.certificate",
        "listen.tls.key",
    ] {
        let lines = printed.lines().filter(|line| line.contains(&format!(" {key} "))).count();
        assert_eq!(lines, 1, "{key}: {printed}");
    }
    assert_eq!(printed.lines().count(), 9, "{printed}");
    assert!(checked.stdout.is_empty());
}

#[test]
fn serve_refuses_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let served = run(folder.path(), &["serve"]);
    assert_eq!(code(&served), 64);
    assert!(text(&served.stderr).contains("couchdb.url"), "{served:?}");
}

#[test]
fn every_certificate_that_is_none_is_printed_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.pem", "a.key"] {
        std::fs::write(folder.path().join(name), "nothing").unwrap();
    }
    let configuration = "[couchdb]\nurl = \"embedded\"\n[egress]\nca = \"a.pem\"\n\
                         [listen.tls]\ncertificate = \"a.pem\"\nkey = \"a.key\"\nclient_ca = \"none.pem\"\n";
    std::fs::write(folder.path().join("a.toml"), configuration).unwrap();
    let checked = run(folder.path(), &["check", "--config", "a.toml"]);
    assert_eq!(code(&checked), 1, "{checked:?}");
    let printed = text(&checked.stderr);
    let keys: Vec<_> = printed.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(keys, ["egress.ca", "listen.tls.certificate", "listen.tls.key", "listen.tls.client_ca"], "{printed}");
}

#[test]
fn what_cannot_be_read_or_understood_is_64() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broken.toml"), "[couchdb\n").unwrap();
    for arguments in [
        &["check", "--config", "none.toml"][..],
        &["check", "--config", "broken.toml"],
        &["check", "--what"],
        &["what"],
        &[],
        &["explain", "--db", "x"],
        &["explain", "--db", "x", "--doc", "y", "--type", "z"],
    ] {
        let output = run(folder.path(), arguments);
        assert_eq!(code(&output), 64, "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    for arguments in [["--help"], ["--version"]] {
        let output = run(folder.path(), &arguments);
        assert_eq!(code(&output), 0, "{arguments:?}");
        assert!(text(&output.stdout).contains("stowage"));
    }
}
