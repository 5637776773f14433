//! Revision parsing as in CouchDB.

/// Returns a revision in CouchDB's canonical form: CouchDB parses the generation as a number and 32 hex digits as bytes, so that `02-AB...` is
/// `2-ab...`. `None` for what it rejects with «Invalid rev format» (`couch_doc:parse_rev`).
pub fn canonical(text: &str) -> Option<String> {
    let (generation, id) = text.split_once('-')?;
    let digits = generation.strip_prefix('+').unwrap_or(generation);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let generation = match digits.trim_start_matches('0') {
        "" => "0",
        generation => generation,
    };
    if generation == "0" || id.len() != 32 {
        return Some(format!("{generation}-{id}"));
    }
    id.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| format!("{generation}-{}", id.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn revisions_are_read_as_couchdb_reads_them() {
        let (small, large) = ("0123456789abcdef0123456789abcdef", "0123456789ABCDEF0123456789ABCDEF");
        for (text, expected) in [
            (format!("2-{small}"), format!("2-{small}")),
            (format!("2-{large}"), format!("2-{small}")),
            (format!("+002-{large}"), format!("2-{small}")),
            (format!("0-{large}"), format!("0-{large}")),
            ("2-".to_owned(), "2-".to_owned()),
            ("2-Ab-c".to_owned(), "2-Ab-c".to_owned()),
            ("99999999999999999999-a".to_owned(), "99999999999999999999-a".to_owned()),
        ] {
            assert_eq!(canonical(&text), Some(expected), "{text}");
        }
        for text in ["", "2", "-a", "x-a", "-2-a", " 2-a", "2.0-a", &format!("2-{}", "g".repeat(32))] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }
}
