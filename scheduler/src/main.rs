//! Entry point of the scheduler daemon.

fn main() {}
