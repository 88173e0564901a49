//! What is asked of the runtime for a pod: the configuration of its sandbox and of its containers, made
//! from the pod's spec. Pure. Corresponds to upstream's `kuberuntime_sandbox.go`,
//! `kuberuntime_container.go` and `security_context.go`.

pub mod container;
pub mod env;
pub mod expansion;
pub mod names;
pub mod resources;
pub mod sandbox;
#[cfg(test)]
mod tests;
