//! What single constructs mean: models written by hand, the interpreter and the quick tier come to the same.

mod angles;
mod compositions;
mod every_shape;
mod failures;
mod indices;
mod library;
mod loops;
mod matrices;
mod models;
mod papers;
mod parts;
mod random;
mod reductions;
mod signs;
mod storage;
