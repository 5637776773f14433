//! Faults of a connection, and counts of what happened.

/// Direction of the bytes.
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
    /// Both sides see an orderly end; whatever they still send is read and dropped.
    Cut,
    /// Both sides see a reset. Bytes not yet read by the receiver may be lost.
    Reset,
    /// The receiver sees an orderly end; the sender notices nothing, and its bytes are dropped; the other direction stays open.
    Truncate,
    /// Nothing more is read or forwarded until `FaultProxy::resume`.
    Stall,
    /// Every further byte is written separately.
    Trickle,
    /// The connection is closed as soon as it is accepted; `direction` and `after` are ignored.
    Refuse,
}

/// The fault of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The direction whose bytes are counted.
    pub direction: Direction,
    /// How many bytes of that direction are forwarded before the fault.
    pub after: u64,
    /// The fault.
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

    /// A connection without a fault.
    pub const PASS: Self = Self::to_server(0, What::Pass);

    /// A connection that is refused.
    pub const REFUSE: Self = Self::to_server(0, What::Refuse);
}

/// Counts across all connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Connections that ended on both sides.
    pub ended: u64,
    /// Connections that reached their fault; a refused one does so immediately.
    pub struck: u64,
    /// Bytes written to servers.
    pub to_server: u64,
    /// Bytes written to clients.
    pub to_client: u64,
}
