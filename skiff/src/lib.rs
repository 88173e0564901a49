//! The tool that brings Skiff clusters up on this machine and takes them down.
//!
//! Everything of a cluster lies below one folder and follows from its
//! [`cluster::Cluster`] description; the functions that turn the description
//! into addresses, commands and files are pure, and the rest carries them out.
//! Corresponds to kind and minikube, with network namespaces for machines.

pub mod args;
pub mod cgroups;
pub mod cluster;
pub mod containerd;
pub mod daemons;
pub mod down;
pub mod files;
pub mod firewall;
pub mod image;
pub mod kubeconfig;
pub mod load;
pub mod logs;
pub mod machine;
pub mod network;
pub mod nodes;
pub mod pki;
pub mod processes;
pub mod progress;
pub mod ranges;
pub mod registration;
pub mod status;
pub mod supervisor;
pub mod up;
