//! The standard library, embedded by name.
