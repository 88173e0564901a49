//! The tool that brings Skiff clusters up on this machine and takes them down.
//!
//! Everything of a cluster lies below one folder and follows from its
//! [`cluster::Cluster`] description; the functions that turn the description
//! into addresses, commands and files are pure, and the rest carries them out.
//! Corresponds to kind and minikube, with network namespaces for machines.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own"))]

/// Prints a line. Whoever it is for may have gone; what is being done is done all the same.
macro_rules! say {
    ($($words:tt)*) => {{
        let _unread = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{}\n", format_args!($($words)*)));
    }};
}

pub mod addons;
pub mod args;
mod cgroups;
pub mod cluster;
mod cni_cache;
mod containerd;
pub mod daemons;
pub mod down;
mod files;
mod firewall;
pub mod image;
mod kubeconfig;
pub mod load;
pub mod logs;
pub mod machine;
mod network;
mod nodes;
mod pki;
pub mod processes;
pub mod program;
mod progress;
mod ranges;
mod registration;
mod static_pods;
pub mod status;
pub mod supervisor;
pub mod up;
