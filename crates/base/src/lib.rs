//! Foundations shared by all programs of the workspace: tracked tasks, deadlines, growing pauses, logging and tracing, settings, secrets,
//! the configuration reader, the runtime's end, and the terminal.
//!
//! | module | contains |
//! |---|---|
//! | [`activity`], [`deadline`] | one request: what its parts report on it, and how long it may take |
//! | [`log`], [`trace`], [`metrics`] | what a program says about itself |
//! | [`source`], [`reader`], [`settings`] | values: of the configuration, and of a plan's storages |
//! | [`secret`], [`token`] | values that must not be printed, or not be compared in readable form |
//! | [`tasks`], [`backoff`], [`runtime`], [`signals`], [`memory`] | the process: its tasks and their pauses, its end, its signals, its freed memory |
//! | [`console`], [`demo`] | the terminal, and the demos |

pub mod activity;
pub mod backoff;
pub mod console;
pub mod deadline;
pub mod demo;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod reader;
pub mod runtime;
pub mod secret;
pub mod settings;
pub mod signals;
pub mod source;
pub mod tasks;
pub mod token;
pub mod trace;
