//! The program's commands, each as a process of its own.

mod check;
mod explain;
pub mod program;
mod serve;
