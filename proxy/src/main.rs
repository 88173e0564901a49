//! Entry point of the proxy daemon.

fn main() {}
