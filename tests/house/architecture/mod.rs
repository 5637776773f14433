//! The shape of the source: one order of floors and modules, files with one subject, small folders, approved dependencies.

mod circles;
mod dependencies;
mod imports;
mod pages;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The maximum number of lines per file, excluding its unit tests: what one reads in one sitting.
const LINES: usize = 350;

/// The maximum number of files of one folder that need no explanation: what one finds at a glance.
const FILES: usize = 12;

/// Names that do not describe the contents.
const EMPTY_NAMES: [&str; 6] = ["common", "helper", "helpers", "misc", "util", "utils"];

/// A source file and its path from the project's root.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Returns the file's top-level module, if it is one of those in this folder.
    fn module(&self, folder: &str) -> Option<&str> {
        let below = self.path.strip_prefix(folder)?.strip_prefix('/')?;
        let first = below.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }

    /// Returns the number of `super` from the file's own module to the root of the crate in this folder.
    fn depth(&self, folder: &str) -> usize {
        let parts = self.path.strip_prefix(folder).unwrap_or(&self.path).matches('/').count();
        if self.path.ends_with("/mod.rs") { parts - 1 } else { parts }
    }

    /// Returns whether no code of the file is part of the programs.
    fn is_all_tests(&self) -> bool {
        self.path.starts_with("tests/") || self.path.starts_with("benches/")
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }
}

/// Returns every Rust file below these folders of the project.
fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pending: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut found = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a readable folder");
            pending.extend(entries.map(|entry| entry.expect("a readable entry").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a readable file");
            let below = path.strip_prefix(root).expect("a path below the root");
            let path = below.to_string_lossy().replace('\\', "/");
            found.push(Source { path, text });
        }
    }
    assert!(!found.is_empty(), "no source below {folders:?}");
    found
}

/// Removes top-level `#[cfg(test)]` items.
fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        // rustfmt ends a top-level item with `;` on its line, or with a brace in the first column.
        let _ = lines.find(|line| line.ends_with(';') && !line.starts_with(' ') || *line == "}");
    }
    kept
}

/// Returns the attributes that allow a lint without a reason.
fn unexplained(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["#[allow(", "#![allow(", "#[expect(", "#![expect("] {
        for (at, _) in text.match_indices(start) {
            let attribute = &text[at..];
            let attribute = &attribute[..attribute.find(")]").unwrap_or(attribute.len())];
            let in_code = text[..at].rsplit('\n').next().is_some_and(|before| before.trim().is_empty());
            if in_code && !attribute.contains("reason") {
                found.push(attribute.to_owned());
            }
        }
    }
    found
}

#[test]
fn files_are_short() {
    let mut long = Vec::new();
    for source in sources(&["src", "crates", "benches", "tests"]) {
        let counted = if !source.is_all_tests() { without_tests(&source.text) } else { source.text };
        let lines = counted.lines().count();
        if lines > LINES {
            long.push(format!("{}: {lines} lines", source.path));
        }
    }
    assert!(long.is_empty(), "more than {LINES} lines: {long:#?}");
}

/// Returns whether a first page says how the files beside it belong together: in a table, or in a sentence about each.
fn groups_files(text: &str) -> bool {
    let sentences = ["Each file ", "a file per ", "a file of their own"];
    let mut page = text.lines().take_while(|line| line.starts_with("//!"));
    page.any(|line| line.starts_with("//! |") || sentences.iter().any(|sentence| line.contains(sentence)))
}

#[test]
fn folders_are_small() {
    assert!(
        groups_files("//! A.\n//!\n//! | file | contents |\n") && groups_files("//! Each file is about a topic.\n")
    );
    assert!(!groups_files("//! Many files.\n\n/// Each file is a part.\nfn f() {}\n"));
    let mut folders: BTreeMap<String, (usize, bool)> = BTreeMap::new();
    for source in sources(&["src", "crates", "benches", "tests"]) {
        let (folder, name) = source.path.rsplit_once('/').expect("a folder");
        let (files, is_explained) = folders.entry(folder.to_owned()).or_default();
        *files += 1;
        *is_explained |= ["mod.rs", "lib.rs", "main.rs"].contains(&name) && groups_files(&source.text);
    }
    folders.retain(|_, (files, is_explained)| *files > FILES && !*is_explained);
    assert!(folders.is_empty(), "more than {FILES} files, and no word on the first page on their groups: {folders:#?}");
}

#[test]
fn names_say_what_is_inside() {
    let mut empty = Vec::new();
    for source in sources(&["src", "crates", "benches", "tests"]) {
        let parts = source.path.split('/').map(|part| part.strip_suffix(".rs").unwrap_or(part));
        let inline = source.text.lines().filter_map(|line| {
            let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            line.strip_prefix("mod ")?.split(|c: char| !c.is_alphanumeric() && c != '_').next()
        });
        for name in parts.chain(inline).filter(|name| EMPTY_NAMES.contains(name)) {
            empty.push(format!("{}: {name}", source.path));
        }
    }
    assert!(empty.is_empty(), "{empty:#?}");
}

#[test]
fn allowed_lints_have_a_reason() {
    assert_eq!(
        unexplained("#[allow(dead_code)]\n    #![allow(\n        a,\n    )]\n#[expect(b, reason = \"c\")]").len(),
        2
    );
    let mut bare = Vec::new();
    for source in sources(&["src", "crates", "benches", "tests"]) {
        bare.extend(unexplained(&source.text).into_iter().map(|found| format!("{}: {found}", source.path)));
    }
    assert!(bare.is_empty(), "{bare:#?}");
}
