//! The `socku` program.

fn main() {}
