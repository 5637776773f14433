//! The message broker shared by KAZOO and the call store: connections, queries to KAZOO's trackers, and published notices.

mod confirmed;
mod error;
mod link;
mod notices;
mod sweep;
mod transport;

pub(crate) use confirmed::{Confirmed, Message, Prepare, Unpublished};
pub use error::{BrokerError, Kind};
pub use link::{Broker, Config, Link, node};
pub(crate) use link::{short, within};
pub use notices::Notices;
pub use sweep::{LiveChannel, Sweep, Trackers};
