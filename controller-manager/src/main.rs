//! Entry point of the controller-manager daemon.

fn main() {}
