//! Entry point of the kubelet daemon.

fn main() {}
