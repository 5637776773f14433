//! The program's commands, each in its own process.

mod check;
mod explain;
pub mod program;
mod serve;
