//! Stowage.
