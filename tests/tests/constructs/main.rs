//! What single constructs mean, written by hand: the interpreter, before and after the passes, and the quick tier.

mod loops;
mod matrices;
mod random;
mod tiers;
