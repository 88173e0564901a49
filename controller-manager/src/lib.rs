//! The controller-manager daemon of Skiff.
