//! A small transformer on real text.
fn main() {}
