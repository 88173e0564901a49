//! Programs and tests of the end-to-end suite.
