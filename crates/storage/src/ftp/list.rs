//! Lists the files below a folder: with `MLSD` (RFC 3659 section 7) if the server supports it, else with `LIST`, whose format is not standardized.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use futures_util::stream::{self, Stream, TryStreamExt};
use suppaftp::list::{File, ListParser};

use super::Host;
use super::address::{folder, wire};
use super::draft::is_draft;
use super::fault::{Fault, ResultExt, UNKNOWN};
use super::session::Session;
use crate::engine::tries::Tries;
use crate::{Error, Kind, Listed, Result};

/// The listing command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Mlsd,
    List,
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
            let name = entry.name().rsplit('/').next().unwrap_or_default();
            if matches!(name, "" | "." | "..") {
                continue;
            }
            let below = format!("{path}/{name}");
            if entry.is_directory() {
                left.push(below);
            } else if entry.is_file() {
                files.push(Ok(listed(host, &entry, below, by)));
            }
        }
        Ok(Some((stream::iter(files), (left, by))))
    });
    folders.try_flatten()
}

fn listed(host: &Host, entry: &File, path: String, by: By) -> Listed {
    // `LIST` reports the server's local time, in an unknown time zone.
    let doubt = if by == By::List { ZONES } else { Duration::ZERO };
    let modified = Some(entry.modified()).filter(|time| *time > SystemTime::UNIX_EPOCH);
    Listed {
        location: host.address.location(&path),
        length: (!is_draft(&path)).then_some(entry.size() as u64),
        name: path,
        // Without a known age, a file counts as new, and is left alone.
        modified: modified.map_or_else(SystemTime::now, |time| time + doubt),
    }
}

async fn entries(host: &Host, path: &str, by: By) -> Result<(Vec<File>, By)> {
    let mut tries = Tries::start(0);
    loop {
        match entries_once(host, path, by).await {
            Err(error) if tries.again(&error).await => {}
            outcome => return outcome,
        }
    }
}

async fn entries_once(host: &Host, path: &str, by: By) -> Result<(Vec<File>, By)> {
    let mut session = host.pool.take(path).await?;
    let mut told = session.listing(path, by).await;
    let mut is_by = by;
    if by == By::Mlsd && told.as_ref().is_err_and(|fault| fault.is(UNKNOWN)) {
        is_by = By::List;
        told = session.listing(path, is_by).await;
    }
    session.leave();
    let text = match told {
        // A folder that does not exist yet, or was removed meanwhile, is empty.
        Err(fault) if fault.says_gone(path) => Vec::new(),
        told => told.context("list a folder")?,
    };
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let entries: Result<Vec<_>> = match is_by {
        By::Mlsd => lines.filter_map(fact).collect(),
        By::List => lines.filter(|line| !line.starts_with("total ")).map(shown).collect(),
    };
    Ok((entries?, is_by))
}

/// Parses an entry of `MLSD`; `None` if it is neither a file nor a folder.
fn fact(line: &str) -> Option<Result<File>> {
    let kind =
        line.split(';').find_map(|fact| fact.split_once('=').filter(|(key, _)| key.eq_ignore_ascii_case("type")));
    let kind = kind.map(|(_, kind)| kind.to_ascii_lowercase());
    matches!(kind.as_deref(), Some("file" | "dir")).then(|| ListParser::parse_mlsd(line).map_err(|_| unreadable()))
}

fn shown(line: &str) -> Result<File> {
    ListParser::parse_posix(line).or_else(|_| ListParser::parse_dos(line)).map_err(|_| unreadable())
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
        let command = match path {
            "" => format!("{command} /"),
            "/~" => command.to_owned(),
            // Servers parse a leading hyphen as options of `ls`.
            path if wire(path).starts_with('-') => format!("{command} ./{}", wire(path)),
            path => format!("{command} {}", wire(path)),
        };
        let mut transfer = self.transfer(&command, 0).await?;
        let (mut text, mut piece) = (Vec::new(), BytesMut::new());
        while transfer.read(&mut piece).await? > 0 {
            text.extend_from_slice(&piece);
            piece.clear();
            if text.len() > LONGEST {
                self.give_up();
                return Err(Fault::Nonsense);
            }
        }
        transfer.finish(self).await.map(|_| text)
    }
}

/// The maximum size of a folder's listing in bytes: about 100,000 entries.
const LONGEST: usize = 16 << 20;
/// The maximum difference between two time zones.
const ZONES: Duration = Duration::from_secs(26 * 3600);

#[cfg(test)]
mod tests {
    use super::{fact, shown};

    #[test]
    fn entries_are_told_apart() {
        let told =
            |line: &str| fact(line).map(|entry| entry.unwrap()).map(|entry| (entry.name().to_owned(), entry.is_file()));
        let some = |name: &str, is_file| Some((name.to_owned(), is_file));
        assert_eq!(told("Type=file;Size=12;Modify=20260101000000; a b; c.mp3"), some("a b; c.mp3", true));
        assert_eq!(told("type=dir;modify=20260101000000; x"), some("x", false));
        for other in ["type=cdir; .", "type=pdir; ..", "type=OS.unix=slink; l", "size=3; x"] {
            assert_eq!(told(other), None, "{other}");
        }
        let of = |line: &str| shown(line).map(|entry| (entry.name().to_owned(), entry.is_file(), entry.size())).ok();
        let file = "-rw-r--r--    1 1000     1000          12 Nov 30 2025 a b.mp3";
        assert_eq!(of(file), Some(("a b.mp3".to_owned(), true, 12)));
        assert_eq!(of("drwxr-xr-x    2 1000     1000        4096 Nov 30 10:00 x").map(|entry| entry.1), Some(false));
        assert_eq!(of("no list at all"), None);
    }
}
