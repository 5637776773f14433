//! Fits a name to its driver's servers: short enough, with room for the suffix added when a name is taken, and without anything that those servers
//! interpret differently.
//!
//! CouchDB allows names of any length and any characters, and percent-encoding triples them. A part that is too long becomes a readable head, a hash
//! and the extension: `%D0%B7%D0%B2...-1f6c2a9e0b7d4c53.mp3`. The pointer records an object's location, so names of existing objects never have to be
//! derived again. Parts that are the plan author's own text stay as they are.

use std::ops::Range;

use sha2::{Digest, Sha256};
use stowage_storage::{Fit, Spelling};

use super::suffix::is_extension;
use super::{Name, NameSource};

#[cfg(test)]
mod tests;

impl Name {
    /// Returns the name in a form that the driver's servers accept.
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

    /// Returns the name with each part from the document shortened to `room` bytes.
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

/// Returns a part in a form that its server accepts. `own` is set for the part that distinguishes the object from others.
fn changed(part: &str, spelling: Spelling, room: usize, own: Option<&NameSource<'_>>) -> String {
    let part = match spelling {
        Spelling::Plain => part.to_owned(),
        Spelling::Url => {
            // Servers refuse a NUL in a URL, even if it is not part of a file name.
            let part = part.replace("%00", "%2500");
            // A URL that decodes to a slash at the end may be that of a folder, which is never removed.
            match part.strip_suffix("%2F").filter(|_| own.is_some()) {
                Some(stem) => format!("{stem}%252F"),
                None => part,
            }
        }
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

/// Hashes a part, to distinguish it from others with the same head. The hash of the object's own part also covers the database, document and
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

/// Returns the longest head of whole characters, encoded or not, that fits.
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

/// Returns the size of a text's first character, encoded or not: its bytes, and the bytes it counts for.
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

/// Returns the byte encoded by the escape at the start of a text.
fn escaped(text: &str) -> Option<u8> {
    let digits =
        text.strip_prefix('%')?.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    u8::from_str_radix(digits?, 16).ok()
}

/// Returns the number of bytes that a part counts for.
fn length(part: &str, url: bool) -> usize {
    if url { percent_encoding::percent_decode_str(part).count() } else { part.len() }
}

/// Escapes a part that Windows, OneDrive or Dropbox would interpret differently: a trailing dot is dropped, device names are not files, and some
/// names are reserved by their programs ("Naming Files, Paths, and Namespaces", Microsoft; "Restrictions and limitations in OneDrive and SharePoint";
/// "File names", Dropbox).
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

/// The shares of a part's maximum length to try, in percent, until the whole name fits.
const SHARES: [usize; 5] = [100, 75, 50, 30, 20];
/// The length of the suffix for a taken name: a dot and eight digits.
const SUFFIX_BYTES: usize = 9;
const HASH_BYTES: usize = 8;
const ESCAPE_BYTES: usize = 3;
/// A longer suffix is not a file extension.
const LONGEST_EXTENSION: usize = 16;
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
const OTHERS: [&str; 7] =
    [".lock", "desktop.ini", "thumbs.db", ".ds_store", ".dropbox", ".dropbox.attr", ".dropbox.cache"];
