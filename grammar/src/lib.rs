//! Text of an `.opt` file → spanned syntax tree. The only crate that sees pest.
//!
//! ```
//! let module = optc_grammar::parse("table HALF = [(0.5)]")?;
//! assert_eq!(optc_grammar::dump(&module), "(table HALF (0.5))\n");
//! # Ok::<(), optc_grammar::ParseError>(())
//! ```
//!
//! Nothing is resolved here: whether a name exists and a shape fits is the checker's business.

#![warn(missing_docs)]

pub mod ast;
mod block;
mod docs;
mod dump;
mod error;
mod expr;
mod pairs;
mod parse;
mod scan;
mod slips;

pub use dump::dump;
pub use error::ParseError;
pub use parse::{MAX_DEPTH, MAX_LINE, MAX_SIZE, parse};
pub use scan::printable;
