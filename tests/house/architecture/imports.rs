//! Floors are crates; the modules of each program have a total order. Imports only lead downwards.

use std::fs;
use std::path::Path;

use super::{Source, sources, without_tests};

/// The floors below the gateway, with those that each may use. Cargo rejects all other imports.
pub const FLOORS: [(&str, &[&str]); 6] = [
    ("base", &[]),
    ("http", &["base"]),
    ("couch", &["base", "http"]),
    ("storage", &["base", "http"]),
    ("couch-embedded", &["base", "couch", "http"]),
    ("callstore", &["base", "couch", "couch-embedded", "http"]),
];

/// A program whose modules have a total order.
pub struct Program {
    /// The name of its crate.
    pub name: &'static str,
    /// The folder of its modules.
    pub folder: &'static str,
    /// Its modules, highest first: a module may only use those after it.
    pub order: &'static [&'static str],
}

/// The gateway.
pub const GATEWAY: Program = Program {
    name: "stowage",
    folder: "src",
    order: &[
        "main",
        "cli",
        "app",
        "admin",
        "migrate",
        "verify",
        "walk",
        "worker",
        "middleware",
        "dispatch",
        "document",
        "present",
        "attachment",
        "moving",
        "commit",
        "object",
        "gateway",
        "locks",
        "record",
        "jobs",
        "upstream",
        "exchange",
        "error",
        "plan",
        "router",
        "pointer",
        "database",
        "export",
        "metrics",
        "config",
    ],
};

/// The call store.
pub const CALL_STORE: Program = Program {
    name: "callstore",
    folder: "crates/callstore/src",
    order: &[
        "main", "cli", "app", "api", "sites", "act", "cluster", "config", "sweeps", "dead", "records", "follow",
        "metrics", "state", "sources", "decision", "journal", "broker", "orders", "lead", "group", "roles", "clock",
        "time", "fold",
    ],
};

/// Removes line comments: a link in documentation is not an import.
pub fn without_comments(text: &str) -> String {
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    text.lines().map(code).collect::<Vec<_>>().join("\n")
}

/// Returns the top-level modules that code names by `crate::`, by `super` chains up to the root, and in `main` by the crate's name.
fn imports(code: &str, name: &str, depth: usize) -> Vec<String> {
    let (named, to_root) = (format!("{name}::"), "super::".repeat(depth));
    let mut found = Vec::new();
    for start in ["crate::", named.as_str(), to_root.as_str()] {
        if start.is_empty() {
            continue;
        }
        for (at, _) in code.match_indices(start) {
            let inside_a_word = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
            // A longer chain of `super` is only matched from its own start.
            let rest = &code[at + start.len()..];
            if inside_a_word || rest.starts_with("super::") || code[..at].ends_with("super::") {
                continue;
            }
            found.extend(first_names(rest));
        }
    }
    found
}

/// Returns the first name of a path, or of each path in a `{...}` group.
fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| {
        let text = text.trim_start();
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        text[..end].to_owned()
    };
    let Some(group) = rest.strip_prefix('{') else {
        return vec![name(rest)];
    };
    let mut names = Vec::new();
    let mut depth = 0;
    let mut begins = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(name(&group[begins..at]));
                begins = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Returns the violations in one file's imports.
fn disorder(program: &Program, source: &Source) -> Vec<String> {
    let Some(module) = source.module(program.folder).filter(|module| *module != "lib" && !source.is_test()) else {
        return Vec::new();
    };
    let rank = |name: &str| program.order.iter().position(|known| *known == name);
    let Some(own) = rank(module) else {
        return vec![format!("{}: {module} is not in the order of modules", source.path)];
    };
    let code = without_comments(&without_tests(&source.text));
    let used = imports(&code, program.name, source.depth(program.folder));
    let wrong = used.into_iter().filter_map(|name| match rank(&name) {
        Some(used) if used >= own => None,
        Some(_) => Some(format!("{}: {module} uses {name}, which is above it", source.path)),
        // `main` uses items of the library's root, such as `stowage::VERSION`.
        None if module == "main" => None,
        None => Some(format!("{}: {name} is not in the order of modules", source.path)),
    });
    wrong.collect()
}

#[test]
fn floors_stand_on_those_below_them() {
    for (floor, below) in FLOORS {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates").join(floor).join("Cargo.toml");
        let manifest: toml::Table = fs::read_to_string(manifest).expect("a manifest").parse().expect("TOML");
        let used = manifest["dependencies"].as_table().expect("a table").keys();
        let mut used: Vec<_> = used.filter_map(|name| name.strip_prefix("stowage-")).collect();
        used.sort_unstable();
        assert_eq!(used, below, "{floor}");
    }
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("crates")).expect("a folder");
    let mut names: Vec<_> = folders.map(|folder| folder.expect("an entry").file_name()).collect();
    // Crates for the tests may use everything.
    names.retain(|name| name != "testing");
    names.sort();
    let mut known = FLOORS.map(|(floor, _)| floor);
    known.sort_unstable();
    assert_eq!(names, known, "every floor has its place");
}

#[test]
fn modules_use_only_what_is_below_them() {
    for program in [GATEWAY, CALL_STORE] {
        let files = sources(&[program.folder]);
        let wrong: Vec<_> = files.iter().flat_map(|source| disorder(&program, source)).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn upward_imports_are_found_in_every_form() {
    let cases = [
        (0, "src/plan/mod.rs", "use crate::database::Class;\nuse crate::{config, metrics::Metrics};"),
        (1, "src/plan/mod.rs", "use crate::error::Error;"),
        (2, "src/plan/mod.rs", "use crate::{\n database::{Class, router},\n error::Error,\n upstream,\n};"),
        (1, "src/plan/mod.rs", "use super::error::Error;"),
        (0, "src/plan/name.rs", "use super::error::Error;"),
        (1, "src/plan/name.rs", "fn f() { super::super::error::f() }"),
        (1, "src/plan.rs", "pub(crate) fn f(_: crate::dispatch::Server) {}"),
        (0, "src/plan.rs", "/// [`crate::dispatch::Server`] calls this.\nfn f() {} // crate::app"),
        (0, "src/plan.rs", "#[cfg(test)]\nmod tests {\n    use crate::dispatch;\n}\n"),
        (1, "src/plan.rs", "#[cfg(test)]\nmod tests;\nuse crate::dispatch;\n"),
        (0, "src/plan/tests.rs", "use crate::dispatch;"),
        (1, "src/strange.rs", ""),
        (1, "src/plan.rs", "use crate::strange;"),
        (0, "src/main.rs", "use stowage::cli;"),
    ];
    for (wrong, path, text) in cases {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        assert_eq!(disorder(&GATEWAY, &source).len(), wrong, "{path}: {text}");
    }
    let cases = [
        (1, "crates/callstore/src/fold/mod.rs", "use super::state::State;"),
        (1, "crates/callstore/src/fold/item.rs", "use super::super::state::State;\nuse super::state::Kind;"),
        (1, "crates/callstore/src/fold/item.rs", "use callstore::{clock, fold};"),
        (0, "crates/callstore/src/main.rs", "use callstore::cli;"),
    ];
    for (wrong, path, text) in cases {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        assert_eq!(disorder(&CALL_STORE, &source).len(), wrong, "{path}: {text}");
    }
}
