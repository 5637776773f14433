//! Foundations shared by all programs of the workspace: tracked tasks, deadlines, growing pauses, logging and tracing, settings, secrets,
//! the configuration reader, the runtime's end, and the terminal.

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
