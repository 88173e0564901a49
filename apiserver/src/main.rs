//! Entry point of the apiserver daemon.

fn main() {}
