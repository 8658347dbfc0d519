//! Loads an artifact or a source and steps with it on tensor views.
