//! The proxy daemon of Skiff.
