//! The HTTP client: connections, egress policy, certificate trust and idle timeouts.

pub mod client;
pub mod connect;
pub mod egress;
pub(crate) mod fault;
pub mod identity;
pub mod pooling;
pub(crate) mod progress;
pub mod race;
pub mod stall;
pub mod talker;
pub mod trust;
