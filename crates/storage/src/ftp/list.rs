//! Lists the files below a folder: with `MLSD` (RFC 3659 section 7) if the server supports it, else with `LIST`, whose format is not standardized.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use futures_util::stream::{self, Stream, TryStreamExt};
use suppaftp::list::{File, ListParser};

use super::address::{folder, listing};
use super::draft::is_draft;
use super::fault::{Fault, ResultExt, UNKNOWN};
use super::session::Session;
use super::stat::{Found, is_partial};
use super::{Host, retried};
use crate::{Error, Kind, Listed, Result};

/// The listing command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Mlsd,
    List,
}

/// A file or folder in a listing.
struct Entry {
    name: String,
    is_folder: bool,
    length: u64,
    /// `None` if the server does not say.
    modified: Option<SystemTime>,
}

/// Lists all files below the storage's folder, including unfinished uploads.
pub(super) fn all(host: &Arc<Host>) -> impl Stream<Item = Result<Listed>> + Send {
    let first = folder(&host.address.below("")).to_owned();
    let folders = stream::try_unfold((vec![first], By::Mlsd), move |(mut left, mut by)| async move {
        let Some(path) = left.pop() else { return Ok::<_, Error>(None) };
        let (entries, is_by) = entries(host, &path, by).await?;
        by = is_by;
        let mut files = Vec::new();
        for entry in entries {
            let below = format!("{path}/{}", entry.name);
            if entry.is_folder {
                left.push(below);
            } else {
                files.push(Ok(listed(host, &entry, below, by)));
            }
        }
        Ok(Some((stream::iter(files), (left, by))))
    });
    folders.try_flatten()
}

fn listed(host: &Host, entry: &Entry, path: String, by: By) -> Listed {
    // `LIST` reports the server's local time, in an unknown time zone.
    let doubt = if by == By::List { ZONES } else { Duration::ZERO };
    Listed {
        location: host.address.location(&path),
        length: (!is_draft(&path)).then_some(entry.length),
        name: path,
        // Without a known age, a file counts as new, and is left alone.
        modified: entry.modified.map_or_else(SystemTime::now, |time| time + doubt),
    }
}

async fn entries(host: &Host, path: &str, by: By) -> Result<(Vec<Entry>, By)> {
    retried(|| entries_once(host, path, by)).await
}

async fn entries_once(host: &Host, path: &str, by: By) -> Result<(Vec<Entry>, By)> {
    let mut session = host.pool.take(path).await?;
    let mut told = session.listing(path, by).await;
    let mut is_by = by;
    if by == By::Mlsd && told.as_ref().is_err_and(|fault| fault.is(UNKNOWN)) {
        is_by = By::List;
        told = session.listing(path, is_by).await;
    }
    if told.as_ref().is_err_and(Fault::leaves_it_open) && is_gone(&mut session, path, &told).await? {
        told = Ok(Vec::new());
    }
    session.leave();
    let text = told.context("list a folder")?;
    // A name that is not UTF-8 is none that the gateway has composed.
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let lines = lines.map(|line| line.trim_end_matches('\r')).filter(|line| !line.trim().is_empty());
    let entries: Result<Vec<_>> = match is_by {
        By::Mlsd => lines.filter_map(fact).collect(),
        By::List => lines.filter(|line| !line.starts_with("total ")).filter_map(shown).collect(),
    };
    Ok((entries?, is_by))
}

/// Returns whether a folder that was not listed is not there, as it is before the first upload. Pure-FTPd has the same words for one
/// that must not be read, and vsftpd for one whose parent is missing.
async fn is_gone(session: &mut Session, path: &str, told: &std::result::Result<Vec<u8>, Fault>) -> Result<bool> {
    if matches!(path, "" | "/~") {
        return Ok(false);
    }
    let says_gone = told.as_ref().is_err_and(|fault| fault.says_gone(path));
    Ok(says_gone || session.stat(path, None).await.context("list a folder")? == Found::Nothing)
}

/// Parses an entry of `MLSD`; `None` if it is neither a file nor a folder.
fn fact(line: &str) -> Option<Result<Entry>> {
    let kind =
        line.split(';').find_map(|fact| fact.split_once('=').filter(|(key, _)| key.eq_ignore_ascii_case("type")));
    let kind = kind.map(|(_, kind)| kind.to_ascii_lowercase());
    if !matches!(kind.as_deref(), Some("file" | "dir")) {
        return None;
    }
    let file = ListParser::parse_mlsd(line).map_err(|_| unreadable());
    file.map(|file| entry(&file, file.name())).transpose()
}

/// An entry of `LIST`; `None` for one that is neither a file nor a folder in it.
fn shown(line: &str) -> Option<Result<Entry>> {
    let (mode, rest) = line.split_at_checked(10).unwrap_or((line, ""));
    let is_posix = mode.bytes().skip(1).all(|byte| b"-rwxsStT".contains(&byte));
    if is_posix && mode.starts_with(['b', 'c', 'p', 's']) {
        return None;
    }
    let plain;
    let line = match rest.strip_prefix(['+', '.', '@']) {
        // `ls` marks files with access lists.
        Some(rest) if is_posix => {
            plain = format!("{mode} {rest}");
            &plain
        }
        _ => line,
    };
    let file = ListParser::parse_posix(line).or_else(|_| ListParser::parse_dos(line)).map_err(|_| unreadable());
    file.map(|file| {
        // The parser takes spaces in front of a name for those that separate columns; of those there is one.
        let before = if is_posix { line.strip_suffix(file.name()).unwrap_or_default() } else { "" };
        let spaces = (before.len() - before.trim_end().len()).saturating_sub(1);
        entry(&file, &format!("{}{}", " ".repeat(spaces), file.name()))
    })
    .transpose()
}

fn entry(file: &File, name: &str) -> Option<Entry> {
    let name = name.rsplit('/').next().unwrap_or_default();
    if matches!(name, "" | "." | "..") || !(file.is_directory() || file.is_file()) {
        return None;
    }
    Some(Entry {
        name: name.to_owned(),
        is_folder: file.is_directory(),
        length: file.size() as u64,
        modified: Some(file.modified()).filter(|time| *time > SystemTime::UNIX_EPOCH),
    })
}

fn unreadable() -> Error {
    Error::new(Kind::Refused, "the FTP server lists a folder in a form that is not known")
}

impl Session {
    /// Returns a server's listing of a folder.
    async fn listing(&mut self, path: &str, by: By) -> std::result::Result<Vec<u8>, Fault> {
        let command = match by {
            By::Mlsd => "MLSD",
            By::List => "LIST",
        };
        let mut transfer = self.transfer(&listing(command, path), 0).await?;
        let (mut text, mut piece) = (Vec::new(), BytesMut::new());
        while transfer.read(&mut piece).await? > 0 {
            text.extend_from_slice(&piece);
            piece.clear();
            if text.len() > LONGEST {
                self.give_up();
                return Err(Fault::Nonsense);
            }
        }
        let words = transfer.finish(self).await?;
        if is_partial(&words) { Err(Fault::Partial) } else { Ok(text) }
    }
}

/// The maximum size of a folder's listing in bytes: about 100,000 entries.
const LONGEST: usize = 16 << 20;
/// The maximum difference between two time zones.
const ZONES: Duration = Duration::from_secs(26 * 3600);

#[cfg(test)]
mod tests {
    use super::{Entry, fact, shown};

    fn name(entry: crate::Result<Entry>) -> (String, bool) {
        entry.map(|entry| (entry.name, !entry.is_folder)).unwrap()
    }

    #[test]
    fn entries_are_told_apart() {
        let told = |line: &str| fact(line).map(name);
        let some = |name: &str, is_file| Some((name.to_owned(), is_file));
        assert_eq!(told("Type=file;Size=12;Modify=20260101000000; a b; c.mp3"), some("a b; c.mp3", true));
        assert_eq!(told("type=dir;modify=20260101000000; x"), some("x", false));
        assert_eq!(told("type=file;size=5;modify=20261201004707;UNIX.mode=0644;unique=fe00g1;  a"), some(" a", true));
        for other in
            ["type=cdir; .", "type=pdir; ..", "type=OS.unix=slink:;size=7; l", "size=3; x", "type=unknown;size=0; p"]
        {
            assert_eq!(told(other), None, "{other}");
        }
        let of = |line: &str| shown(line).map(name);
        assert_eq!(of("-rw-r--r--    1 1000     1000          12 Nov 30 2025 a b.mp3"), some("a b.mp3", true));
        assert_eq!(of("-rw-r--r--    1 1000     1000          12 Nov 30  2025  a.mp3 "), some(" a.mp3 ", true));
        assert_eq!(of("drwxr-xr-x    2 1000     1000        4096 Nov 30 10:00 x"), some("x", false));
        assert_eq!(of("-rw-rw-r--+   1 1000     1000          12 Nov 30 10:00 a.mp3"), some("a.mp3", true));
        assert_eq!(of("10-19-20  03:19PM       <DIR>          pub"), some("pub", false));
        assert!(shown("no list at all").is_some_and(|entry| entry.is_err()));
    }

    #[test]
    fn what_is_neither_a_file_nor_a_folder_is_passed_over() {
        for line in [
            "prw-r--r--    1 1001     1001            0 Dec 01 00:47 fifo",
            "srwxrwxrwx    1 1001     1001            0 Dec 01 00:47 socket",
            "crw-rw-rw-    1 0        0          1,   3 Dec 01 00:47 null",
            "lrwxrwxrwx    1 1001     1001            3 Dec 01 00:47 link -> a b",
            "drwxr-xr-x    2 1001     1001         4096 Dec 01 00:47 .",
        ] {
            assert!(shown(line).is_none(), "{line}");
        }
    }
}
