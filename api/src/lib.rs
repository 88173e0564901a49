//! The pure part of Skiff's API.
