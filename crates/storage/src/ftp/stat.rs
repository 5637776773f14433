//! Determines whether something is at a path.
//!
//! 550 means "file unavailable (e.g., file not found, no access)" (RFC 959 section 4.2.2), so it is not a "no". That nothing is there
//! is only known if the server's text says so, or if a listing of the folder lacks the name. Everything else is
//! inconclusive.

use bytes::BytesMut;

use super::address::{folder, listing};
use super::fault::Fault;
use super::session::Session;

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Certainly nothing.
    Nothing,
    /// Something, with its length in bytes if the server reports it.
    File(Option<u64>),
    /// The server does not say.
    Unknown,
}

/// What a listing says about one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listed {
    Named,
    /// Other names are listed, but not this one.
    Absent,
    /// No names are listed: the folder is empty or missing.
    Empty,
    /// The server says that there is no such folder.
    NoFolder,
    Refused,
}

impl Session {
    /// Returns what is at a path. `witness` is a file known to be in the same folder: a listing without it cannot be
    /// trusted.
    pub(super) async fn stat(&mut self, path: &str, witness: Option<&str>) -> Result<Found, Fault> {
        match self.ask_about(path).await? {
            (Found::Unknown, denied) => self.stat_in_folder(path, witness, denied).await,
            (found, _) => Ok(found),
        }
    }

    /// Returns the length of a file, without consulting listings.
    pub(super) async fn measure(&mut self, path: &str) -> Result<Found, Fault> {
        self.ask_about(path).await.map(|(found, _)| found)
    }

    /// Queries the file itself; also returns whether the server mentions access.
    async fn ask_about(&mut self, path: &str) -> Result<(Found, bool), Fault> {
        let mut denied = false;
        match self.size(path).await {
            Ok(size) => return Ok((Found::File(size), false)),
            Err(fault) if fault.says_gone(path) => return Ok((Found::Nothing, false)),
            Err(fault) if fault.leaves_it_open() => denied |= fault.says_denied(path),
            Err(fault) => return Err(fault),
        }
        if self.has_mlst {
            match self.entry(path).await {
                Ok(size) => return Ok((Found::File(size), false)),
                Err(fault) if fault.says_gone(path) => return Ok((Found::Nothing, false)),
                Err(fault) if fault.leaves_it_open() => denied |= fault.says_denied(path),
                Err(fault) => return Err(fault),
            }
        }
        Ok((Found::Unknown, denied))
    }

    /// Lists the folder and, if it may be missing, its parents. An empty folder says nothing about a path that must not be
    /// accessed.
    async fn stat_in_folder(&mut self, path: &str, witness: Option<&str>, denied: bool) -> Result<Found, Fault> {
        let mut entry = path;
        let mut was_empty = false;
        loop {
            let above = folder(entry);
            let listed = self.list(above, entry, witness.filter(|_| entry == path)).await?;
            match listed {
                Listed::Named if entry == path => return Ok(Found::File(None)),
                // The folder exists, and its listing was empty or refused.
                Listed::Named => return Ok(if was_empty && !denied { Found::Nothing } else { Found::Unknown }),
                Listed::NoFolder => return Ok(Found::Nothing),
                // Dot files may be hidden.
                Listed::Absent if name(entry).starts_with('.') => return Ok(Found::Unknown),
                Listed::Absent => return Ok(Found::Nothing),
                Listed::Empty | Listed::Refused if witness.is_some() || matches!(above, "" | "/~") => {
                    return Ok(Found::Unknown);
                }
                Listed::Empty | Listed::Refused => was_empty = listed == Listed::Empty,
            }
            entry = above;
        }
    }

    /// Returns what the listing of a folder says about an entry (`NLST`, RFC 959 section 4.1.3).
    async fn list(&mut self, folder: &str, entry: &str, witness: Option<&str>) -> Result<Listed, Fault> {
        let mut transfer = match self.transfer(&listing("NLST", folder), 0).await {
            Ok(transfer) => transfer,
            Err(fault) => return refused(fault, folder, entry),
        };
        let mut names = Names::new(name(entry), name(folder), witness.map(name));
        let mut piece = BytesMut::new();
        while transfer.read(&mut piece).await? > 0 {
            names.read(&piece);
            piece.clear();
            if names.bytes > MOST_LISTED {
                self.give_up();
                return Ok(Listed::Refused);
            }
        }
        match transfer.finish(self).await {
            Ok(words) if is_partial(&words) => Ok(Listed::Refused),
            Ok(_) => Ok(names.outcome()),
            Err(fault) => refused(fault, folder, entry),
        }
    }
}

fn refused(fault: Fault, folder: &str, entry: &str) -> Result<Listed, Fault> {
    if fault.says_gone(folder) && fault.says_gone(entry) {
        return Ok(Listed::NoFolder);
    }
    if fault.leaves_it_open() { Ok(Listed::Refused) } else { Err(fault) }
}

/// Returns whether a server that reports success says that a listing is not the whole folder: "226 Transfer done (but failed to open
/// directory)" of vsftpd, "226 Output truncated to 10000 matches" of Pure-FTPd.
pub(super) fn is_partial(words: &[u8]) -> bool {
    let words = String::from_utf8_lossy(words).to_ascii_lowercase();
    ["fail", "truncated"].iter().any(|word| words.contains(word))
}

/// Returns the last segment of a path.
fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Parses a listing incrementally: lines with or without the folder, depending on the server.
struct Names<'a> {
    wanted: &'a str,
    folder: &'a str,
    witness: Option<&'a str>,
    line: Vec<u8>,
    bytes: usize,
    any: bool,
    named: bool,
    /// Whether the folder itself is listed, which is how vsftpd lists an unreadable one.
    itself: bool,
}

impl<'a> Names<'a> {
    const fn new(wanted: &'a str, folder: &'a str, witness: Option<&'a str>) -> Self {
        Self { wanted, folder, witness, line: Vec::new(), bytes: 0, any: false, named: false, itself: false }
    }

    fn read(&mut self, piece: &[u8]) {
        self.bytes += piece.len();
        for byte in piece {
            match byte {
                b'\r' | b'\n' => self.end_line(),
                byte => self.line.push(*byte),
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let found = line.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if matches!(found, b"" | b"." | b"..") {
            return;
        }
        self.named |= found == self.wanted.as_bytes();
        if found == self.folder.as_bytes() {
            self.itself = true
        } else {
            self.any = true
        }
        self.witness = self.witness.filter(|witness| found != witness.as_bytes());
    }

    fn outcome(mut self) -> Listed {
        self.end_line();
        match (self.named, self.any, self.witness) {
            (true, ..) => Listed::Named,
            (false, true, None) => Listed::Absent,
            (false, true, Some(_)) => Listed::Refused,
            (false, false, _) if self.itself => Listed::Refused,
            (false, false, _) => Listed::Empty,
        }
    }
}

/// Maximum length of a listing in bytes.
const MOST_LISTED: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::{Listed, Names};

    fn listed(text: &str, witness: Option<&str>) -> Listed {
        let mut names = Names::new("a.mp3", "rec", witness);
        for piece in text.as_bytes().chunks(3) {
            names.read(piece);
        }
        names.outcome()
    }

    #[test]
    fn a_listing_names_an_entry_with_its_folder_or_without() {
        for text in ["a.mp3\r\n", "a.mp3", "b\na.mp3\nc\n", "/x/y/a.mp3\r\n/x/y/b\r\n", "./a.mp3"] {
            assert_eq!(listed(text, None), Listed::Named, "{text:?}");
        }
        for text in ["b\r\n", "a.mp3.part\r\n", "xa.mp3", "a.mp3/b\n"] {
            assert_eq!(listed(text, None), Listed::Absent, "{text:?}");
        }
        for text in ["", "\r\n", ".\r\n..\r\n"] {
            assert_eq!(listed(text, None), Listed::Empty, "{text:?}");
        }
    }

    #[test]
    fn a_folder_that_names_itself_may_not_be_read() {
        assert_eq!(listed("some/rec\r\n", None), Listed::Refused);
        assert_eq!(listed("rec\r\nb\r\n", None), Listed::Absent);
        assert_eq!(listed("rec\r\na.mp3\r\n", None), Listed::Named);
    }

    #[test]
    fn a_listing_without_the_witness_is_none() {
        assert_eq!(listed("w\r\nb\r\n", Some("w")), Listed::Absent);
        assert_eq!(listed("b\r\n", Some("w")), Listed::Refused);
        assert_eq!(listed("", Some("w")), Listed::Empty);
        assert_eq!(listed("a.mp3\r\n", Some("w")), Listed::Named);
    }
}
