//! What can happen to a connection, and what was seen of it.

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Nothing.
    Pass,
    /// Both sides see an orderly end; what they still send is read and dropped.
    Cut,
    /// Both sides see a reset. Bytes that the receiver has not taken from its socket yet may be lost with it.
    Reset,
    /// The receiver sees an orderly end, the sender sees nothing and its bytes are dropped; the other direction lives on.
    Truncate,
    /// Nothing more is read or forwarded until `FaultProxy::resume`.
    Stall,
    /// Every further byte is a write of its own.
    Trickle,
    /// The connection is closed as soon as it is accepted; `direction` and `after` mean nothing.
    Refuse,
}

/// One connection's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The direction whose bytes count.
    pub direction: Direction,
    /// How many bytes of that direction are forwarded before it happens.
    pub after: u64,
    /// What happens then.
    pub what: What,
}

impl Fault {
    /// `what`, after `after` bytes to the server.
    pub const fn to_server(after: u64, what: What) -> Self {
        Self { direction: Direction::ToServer, after, what }
    }

    /// `what`, after `after` bytes to the client.
    pub const fn to_client(after: u64, what: What) -> Self {
        Self { direction: Direction::ToClient, after, what }
    }

    /// A connection that is left alone.
    pub const PASS: Self = Self::to_server(0, What::Pass);

    /// A connection that is refused.
    pub const REFUSE: Self = Self::to_server(0, What::Refuse);
}

/// What the proxy has seen so far, all connections together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Connections that are over, for both sides.
    pub ended: u64,
    /// Connections that reached their fault; a refused one does so at once.
    pub struck: u64,
    /// Bytes written to servers.
    pub to_server: u64,
    /// Bytes written to clients.
    pub to_client: u64,
}
