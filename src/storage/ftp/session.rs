//! One control connection: opened and logged in, then one method for each thing that is asked.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustls::ClientConfig;
use rustls::client::Resumption;
use suppaftp::Status;
use suppaftp::tokio::{AsyncRustlsConnector, AsyncRustlsFtpStream};
use suppaftp::types::{FileType, FtpError, Mode};
use tokio_rustls::TlsConnector;

use super::Host;
use super::address::{Address, Security, wire};
use super::fault::{Fault, GONE, Told, UNKNOWN, within};
use super::transfer::Transfer;
use crate::config::Timeouts;
use crate::http::connect::{Connector, Reach};
use crate::http::race::race;
use crate::storage::Result;

/// A logged-in session.
pub(super) struct Session {
    ftp: AsyncRustlsFtpStream,
    /// How long an answer may take.
    patience: Duration,
    /// How long a data connection may stand still.
    idle: Duration,
    secure: bool,
    /// Whether passive connections are asked for by `EPSV` (RFC 2428 section 3), which works for IPv6 too.
    extended: bool,
    /// Whether an answer is owed that can no longer be told from the next one.
    lost: bool,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// Something, and its length in bytes where the server tells it.
    File(Option<u64>),
    /// The server has no command that would tell.
    Unknown,
}

impl Session {
    /// Connects and logs in. `path` is what the session is for.
    ///
    /// # Errors
    /// `Settings` where the address is refused, `Refused`, `Passing`.
    pub(super) async fn open(host: &Host, path: &str) -> Result<Self> {
        let connector = host.client.connector();
        let timeouts = connector.timeouts();
        let all = async {
            let address = &host.address;
            let mut ftp = connect(connector, address).await?;
            ftp.set_passive_nat_workaround(true);
            ftp.set_mode(Mode::ExtendedPassive);
            ftp.login(address.user.as_str(), address.password.expose()).await?;
            ftp.transfer_type(FileType::Binary).await?;
            if !path.is_ascii() {
                // RFC 2640; some servers take names for something else until they are told. Those that refuse know no better.
                match ftp.opts("UTF8", Some("ON")).await {
                    Ok(()) | Err(FtpError::UnexpectedResponse(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(ftp)
        };
        let ftp = within::<_, Fault>(timeouts.response_head, all).await.told("log in")?;
        Ok(Self::over(ftp, timeouts, host.address.security != Security::Plain))
    }

    fn over(ftp: AsyncRustlsFtpStream, timeouts: &Timeouts, secure: bool) -> Self {
        let (patience, idle) = (timeouts.response_head, timeouts.idle_body);
        Self { ftp, patience, idle, secure, extended: true, lost: false }
    }

    /// Whether the next answer will be to the next command.
    pub(super) const fn is_in_step(&self) -> bool {
        !self.lost
    }

    /// Looks whether something is at a path.
    pub(super) async fn look(&mut self, path: &str) -> std::result::Result<Found, Fault> {
        match self.size(path).await {
            Ok(size) => return Ok(Found::File(Some(size))),
            Err(fault) if fault.is(GONE) || fault.is(UNKNOWN) => {}
            Err(fault) => return Err(fault),
        }
        // Not every server has SIZE, and those that do may give the same code for a file that may not be read.
        let outcome = within(self.patience, self.ftp.mlst(Some(wire(path)))).await;
        match self.noted(outcome) {
            Ok(facts) => return Ok(Found::File(size_of(&facts))),
            Err(Fault::Nonsense) => return Ok(Found::File(None)),
            Err(fault) if fault.is(GONE) => return Ok(Found::Nothing),
            Err(fault) if fault.is(UNKNOWN) => {}
            Err(fault) => return Err(fault),
        }
        match self.list(path).await {
            Ok(Some(true)) => Ok(Found::File(None)),
            Ok(Some(false)) => Ok(Found::Nothing),
            Ok(None) => Ok(Found::Unknown),
            Err(fault) if fault.is(GONE) => Ok(Found::Nothing),
            Err(fault) if fault.is(UNKNOWN) => Ok(Found::Unknown),
            Err(fault) => Err(fault),
        }
    }

    /// The length of a file in bytes (RFC 3659 section 4).
    pub(super) async fn size(&mut self, path: &str) -> std::result::Result<u64, Fault> {
        let outcome = within(self.patience, self.ftp.size(wire(path))).await;
        self.noted(outcome).map(|size| size as u64)
    }

    /// A tag that changes with the file: when it was written (RFC 3659 section 3), to the second, and its length.
    pub(super) async fn tag(&mut self, path: &str, size: u64) -> std::result::Result<Option<String>, Fault> {
        let outcome = within(self.patience, self.ftp.mdtm(wire(path))).await;
        match self.noted(outcome) {
            Ok(written) => Ok(Some(format!("{:x}-{size:x}", written.and_utc().timestamp()))),
            Err(Fault::Code(..) | Fault::Nonsense) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Makes a folder and those above it. What the server refuses is left to the command that needs the folder:
    /// the codes do not tell a folder that is there from one that cannot be.
    pub(super) async fn make_folders(&mut self, folder: &str) -> std::result::Result<(), Fault> {
        if self.make_folder(folder).await? {
            return Ok(());
        }
        let ends = folder.match_indices('/').map(|(end, _)| end).skip(1);
        let above: Vec<&str> = ends.filter_map(|end| folder.get(..end)).chain([folder]).collect();
        for folder in above.into_iter().filter(|folder| *folder != "/~") {
            self.make_folder(folder).await?;
        }
        Ok(())
    }

    async fn make_folder(&mut self, folder: &str) -> std::result::Result<bool, Fault> {
        if matches!(folder, "" | "/~") {
            return Ok(true);
        }
        let outcome = within(self.patience, self.ftp.mkdir(wire(folder))).await;
        match self.noted(outcome) {
            Ok(()) => Ok(true),
            Err(fault) if fault.is_answer() && !fault.is(&[421]) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Gives a file another name; many servers write over what has that name.
    pub(super) async fn rename(&mut self, from: &str, to: &str) -> std::result::Result<(), Fault> {
        let outcome = within(self.patience, self.ftp.rename(wire(from), wire(to))).await;
        self.noted(outcome)
    }

    /// Removes a file.
    pub(super) async fn remove(&mut self, path: &str) -> std::result::Result<(), Fault> {
        let outcome = within(self.patience, self.ftp.rm(wire(path))).await;
        self.noted(outcome)
    }

    /// Begins to store a file.
    pub(super) async fn store(&mut self, path: &str) -> std::result::Result<Transfer, Fault> {
        self.transfer(&format!("STOR {}", wire(path)), 0).await
    }

    /// Begins to read a file from a byte on.
    pub(super) async fn retrieve(&mut self, path: &str, from: u64) -> std::result::Result<Transfer, Fault> {
        self.transfer(&format!("RETR {}", wire(path)), from).await
    }

    /// Whether the listing of its folder names a file; `None` where the listing is too long.
    async fn list(&mut self, path: &str) -> std::result::Result<Option<bool>, Fault> {
        let (folder, name) = path.rsplit_once('/').unwrap_or_default();
        let command = match folder {
            "" => "NLST /".to_owned(),
            "/~" => "NLST".to_owned(),
            folder => format!("NLST {}", wire(folder)),
        };
        let mut transfer = self.transfer(&command, 0).await?;
        let mut names = BytesMut::new();
        while transfer.read(&mut names).await? > 0 {
            if names.len() > MOST_LISTED {
                return Ok(None);
            }
        }
        let outcome = transfer.finish().await;
        self.noted(outcome)?;
        let names = names.as_ref().split(|byte: &u8| matches!(byte, b'\r' | b'\n'));
        // With the folder or without it, as the server likes.
        let mut names = names.filter_map(|line| line.rsplit(|byte| *byte == b'/').next());
        Ok(Some(names.any(|line| line == name.as_bytes())))
    }

    async fn transfer(&mut self, command: &str, from: u64) -> std::result::Result<Transfer, Fault> {
        let from = usize::try_from(from).map_err(|_| Fault::Code(REST_REFUSED, Vec::new()))?;
        loop {
            let opening = async {
                self.ftp.resume_transfer(from).await?;
                self.ftp.custom_data_command(command, &[Status::AlreadyOpen, Status::AboutToSend]).await
            };
            let outcome = within(self.patience, opening).await;
            match self.noted(outcome) {
                Ok((_, stream)) => return Ok(Transfer::new(stream, self.idle, self.patience, self.secure)),
                Err(fault) if self.extended && fault.is(UNKNOWN) => {
                    self.extended = false;
                    self.ftp.set_mode(Mode::Passive);
                }
                // The certificate was good enough for the control connection: this one broke.
                Err(Fault::Tls(text)) => return Err(Fault::Broken(std::io::Error::other(text))),
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Takes note of an answer that did not come: the next one might be it.
    pub(super) fn noted<T>(&mut self, outcome: std::result::Result<T, Fault>) -> std::result::Result<T, Fault> {
        self.lost |= outcome.as_ref().is_err_and(|fault| !fault.is_answer());
        outcome
    }

    /// Says goodbye, which nobody has to wait for: servers count sessions.
    pub(super) fn leave(mut self, host: &Host) {
        if self.lost || host.tasks.is_stopping() {
            return;
        }
        drop(host.tasks.spawn("ftp goodbye", async move {
            drop(tokio::time::timeout(GOODBYE, self.ftp.quit()).await);
        }));
    }
}

async fn connect(connector: &Connector, address: &Address) -> std::result::Result<AsyncRustlsFtpStream, Fault> {
    let host = &address.origin.host;
    let connected = match address.security {
        Security::Implicit => implicit(connector, address).await?,
        Security::Plain | Security::Explicit => {
            let stream = connector.connect_tcp(&address.origin, Reach::Tenant).await?;
            AsyncRustlsFtpStream::connect_with_stream(stream).await?
        }
    };
    // Where the data connections go is not the server's to say: to its own address, at the port that it names.
    let data = connector.clone();
    let connected = connected.passive_stream_builder(move |address| {
        let connector = data.clone();
        Box::pin(async move {
            let opened = connector.connect_address(address, Reach::Tenant).await;
            opened.map_err(|error| FtpError::ConnectionError(std::io::Error::other(error)))
        })
    });
    if address.security != Security::Explicit {
        return Ok(connected);
    }
    // Protects the data connections as well (`PBSZ 0`, `PROT P`).
    Ok(connected.into_secure(tls(connector), host).await?)
}

async fn implicit(connector: &Connector, address: &Address) -> std::result::Result<AsyncRustlsFtpStream, Fault> {
    let limit = connector.timeouts().connect + connector.timeouts().tls_handshake;
    let addresses = connector.addresses(&address.origin, Reach::Tenant).await?;
    let host = &address.origin.host;
    let open = |checked| within(limit, AsyncRustlsFtpStream::connect_secure_implicit(checked, tls(connector), host));
    let mut ftp = race(addresses, limit, open).await.map_err(|fault| fault.unwrap_or(Fault::Nonsense))?;
    ftp.custom_command("PBSZ 0", &[Status::CommandOk]).await?;
    ftp.custom_command("PROT P", &[Status::CommandOk]).await?;
    Ok(ftp)
}

/// TLS with a memory of its own: servers want a data connection to resume the session of its control connection, and of
/// no other.
fn tls(connector: &Connector) -> AsyncRustlsConnector {
    let mut config: ClientConfig = connector.tls().clone();
    config.resumption = Resumption::in_memory_sessions(TLS_SESSIONS);
    TlsConnector::from(Arc::new(config)).into()
}

/// The fact `size` of an entry (RFC 3659 section 7.5.7).
fn size_of(entry: &str) -> Option<u64> {
    let facts = entry.trim_start().split(' ').next()?;
    let mut facts = facts.split(';').filter_map(|fact| fact.split_once('='));
    facts.find(|(name, _)| name.eq_ignore_ascii_case("size"))?.1.parse().ok()
}

/// How long a listing may be, in bytes.
const MOST_LISTED: usize = 1 << 20;
/// How long a server may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);
/// Sessions that a control connection and its data connections remember; they have one server.
const TLS_SESSIONS: usize = 4;
/// RFC 3659 section 5.4.
const REST_REFUSED: u16 = 501;

#[cfg(test)]
mod tests {
    use super::size_of;

    #[test]
    fn the_size_is_one_of_an_entrys_facts() {
        assert_eq!(size_of("type=file;size=12;modify=20260101000000; /a/size=9; b"), Some(12));
        assert_eq!(size_of(" Size=0; x"), Some(0));
        for none in ["", "type=dir; x", "size=; x", "type=file; size=3"] {
            assert_eq!(size_of(none), None, "{none}");
        }
    }
}
