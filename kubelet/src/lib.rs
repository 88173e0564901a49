//! The kubelet daemon of Skiff.
