//! The scheduler daemon of Skiff.
