//! The pod network in network namespaces of the tests' own.

#![allow(clippy::unwrap_used)]

mod cni;
mod namespaces;
mod node_network;
