//! The call store: follows live calls, and completes the records of those whose switch or tracker died.
//!
//! Everything that happens is an entry of one ordered [`journal`]; the [`state`] is purely the [`fold`] of that journal. The decisions
//! of the active instance ([`act`]) are entries as well.

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
