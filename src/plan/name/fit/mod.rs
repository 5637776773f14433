//! Making a name fit for the servers of its driver: short enough, with room for the suffix of a name that is taken, and
//! without what those servers read as something else.
//!
//! CouchDB takes names of any length and of all characters, and percent-encoding triples them. A part that is too long
//! becomes a readable head, a hash and the extension: `%D0%B7%D0%B2...-1f6c2a9e0b7d4c53.mp3`. The pointer says where an
//! object is, so names of objects that exist do not have to be found again. Parts that are the plan author's own text are
//! left alone.

use std::ops::Range;

use sha2::{Digest, Sha256};
use stowage_storage::{Fit, Spelling};

use super::suffix::is_extension;
use super::{Name, NameSource};

#[cfg(test)]
mod tests;

impl Name {
    /// The name as the driver's servers take it.
    pub(super) fn fitted(self, fit: Fit, source: &NameSource<'_>) -> Self {
        let shares = SHARES.into_iter().map(|share| (fit.part * share / 100).saturating_sub(SUFFIX_BYTES));
        let mut fitted = Self::default();
        for room in shares {
            fitted = self.with_parts(fit.spelling, room, source);
            if fitted.text.len() + SUFFIX_BYTES <= fit.whole {
                break;
            }
        }
        fitted
    }

    /// The name with the parts that came from the document made fit, each for so many bytes.
    fn with_parts(&self, spelling: Spelling, room: usize, source: &NameSource<'_>) -> Self {
        let mut fitted = Self::default();
        let mut start = 0;
        for piece in self.text.split_inclusive(|character| ends_a_part(spelling, character)) {
            let part = piece.trim_end_matches(|character| ends_a_part(spelling, character));
            let (begin, range) = (fitted.text.len(), start..start + part.len());
            if self.values.iter().any(|value| overlap(value, &range)) {
                let own = self.value_end().is_some_and(|end| range.start < end && end <= range.end);
                fitted.text.push_str(&changed(part, spelling, room, own.then_some(source)));
            } else {
                fitted.text.push_str(part);
            }
            let changed = fitted.text.get(begin..) != Some(part);
            for value in self.values.iter().filter(|value| range.start <= value.start && value.end <= range.end) {
                let (from, to) = (begin + value.start - start, begin + value.end - start);
                fitted.values.push(if changed { begin..fitted.text.len() } else { from..to });
            }
            fitted.text.push_str(piece.get(part.len()..).unwrap_or_default());
            start += piece.len();
        }
        fitted
    }
}

/// A part as its server takes it. `own`: it is the one that tells the object from others, and whose.
fn changed(part: &str, spelling: Spelling, room: usize, own: Option<&NameSource<'_>>) -> String {
    let part = match spelling {
        Spelling::Plain => part.to_owned(),
        // Servers refuse a NUL in a URL, be it for a file's name or not.
        Spelling::Url => part.replace("%00", "%2500"),
        Spelling::Desktop => spelled_out(part),
    };
    let url = spelling == Spelling::Url;
    if length(&part, url) <= room {
        return part;
    }
    let (stem, extension) = match part.rsplit_once('.') {
        Some((stem, extension)) if is_extension(extension) && extension.len() <= LONGEST_EXTENSION => (stem, extension),
        _ => (part.as_str(), ""),
    };
    let dot = if extension.is_empty() { "" } else { "." };
    let tail = format!("-{}{dot}{extension}", hash(&part, own));
    format!("{}{tail}", head(stem, room.saturating_sub(tail.len()), url))
}

/// Tells a part from all that begin with the same head; the one that is the object's own also by database, document and
/// attachment, which need not all be in its name.
fn hash(part: &str, own: Option<&NameSource<'_>>) -> String {
    let mut hasher = Sha256::new();
    let owner = own.map_or([""; 3], |own| [own.database, own.document_id, own.attachment]);
    for text in owner.into_iter().chain([part]) {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text);
    }
    hex::encode(hasher.finalize().get(..HASH_BYTES).unwrap_or_default())
}

/// The characters that a text begins with, encoded ones among them, as many as have room.
fn head(text: &str, room: usize, url: bool) -> &str {
    let (mut end, mut used) = (0, 0);
    while let Some(rest) = text.get(end..).filter(|rest| !rest.is_empty()) {
        let (bytes, cost) = first(rest, url);
        used += cost;
        if used > room {
            break;
        }
        end += bytes;
    }
    text.get(..end).unwrap_or_default()
}

/// The first character of a text, encoded or not: how many bytes it has, and for how many it counts.
fn first(text: &str, url: bool) -> (usize, usize) {
    let Some(lead) = escaped(text) else {
        let bytes = text.chars().next().map_or(1, char::len_utf8);
        return (bytes, bytes);
    };
    let most = match lead {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xFF => 4,
        _ => 1,
    };
    let more = (1..most).take_while(|at| {
        let next = text.get(at * ESCAPE_BYTES..).and_then(escaped);
        next.is_some_and(|byte| (0x80..0xC0).contains(&byte))
    });
    let escapes = 1 + more.count();
    (escapes * ESCAPE_BYTES, if url { escapes } else { escapes * ESCAPE_BYTES })
}

/// The byte of the escape that a text begins with.
fn escaped(text: &str) -> Option<u8> {
    let digits =
        text.strip_prefix('%')?.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    u8::from_str_radix(digits?, 16).ok()
}

/// For how many bytes a part counts.
fn length(part: &str, url: bool) -> usize {
    if url { percent_encoding::percent_decode_str(part).count() } else { part.len() }
}

/// A part with an escape where Windows, OneDrive or Dropbox would take it for something else: a dot at its end is dropped,
/// devices are no files, and some names belong to their programs ("Naming Files, Paths, and Namespaces", Microsoft;
/// "Restrictions and limitations in OneDrive and SharePoint"; "File names", Dropbox).
fn spelled_out(part: &str) -> String {
    let lower = part.to_ascii_lowercase();
    let stem = lower.split('.').next().unwrap_or_default();
    let device = ["com", "lpt"].iter().any(|kind| {
        stem.strip_prefix(kind).is_some_and(|rest| rest.len() == 1 && rest.bytes().all(|digit| digit.is_ascii_digit()))
    });
    let mut part = part.to_owned();
    if let Some(stem) = part.strip_suffix('.') {
        part = format!("{stem}%2E");
    }
    while let Some(at) = part.to_ascii_lowercase().find("_vti_") {
        part.replace_range(at..=at, "%5F");
    }
    if let Some(first) = part.bytes().next().filter(|_| device || DEVICES.contains(&stem) || OTHERS.contains(&&*lower))
    {
        part.replace_range(..1, &format!("%{first:02X}"));
    }
    part
}

fn ends_a_part(spelling: Spelling, character: char) -> bool {
    character == '/' || (spelling == Spelling::Url && matches!(character, '?' | '=' | '&' | '#'))
}

fn overlap(value: &Range<usize>, part: &Range<usize>) -> bool {
    value.start.max(part.start) < value.end.min(part.end)
}

/// How much of what a part may have it gets, in percent: less where the whole would be too long.
const SHARES: [usize; 5] = [100, 75, 50, 30, 20];
/// Of the suffix of a name that is taken: a dot and eight digits.
const SUFFIX_BYTES: usize = 9;
const HASH_BYTES: usize = 8;
const ESCAPE_BYTES: usize = 3;
/// Longer ones tell no kind of file.
const LONGEST_EXTENSION: usize = 16;
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
const OTHERS: [&str; 7] =
    [".lock", "desktop.ini", "thumbs.db", ".ds_store", ".dropbox", ".dropbox.attr", ".dropbox.cache"];
