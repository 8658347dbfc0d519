//! What single constructs mean: models written by hand, the interpreter and the quick tier come to the same.

mod indices;
mod parts;
mod reductions;
