//! Documentation names existing files and modules.

use std::fs;
use std::path::Path;

use super::imports::{CALL_STORE, FLOORS, GATEWAY, Program};

/// Returns every page in the project's root and below `docs`, with its text.
fn pages() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/backends"] {
        let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).expect("a folder");
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(&path).expect("a page");
                found.push((path.display().to_string(), text));
            }
        }
    }
    found
}

/// Returns the quoted texts that are paths in the project.
fn paths(text: &str) -> Vec<&str> {
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let is_path = |word: &&str| {
        let ours = ["src/", "crates/", "tests/", "benches/", "config/", "certs/", "docs/", "fuzz/", "examples/"];
        ours.iter().any(|folder| word.starts_with(folder)) && !word.contains(['<', '*', ' ', '{'])
    };
    quoted.filter(is_path).collect()
}

#[test]
fn paths_in_pages_exist() {
    let pages = pages();
    let missing: Vec<_> = pages
        .iter()
        .flat_map(|(page, text)| paths(text).into_iter().map(move |path| (page, path)))
        .filter(|(_, path)| !Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists())
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(pages.iter().map(|(_, text)| paths(text).len()).sum::<usize>() > 30, "paths are found");
}

/// Returns the quoted names in the first cells of tables.
fn first_cells(text: &str) -> Vec<&str> {
    let cells = text.lines().filter(|line| line.starts_with('|')).filter_map(|line| line.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

/// Returns a program's modules in their order, without `main`, which only calls the library.
fn modules(program: &Program) -> Vec<&'static str> {
    program.order.iter().copied().filter(|module| *module != "main").collect()
}

#[test]
fn the_architecture_page_has_every_floor_and_the_modules_in_their_order() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).expect("a page");
    let named = first_cells(&page);
    let missing: Vec<_> =
        FLOORS.iter().filter(|(floor, _)| !named.contains(&format!("crates/{floor}").as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for (heading, program) in [("The gateway's modules", GATEWAY), ("The call store", CALL_STORE)] {
        let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect("a section");
        let section = section.split("\n## ").next().expect("the section's text");
        assert_eq!(first_cells(section), modules(&program), "{heading}");
    }
}

#[test]
fn the_call_store_s_first_page_has_its_modules_in_their_order() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(CALL_STORE.folder).join("lib.rs");
    let source = fs::read_to_string(path).expect("a file");
    let page: String =
        source.lines().filter_map(|line| line.strip_prefix("//! ")).map(|line| format!("{line}\n")).collect();
    assert_eq!(first_cells(&page), modules(&CALL_STORE));
}
