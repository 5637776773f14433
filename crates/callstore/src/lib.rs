//! The call store: follows live calls, and completes the records of those whose switch or tracker died.
//!
//! Everything that happens is an entry of one ordered [`journal`]; the [`state`] is purely the [`fold`] of that journal. The decisions
//! of the active instance ([`act`]) are entries as well.
//!
//! The modules, in the order that `ARCHITECTURE.md` describes: each imports only from those below it.
//!
//! | module | content |
//! |---|---|
//! | [`cli`], [`app`] | the commands; the wiring |
//! | [`api`] | the listener: events in, calls out, and the page |
//! | [`sites`] | other sites, and their adoption |
//! | [`act`] | the work of the active instance |
//! | [`cluster`], [`config`] | the parts that several instances share; the configuration |
//! | [`sweeps`], [`dead`] | the trackers' answers; the detection of deaths |
//! | [`records`] | the documents of ended calls |
//! | [`follow`], [`metrics`] | applying the journal to the state; the metrics |
//! | [`state`] | what is known of all calls |
//! | [`sources`], [`decision`] | the entries of the journal: events and decisions |
//! | [`journal`] | the embedded journal, and the stream at the broker |
//! | [`broker`], [`orders`] | AMQP; notices of deaths |
//! | [`lead`], [`group`] | whether this instance is active; its election by etcd |
//! | [`roles`] | the site's instances, groups and domains |
//! | [`clock`], [`time`] | the clocks; forms of times |
//! | [`fold`] | one leg or dialog as a merge of facts |

pub mod act;
pub mod api;
pub mod app;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod dead;
pub mod decision;
pub mod fold;
pub mod follow;
pub mod group;
pub mod journal;
pub mod lead;
pub mod metrics;
pub mod orders;
pub mod records;
pub mod roles;
pub mod sites;
pub mod sources;
pub mod state;
pub mod sweeps;
pub mod time;
