//! For now.
