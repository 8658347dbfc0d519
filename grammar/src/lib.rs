//! Text of an `.opt` file → spanned syntax tree. The only crate that sees pest.

pub mod ast;
