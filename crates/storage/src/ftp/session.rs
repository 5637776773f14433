//! A control connection: opened and logged in, with a method per command.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::HandshakeKind;
use stowage_http::client::Client;
use stowage_http::connect::{Connector, Reach, Stream};
use suppaftp::Status;
use suppaftp::tokio::AsyncRustlsFtpStream;
use suppaftp::types::{FileType, Response};
use tokio::net::TcpStream;

use super::address::{Address, wire};
use super::fault::{Fault, ResultExt, UNKNOWN, within};
use super::passive;
use super::transfer::Transfer;
use super::wire::{self as control, Tls, Wire};
use crate::Result;

/// A logged-in session.
pub(super) struct Session {
    ftp: AsyncRustlsFtpStream,
    connector: Connector,
    /// TLS for data connections, if they are protected.
    tls: Option<Tls>,
    /// Whether data connections resume the TLS session of the control connection; `None` before the first one.
    resumes: Option<bool>,
    /// The server's address.
    peer: SocketAddr,
    /// Timeout of a reply.
    pub(super) patience: Duration,
    /// Idle timeout of a data connection.
    idle: Duration,
    /// Whether passive connections are requested with `EPSV` (RFC 2428 section 3), which also supports IPv6.
    extended: bool,
    /// Whether the server supports `MLST`, as far as is known.
    pub(super) has_mlst: bool,
    /// Whether the server was told that names are UTF-8.
    utf8: bool,
    /// Whether the session must be checked before it is used again.
    pub(super) doubtful: bool,
    /// Whether a transfer started at an offset. Servers may keep the offset (libunftp does, after a transfer that was closed
    /// early), and the next transfer would start there.
    restarted: bool,
    /// Whether the TLS session can no longer be resumed.
    worn: bool,
    /// Whether the completion reply of a transfer is pending.
    in_transfer: bool,
    /// Whether a reply is pending that can no longer be told from the next one.
    lost: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("peer", &self.peer).field("lost", &self.lost).finish_non_exhaustive()
    }
}

impl Session {
    /// Connects and logs in.
    ///
    /// # Errors
    /// `Settings` if the address is rejected, `Refused`, `Passing`.
    pub(super) async fn open(client: &Client, address: &Address) -> Result<Self> {
        let connector = client.connector();
        let opening = async {
            let mut session = Self::over(connector, control::open(connector, address).await?);
            session.log_in(address).await?;
            session.ftp.transfer_type(FileType::Binary).await?;
            Ok(session)
        };
        within::<_, Fault>(connector.timeouts().response_head, opening).await.context("log in")
    }

    fn over(connector: &Connector, wire: Wire) -> Self {
        let (timeouts, Wire { ftp, tls, peer }) = (connector.timeouts(), wire);
        Self {
            ftp,
            connector: connector.clone(),
            tls,
            resumes: None,
            peer,
            patience: timeouts.response_head,
            idle: timeouts.idle_body,
            extended: true,
            has_mlst: true,
            utf8: false,
            doubtful: false,
            restarted: false,
            worn: false,
            in_transfer: false,
            lost: false,
        }
    }

    /// RFC 959 section 5.4: a server may require no password, or call one superfluous (202).
    async fn log_in(&mut self, address: &Address) -> std::result::Result<(), Fault> {
        let done = [Status::LoggedIn, Status::CommandNotImplemented];
        let user = self.ftp.custom_command(format!("USER {}", address.user), &[Status::LoggedIn, Status::NeedPassword]);
        if user.await?.status == Status::NeedPassword {
            self.ftp.custom_command(format!("PASS {}", address.password.expose()), &done).await?;
        }
        Ok(())
    }

    /// Returns whether the next reply will belong to the next command.
    pub(super) const fn is_in_step(&self) -> bool {
        !self.lost && !self.in_transfer
    }

    /// Returns whether another operation can use the session.
    pub(super) fn is_good(&self) -> bool {
        let tickets = self.tls.as_ref().is_none_or(|tls| tls.tickets.are_left());
        self.is_in_step() && !self.worn && (tickets || self.resumes != Some(true))
    }

    /// Returns whether the session is alive and in step.
    pub(super) async fn answers(&mut self) -> bool {
        let limit = self.patience.min(STILL_THERE);
        let outcome = within(limit, self.ftp.noop()).await;
        self.doubtful = false;
        match self.noted(outcome) {
            Ok(()) => true,
            Err(fault) => fault.is(UNKNOWN),
        }
    }

    /// Announces UTF-8 names (RFC 2640) before the first that is not ASCII: some servers assume another encoding until told. A
    /// server that rejects this knows no other way.
    ///
    /// # Errors
    /// `Passing`.
    pub(super) async fn speak(&mut self, path: &str) -> Result<()> {
        if self.utf8 || path.is_ascii() {
            return Ok(());
        }
        let told = self.ask("OPTS UTF8 ON".to_owned(), &[Status::CommandOk]).await;
        self.utf8 = true;
        match told {
            Err(fault) if !fault.is_answer() => Err(fault.because("use names in UTF-8")),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Returns the length of a file in bytes (RFC 3659 section 4); `None` if the reply contains none.
    pub(super) async fn size(&mut self, path: &str) -> std::result::Result<Option<u64>, Fault> {
        let answer = self.ask(format!("SIZE {}", wire(path)), &[Status::File]).await?;
        let words = String::from_utf8_lossy(&answer.body).into_owned();
        Ok(words.split_whitespace().skip(1).find_map(|word| word.parse().ok()))
    }

    /// Returns the length of a file in bytes, if reported, from its `MLST` facts (RFC 3659 section 7).
    pub(super) async fn entry(&mut self, path: &str) -> std::result::Result<Option<u64>, Fault> {
        match within(self.patience, self.ftp.mlst(Some(wire(path)))).await {
            Ok(facts) => Ok(size_of(&facts)),
            // There is an entry, in a nonstandard form.
            Err(Fault::Nonsense) => Ok(None),
            Err(fault) => {
                self.has_mlst &= !fault.is(UNKNOWN);
                self.noted(Err(fault))
            }
        }
    }

    /// Returns an ETag that changes with the file: its modification time (RFC 3659 section 3), to the second, and its length.
    pub(super) async fn tag(&mut self, path: &str, size: u64) -> std::result::Result<Option<String>, Fault> {
        match within(self.patience, self.ftp.mdtm(wire(path))).await {
            Ok(written) => Ok(Some(format!("{:x}-{size:x}", written.and_utc().timestamp()))),
            Err(Fault::Nonsense) => Ok(None),
            Err(fault) => match self.noted::<(), _>(Err(fault)) {
                Err(fault) if !fault.is_answer() => Err(fault),
                Ok(()) | Err(_) => Ok(None),
            },
        }
    }

    /// Creates a folder, and if that fails, its parents as well. Further refusals are left to the command that needs the folder: the code
    /// (550) does not tell an existing folder from an impossible one.
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

    /// Creates a folder; returns whether it exists now.
    async fn make_folder(&mut self, folder: &str) -> std::result::Result<bool, Fault> {
        if matches!(folder, "" | "/~") {
            return Ok(true);
        }
        let outcome = within(self.patience, self.ftp.mkdir(wire(folder))).await;
        match self.noted(outcome) {
            Ok(()) => Ok(true),
            Err(fault) if fault.leaves_it_open() => Ok(fault.says_there(folder)),
            Err(fault) => Err(fault),
        }
    }

    /// Renames a file; many servers overwrite an existing one.
    pub(super) async fn rename(&mut self, from: &str, to: &str) -> std::result::Result<(), Fault> {
        let outcome = within(self.patience, self.ftp.rename(wire(from), wire(to))).await;
        self.noted(outcome)
    }

    /// Removes a file.
    pub(super) async fn remove(&mut self, path: &str) -> std::result::Result<(), Fault> {
        let outcome = within(self.patience, self.ftp.rm(wire(path))).await;
        self.noted(outcome)
    }

    /// Starts storing a file.
    pub(super) async fn store(&mut self, path: &str) -> std::result::Result<Transfer, Fault> {
        self.transfer(&format!("STOR {}", wire(path)), 0).await
    }

    /// Starts reading a file at an offset.
    pub(super) async fn retrieve(&mut self, path: &str, from: u64) -> std::result::Result<Transfer, Fault> {
        self.transfer(&format!("RETR {}", wire(path)), from).await
    }

    /// Opens a data connection for a command.
    pub(super) async fn transfer(&mut self, command: &str, from: u64) -> std::result::Result<Transfer, Fault> {
        let stream = self.connect_data().await?;
        if from > 0 || self.restarted {
            self.ask(format!("REST {from}"), &[Status::RequestFilePending]).await?;
            self.restarted = true;
        }
        self.ask(command.to_owned(), &[Status::AlreadyOpen, Status::AboutToSend]).await?;
        self.in_transfer = true;
        let Some(tls) = &self.tls else { return Ok(Transfer::new(Stream::Left(stream), self.idle)) };
        let shaken = within(self.patience, tls.connector.connect(tls.name.clone(), stream)).await;
        // The certificate was verified for the control connection, so a failure here means this connection broke.
        let stream = self.noted(shaken)?;
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        if self.resumes == Some(true) && !resumed {
            // A server that requires resumption would only complain once the body is being sent. Another session can resume.
            self.worn = true;
            Transfer::new(Stream::Right(Box::new(stream)), self.idle).abandon(self).await;
            return Err(Fault::Code(NO_DATA_CONNECTION, Vec::new()));
        }
        self.resumes = Some(resumed);
        Ok(Transfer::new(Stream::Right(Box::new(stream)), self.idle))
    }

    /// Connects to the port the server listens on: `EPSV`, falling back to `PASV`. Firewalls that inspect FTP may only open the ports
    /// of `PASV`.
    async fn connect_data(&mut self) -> std::result::Result<TcpStream, Fault> {
        if self.extended {
            match self.ask("EPSV".to_owned(), &[Status::ExtendedPassiveMode]).await {
                Ok(answer) => {
                    if let Some(port) = passive::extended_port(&answer.body)
                        && let Ok(stream) = self.connect_port(port).await
                    {
                        return Ok(stream);
                    }
                }
                Err(fault) if fault.leaves_it_open() => {}
                Err(fault) => return Err(fault),
            }
            self.extended = false;
        }
        let answer = self.ask("PASV".to_owned(), &[Status::PassiveMode]).await?;
        self.connect_port(passive::port(&answer.body).ok_or(Fault::Nonsense)?).await
    }

    async fn connect_port(&self, port: u16) -> std::result::Result<TcpStream, Fault> {
        let address = SocketAddr::new(self.peer.ip(), port);
        Ok(self.connector.connect_address(address, Reach::Tenant).await?)
    }

    async fn ask(&mut self, command: String, expected: &[Status]) -> std::result::Result<Response, Fault> {
        let outcome = within(self.patience, self.ftp.custom_command(command, expected)).await;
        self.noted(outcome)
    }

    /// Reads the completion reply of a transfer, and returns its text.
    pub(super) async fn completed(&mut self) -> std::result::Result<Vec<u8>, Fault> {
        self.completed_within(self.patience).await
    }

    /// Like [`completed`](Self::completed), with a shorter timeout.
    pub(super) async fn completed_within(&mut self, limit: Duration) -> std::result::Result<Vec<u8>, Fault> {
        let done = [Status::ClosingDataConnection, Status::RequestedFileActionOk];
        let outcome = within(limit.min(self.patience), self.ftp.read_response_in(&done)).await;
        self.in_transfer = outcome.as_ref().is_err_and(|fault| !fault.is_answer());
        self.noted(outcome).map(|answer| answer.body)
    }

    /// Records a missing reply, which the next one might turn out to be, and a reply after which the server closes.
    fn noted<T, E>(&mut self, outcome: std::result::Result<T, E>) -> std::result::Result<T, Fault>
    where
        Fault: From<E>,
    {
        let outcome = outcome.map_err(Fault::from);
        self.lost |= outcome.as_ref().is_err_and(|fault| !fault.leaves_it_open());
        outcome
    }

    /// Abandons the session: it is not used again.
    pub(super) const fn give_up(&mut self) {
        self.lost = true;
    }

    /// Logs out.
    pub(super) async fn quit(mut self) {
        drop(tokio::time::timeout(GOODBYE, self.ftp.quit()).await);
    }
}

/// Parses the `size` fact of an entry (RFC 3659 section 7.5.7).
fn size_of(entry: &str) -> Option<u64> {
    let facts = entry.trim_start().split(' ').next()?;
    let mut facts = facts.split(';').filter_map(|fact| fact.split_once('='));
    facts.find(|(name, _)| name.eq_ignore_ascii_case("size"))?.1.parse().ok()
}

/// Timeout for logging out.
const GOODBYE: Duration = Duration::from_secs(2);
/// RFC 959 section 4.2: "can't open data connection".
const NO_DATA_CONNECTION: u16 = 425;
/// Timeout for checking that an idle session is alive.
const STILL_THERE: Duration = Duration::from_secs(3);

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
