//! The `stowage` program.

fn main() {}
