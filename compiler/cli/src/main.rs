//! The command `optc`.
fn main() {}
