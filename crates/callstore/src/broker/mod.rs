//! The message broker that KAZOO and the call store share: connections to it, questions to KAZOO's trackers, and what is published for others.

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
pub use notices::{Heard, Notices};
pub use sweep::{LiveChannel, Sweep, Trackers};
