//! The language from outside: cases, messages, pages, the standard library, hostile input.
//!
//! `INSTA_UPDATE=always cargo test -p optc-core --test language` writes the snapshots anew; read the difference.

mod cases;
mod codes;
mod foreign;
mod hostile;
mod library;
mod support;
