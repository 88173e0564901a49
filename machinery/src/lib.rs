//! What every daemon shares at run time.
