//! Stowage.
pub mod store;
