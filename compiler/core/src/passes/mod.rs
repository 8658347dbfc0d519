//! The passes over the IR and their order.

mod choices;
mod cse;
mod dce;
mod fuse;
mod legalize;
mod modes;
mod products;
mod rewrite;
mod simplify;
#[cfg(test)]
mod testing;

use crate::ir::{self, Function, Summand};

/// A transformation of a function: by value in, by value out.
#[derive(Debug, Clone, Copy)]
pub struct Pass {
    /// The name used by `--emit` and in dumps.
    pub name: &'static str,
    /// The transformation.
    pub run: fn(Function) -> Function,
}

/// All passes in order.
///
/// `simplify` first, while mode products and transpositions are still visible to its rules; `cse` then shares what the
/// rules made equal, and a second `simplify` sees the shared values. `modes` turns what is left into matrix products,
/// `products` moves scaling and addition into them, `dce` removes what was replaced. `choices` turns
/// short branches that would copy a gradient into element-wise work. `legalize` gives every element-wise operation
/// operands that a kernel can read. `fuse` comes last: it turns those operations into kernels, which no other pass looks
/// into. (Inlining and loop unrolling are part of
/// lowering, because both depend on what is known at bind.)
pub const PIPELINE: &[Pass] = &[
    Pass {
        name: "simplify",
        run: simplify::run,
    },
    Pass {
        name: "cse",
        run: cse::run,
    },
    Pass {
        name: "simplify-again",
        run: simplify::run,
    },
    Pass {
        name: "cse-again",
        run: cse::run,
    },
    Pass {
        name: "modes",
        run: modes::run,
    },
    Pass {
        name: "cse-products",
        run: cse::run,
    },
    Pass {
        name: "dce",
        run: dce::run,
    },
    Pass {
        name: "products",
        run: products::run,
    },
    Pass {
        name: "dce-again",
        run: dce::run,
    },
    Pass {
        name: "choices",
        run: choices::run,
    },
    Pass {
        name: "legalize",
        run: legalize::run,
    },
    Pass {
        name: "fuse",
        run: fuse::run,
    },
    Pass {
        name: "dce-last",
        run: dce::run,
    },
];

/// Runs the pipeline.
pub fn optimize(function: Function) -> Function {
    optimize_observed(function, |_, _| {})
}

/// Runs the pipeline and shows the function after each pass.
///
/// # Panics
///
/// In builds with debug assertions, when a pass breaks an invariant of [`ir::verify`]: a bug in that pass.
pub fn optimize_observed(
    mut function: Function,
    mut observe: impl FnMut(&'static str, &Function),
) -> Function {
    let sums = std::mem::take(&mut function.sums);
    let optimized = PIPELINE.iter().fold(function, |function, pass| {
        let function = (pass.run)(function);
        if cfg!(debug_assertions) {
            let violations = ir::verify(&function);
            assert!(
                violations.is_empty(),
                "after pass `{}`: {}\n{function}",
                pass.name,
                violations.join("; ")
            );
        }
        observe(pass.name, &function);
        function
    });
    let optimize = |sum: Summand| Summand {
        function: self::optimize(sum.function),
        ..sum
    };
    Function {
        sums: sums.into_iter().map(optimize).collect(),
        ..optimized
    }
}
