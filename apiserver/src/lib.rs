//! The apiserver daemon of Skiff.
