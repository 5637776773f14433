//! Files of a crate use each other in one direction, so that each can be read with only those below it.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{FLOORS, without_comments};
use super::{Source, sources, without_tests};

/// The circles that still exist: a crate's folder and their files. Remove one when it is broken; do not add any.
const KNOWN: [(&str, &str); 5] = [
    ("crates/couch-embedded/src", "routes/document routes/revisions"),
    ("crates/couch/src", "answers caller"),
    (
        "crates/http/src",
        "bodies/body bodies/idle bodies/inspect outgoing/client outgoing/connect outgoing/fault \
         outgoing/identity outgoing/progress outgoing/stall outgoing/trust/mod",
    ),
    ("crates/storage/src", "ftp/session ftp/transfer"),
    ("crates/storage/src", "oauth/documents oauth/grant"),
];

/// The names of a path in code, or of a module from the crate's root.
type Names = Vec<String>;

/// A file of a crate, by its module.
struct File {
    path: String,
    /// Every path in the code.
    paths: Vec<Names>,
    /// The paths that imports and re-exports stand for, by the name that they introduce.
    imported: BTreeMap<String, Names>,
}

type Files = BTreeMap<Names, File>;

/// Returns a crate's files. The program's own (`main.rs`) is left out: nothing can use it.
fn files(folder: &str, sources: &[Source]) -> Files {
    let mut files = Files::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let below = source.path.strip_prefix(folder).and_then(|path| path.strip_prefix('/'));
        let Some(below) = below.and_then(|path| path.strip_suffix(".rs")).filter(|path| *path != "main") else {
            continue;
        };
        let mut module: Names = below.split('/').map(str::to_owned).collect();
        if below == "lib" || below.ends_with("/mod") {
            module.pop();
        }
        files.insert(module, File::new(source));
    }
    files
}

impl File {
    fn new(source: &Source) -> Self {
        let code = without_comments(&without_tests(&source.text));
        let tokens = tokens(&code);
        let mut file = Self { path: source.path.clone(), paths: Vec::new(), imported: BTreeMap::new() };
        let mut at = 0;
        while at < tokens.len() {
            let before = at.checked_sub(1).map(|before| tokens[before]);
            let begins = is_name(tokens[at]) && tokens.get(at + 1) == Some(&"::") && before != Some("::");
            if !begins {
                at += 1;
                continue;
            }
            let mut found = Vec::new();
            at = read(&tokens, at, &[], &mut found);
            if before == Some("use") {
                let own = |(path, name): &(Names, String)| (name.clone(), path.clone());
                file.imported.extend(found.iter().map(own));
            }
            file.paths.extend(found.into_iter().map(|(path, _)| path));
        }
        file
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Splits code into names, `::` and single characters.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = if is_name(rest) {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    tokens
}

/// Reads the path that goes on at a token, or each of a `{...}` group, with the name that it introduces. Returns the place of the next token.
fn read(tokens: &[&str], mut at: usize, before: &[String], found: &mut Vec<(Names, String)>) -> usize {
    let mut path = before.to_vec();
    while let Some(token) = tokens.get(at) {
        at += 1;
        if *token == "{" {
            while let Some(token) = tokens.get(at).filter(|token| **token != "}") {
                at = if *token == "," { at + 1 } else { read(tokens, at, &path, found) };
            }
            return at + 1;
        }
        // In a group, `self` is the path before it.
        if *token != "self" || path.is_empty() {
            path.push((*token).to_owned());
        }
        if tokens.get(at) != Some(&"::") {
            break;
        }
        at += 1;
    }
    let mut name = path.last().cloned().unwrap_or_default();
    // In `<a::B as c::D>`, the word is not an alias.
    if let Some(["as", alias, next]) = tokens.get(at..at + 3)
        && *next != "::"
    {
        name = (*alias).to_owned();
        at += 2;
    }
    found.push((path, name));
    at
}

/// Returns the module that has an item: the file that defines it, not one that re-exports it. Returns `None` for another crate's.
fn home(files: &Files, from: &[String], path: &[String], steps: usize) -> Option<Names> {
    let (mut module, mut rest) = (from.to_vec(), path);
    match path.first()?.as_str() {
        "crate" => {
            module.clear();
            rest = &rest[1..];
        }
        "self" => rest = &rest[1..],
        "super" => {
            while rest.first().is_some_and(|name| name == "super") {
                module.pop()?;
                rest = &rest[1..];
            }
        }
        _ => {}
    }
    let is_relative = rest.len() == path.len();
    while let Some(name) = rest.first() {
        let inner = [module.as_slice(), std::slice::from_ref(name)].concat();
        if !files.contains_key(&inner) {
            break;
        }
        (module, rest) = (inner, &rest[1..]);
    }
    let imported = rest.first().and_then(|name| files.get(&module)?.imported.get(name));
    match imported {
        Some(imported) if steps > 0 => home(files, &module, &[imported.as_slice(), &rest[1..]].concat(), steps - 1),
        _ if is_relative && module == from => None,
        _ => Some(module),
    }
}

/// Returns the files that each file reaches through those that it uses. A file may use its parents, which are its own module's first pages.
fn reached(files: &Files) -> BTreeMap<&Names, BTreeSet<Names>> {
    let uses = |(module, file): (&Names, &File)| -> BTreeSet<Names> {
        let used = file.paths.iter().filter_map(|path| home(files, module, path, MOST_STEPS));
        used.filter(|used| files.contains_key(used) && !module.starts_with(used)).collect()
    };
    let used: BTreeMap<&Names, BTreeSet<Names>> = files.iter().map(|entry| (entry.0, uses(entry))).collect();
    let reach = |module: &Names| {
        let (mut pending, mut reached) = (vec![module], BTreeSet::new());
        while let Some(next) = pending.pop() {
            for other in &used[next] {
                if reached.insert(other.clone()) {
                    pending.push(other);
                }
            }
        }
        reached
    };
    files.keys().map(|module| (module, reach(module))).collect()
}

/// Returns the files of each circle: its files all reach each other.
fn circles(files: &Files) -> BTreeSet<Vec<&str>> {
    let reached = reached(files);
    let circle = |module: &Names| -> Vec<&str> {
        let others = reached[module].iter().filter(|other| reached[*other].contains(module));
        others.map(|other| files[other].path.as_str()).collect()
    };
    files.keys().map(circle).filter(|circle| !circle.is_empty()).collect()
}

/// The number of re-exports that lead from a name to its item.
const MOST_STEPS: usize = 8;

#[test]
fn no_circle_between_files() {
    let mut folders = FLOORS.map(|(floor, _)| format!("crates/{floor}/src")).to_vec();
    folders.extend(["src".to_owned(), "crates/testing/src".to_owned()]);
    let crates = folders.iter().map(|folder| files(folder, &sources(&[folder.as_str()]))).collect::<Vec<_>>();
    assert!(crates.iter().all(|files| files.len() > 5), "files are found");
    let found: Vec<_> = crates.iter().flat_map(circles).collect();
    let is_in = |circle: &[&str], (folder, names): (&str, &str)| {
        let known: Vec<_> = names.split(' ').map(|name| format!("{folder}/{name}.rs")).collect();
        circle.iter().all(|path| known.iter().any(|known| known == path))
    };
    let new: Vec<_> = found.iter().filter(|circle| !KNOWN.iter().any(|known| is_in(circle, *known))).collect();
    assert!(new.is_empty(), "{new:#?}");
    let broken: Vec<_> = KNOWN.iter().filter(|known| !found.iter().any(|circle| is_in(circle, **known))).collect();
    assert!(broken.is_empty(), "these are no circles any more: {broken:#?}");
}

#[test]
fn circles_are_found_in_every_form() {
    let cases: [(usize, &[(&str, &str)]); 13] = [
        (2, &[("a.rs", "use crate::b::B;"), ("b.rs", "use super::a::A;")]),
        (2, &[("a.rs", "use crate::{\n c,\n b::{self, B},\n};"), ("b.rs", "fn f() { crate::a::f() }")]),
        (3, &[("a.rs", "use super::b;"), ("b.rs", "use super::c as d;"), ("c.rs", "use super::a::*;")]),
        (0, &[("a.rs", "use super::b;"), ("b.rs", "use super::c;"), ("c.rs", "")]),
        // The re-export of a root or a folder is the file behind it.
        (
            2,
            &[
                ("lib.rs", "pub use x::a;"),
                ("x/mod.rs", ""),
                ("x/a.rs", "use super::b;"),
                ("x/b.rs", "use crate::a::A;"),
            ],
        ),
        (2, &[("x/mod.rs", "pub use a::A as C;"), ("x/a.rs", "use super::b;"), ("x/b.rs", "use crate::x::C;")]),
        (0, &[("x/mod.rs", "pub use a::A;\nfn f() {}"), ("x/a.rs", ""), ("x/b.rs", "use super::A;")]),
        // Parents are the first pages of what is below them.
        (0, &[("x/mod.rs", "mod a;\nuse a::A;"), ("x/a.rs", "use super::f;\nuse crate::x::g;")]),
        (0, &[("a.rs", "/// [`crate::b`]\nfn f() {} // crate::b"), ("b.rs", "use super::a;")]),
        (0, &[("a.rs", "#[cfg(test)]\nmod tests {\n    use crate::b;\n}\n"), ("b.rs", "use super::a;")]),
        (0, &[("a.rs", "use other::b::B;\nuse b::C;"), ("b.rs", "use super::a;")]),
        (2, &[("a.rs", "fn f(_: <b::B as crate::b::C>::D) {}"), ("b.rs", "use crate::a;\nfn f() { a::f() }")]),
        (3, &[("a.rs", "use super::b;"), ("b/mod.rs", "mod c;\nuse c::C;"), ("b/c.rs", "use crate::a;")]),
    ];
    for (number, texts) in cases {
        let source = |(path, text): &(&str, &str)| Source { path: format!("src/{path}"), text: (*text).to_owned() };
        let sources: Vec<_> = texts.iter().map(source).collect();
        let files = files("src", &sources);
        assert_eq!(circles(&files).iter().map(Vec::len).sum::<usize>(), number, "{texts:?}");
    }
}
