//! What every program of the house stands on: tasks that shutdown sees, deadlines, log lines and traces, settings, secrets,
//! and the reader of configuration files.

pub mod activity;
pub mod deadline;
pub mod log;
pub mod memory;
pub mod reader;
pub mod secret;
pub mod settings;
pub mod signals;
pub mod tasks;
pub mod token;
pub mod trace;
