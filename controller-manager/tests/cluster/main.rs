//! The controllers against the real API server on its memory store, over HTTPS,
//! with kubelets that only claim that pods run.

#![allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own")]
#![allow(clippy::unwrap_used)]

mod account_tokens;
mod autoscalers;
mod certificates;
mod crashes;
mod cron_jobs;
mod daemon_sets;
mod deployments;
mod garbage;
mod jobs;
mod namespaces;
mod nodes;
mod persistent_volumes;
mod quotas;
mod services;
mod stateful_sets;
mod volumes;
