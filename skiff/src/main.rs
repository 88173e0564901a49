//! The skiff tool.

fn main() {}
