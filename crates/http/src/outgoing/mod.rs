//! The one client: connections, who may be reached by them, who is trusted, and how long silence may last.

pub mod client;
pub mod connect;
pub mod egress;
pub(crate) mod fault;
pub mod pooling;
pub(crate) mod progress;
pub mod race;
pub mod stall;
pub mod trust;
