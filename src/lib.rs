//! Stowage.

pub mod database;
pub mod plan;
