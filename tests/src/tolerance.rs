//! How near a result must come to the recorded one: the only table of tolerances, each with its reason.
//!
//! Errors are relative to the movement of a parameter or to the largest element of a state, see `compare`.

use crate::compare::Distance;
use crate::golden::Case;
use crate::mapping::{self, Work};

/// What the implementation under test computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    F64,
    F32,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity<'a> {
    Param,
    /// The parameter at a point beside the steps, such as that of its evaluation.
    Point,
    State(&'a str),
}

/// The largest distance that passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    pub max: f64,
    pub frobenius: f64,
}

impl Bound {
    fn element(max: f64) -> Bound {
        Bound {
            max,
            frobenius: f64::INFINITY,
        }
    }

    /// The bound for a parameter stored in f32: each step rounds it at most twice, at its decay and at its update, and
    /// a small movement does not make that smaller.
    pub fn stored_in_f32(self, steps: u64, largest: f64, moved: f64) -> Bound {
        let rounding = steps as f64 * 2f64.powi(-23) * largest / moved;
        Bound {
            max: if moved > 0.0 {
                self.max.max(rounding)
            } else {
                self.max
            },
            ..self
        }
    }

    /// Whether a result this far away passes; a distance that is not a number does not.
    pub fn admits(&self, distance: Distance) -> bool {
        distance.max <= self.max && distance.frobenius <= self.frobenius
    }
}

/// What kind of arithmetic decides the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Elementwise,
    SingleNorm,
    SingleAverage,
    Matrix,
    InverseRoot,
    SingleFactors,
    Bf16Products,
    Bf16Rows,
    LateScale,
    Bf16Storage,
    Bf16Loop,
}

/// The bound for one quantity of a case.
pub fn bound(case: &Case, precision: Precision, quantity: Quantity) -> Bound {
    let single = precision == Precision::F32 || case.dtype == "float32";
    match (class(case, quantity), single) {
        // One rounding per operation, ten to thirty steps.
        (Class::Elementwise, false) => Bound::element(1e-12),
        // Exact arithmetic differs from the reference's own float32 run by up to 4e-6.
        (Class::Elementwise, true) => Bound::element(1e-5),
        // The reference takes the norm of all gradients in float32.
        (Class::SingleNorm, false) => Bound::element(1e-6),
        // Distributed Shampoo rounds the coefficients of its averages to float32: 1 / t of Schedule-Free, 1 / mu_y of
        // the point of evaluation.
        (Class::SingleAverage, false) => Bound::element(1e-6),
        (Class::SingleAverage, true) => bound_of_matrix(case, single, quantity),
        (Class::SingleNorm, true) => Bound::element(1e-5),
        (Class::Matrix, _) => bound_of_matrix(case, single, quantity),
        // A rank-deficient factor plus eps = 1e-4 or so: float32 knows its smallest eigenvalues, which decide the inverse
        // root, only to 2^-23 of its largest, 10 to 100. The update does not see them: the gradient has no part there.
        (Class::InverseRoot, true) if case.dtype == "float64" => Bound::element(1e-2),
        (Class::InverseRoot, _) => bound_of_matrix(case, single, quantity),
        // eigh and QR in float32 inside a float64 run.
        (Class::SingleFactors, _) => Bound::element(1e-4),
        // The first row of Polar Express has coefficients of 24 and 17 where Keller's has 4.8 and 2.0, so its polynomial
        // is rounded five times as coarsely; the rows behind it take that as far up as Keller's do (4.1 · 3.9 · 3.3 · 2.3
        // beside 3.4⁴). Keller's five rows add their roundings, so two to three times as much in all is expected of this.
        (Class::Bf16Products, _) if polar_express(case) => Bound {
            max: 0.2,
            frobenius: 0.15,
        },
        // Eight bits of mantissa and another order of summation in every product, which the iteration amplifies about
        // tenfold: up to 0.06 in norm after the first step of a 4 × 9 matrix. The exact cases judge the algorithm.
        (Class::Bf16Products, _) => Bound {
            max: 0.1,
            frobenius: 0.08,
        },
        // The same with the rows of Polar Express, and then each row over its own size: the recorded run itself is 0.16
        // (parameters) and 0.29 (squares) away from exact arithmetic.
        (Class::Bf16Rows, _) if !matches!(quantity, Quantity::State(_)) => Bound::element(0.25),
        (Class::Bf16Rows, _) => Bound::element(0.4),
        // NorMuon of a fused matrix scales each part after 1e-8 was added to its rows' sizes, the reference before it.
        (Class::LateScale, false) => Bound::element(1e-7),
        (Class::LateScale, true) => Bound::element(1e-4),
        // Every stored value has eight bits; arithmetic is rounded once, at the store, as in LibTorch's fused kernel.
        (Class::Bf16Storage, _) => Bound::element(0.05),
        // LibTorch's loop rounds after each operation, so it differs from its own fused kernel by this much.
        (Class::Bf16Loop, _) => Bound::element(0.25),
    }
}

fn polar_express(case: &Case) -> bool {
    case.option(0, "use_polar_express") == Some(&true.into())
}

/// Whether the problem amplifies a rounding to float32 so far that a run in it says nothing about the rule.
pub fn too_sensitive(case: &Case) -> bool {
    case.dtype == "float64" && 20.0 * single_response(case, Quantity::Param) > MOST
}

/// No distance beyond this is near.
const MOST: f64 = 0.25;

/// Another order of summation and another LAPACK; never below what the problem itself amplifies.
fn bound_of_matrix(case: &Case, single: bool, quantity: Quantity) -> Bound {
    Bound::element(if single {
        // What the problem amplifies further than this says nothing; float64 judges the rule.
        f64::max(1e-4, 20.0 * single_response(case, quantity)).min(MOST)
    } else {
        f64::max(1e-10, 100.0 * response(case, quantity))
    })
}

fn class(case: &Case, quantity: Quantity) -> Class {
    let work = mapping::work(case);
    match () {
        () if case.dtype == "bfloat16" && !case.name.starts_with("fused") => Class::Bf16Loop,
        () if case.dtype == "bfloat16" => Class::Bf16Storage,
        () if case
            .option(0, "max_grad_norm")
            .is_some_and(|norm| *norm != 0.0) =>
        {
            Class::SingleNorm
        }
        () if has_single_average(case, quantity) => Class::SingleAverage,
        () if work == Work::Elementwise => Class::Elementwise,
        // The states are averages of gradients, which no product touches, or of the updates.
        () if work == Work::Orthogonalised && is_of_gradients(quantity) => Class::Elementwise,
        () if case.file == "normuon" && !case.exact => Class::Bf16Rows,
        () if case.id() == "normuon/split_exact" => Class::LateScale,
        () if work == Work::Orthogonalised && !case.exact => Class::Bf16Products,
        () if case.dtype == "float64" && case.name.contains("native") => Class::SingleFactors,
        () if matches!(quantity, Quantity::State(name) if name.contains("inv_")) => {
            Class::InverseRoot
        }
        () => Class::Matrix,
    }
}

fn has_single_average(case: &Case, quantity: Quantity) -> bool {
    let averaged =
        case.file == "distributed_shampoo_other" && case.protocol.contains_key("averaging");
    averaged
        && match quantity {
            Quantity::Param => case.name == "schedule_free",
            Quantity::Point => true,
            Quantity::State(_) => false,
        }
}

fn is_of_gradients(quantity: Quantity) -> bool {
    matches!(quantity, Quantity::State(name) if name != "variance_neuron")
}

/// The recorded response to gradients moved by 4 units in the last place.
///
/// A state with a response near 1 has arbitrary columns, which are not compared; the rest of it moves as parameters do.
fn response(case: &Case, quantity: Quantity) -> f64 {
    let param = case.response["param"];
    match quantity {
        Quantity::Param | Quantity::Point => param,
        Quantity::State(name) => {
            let own = case
                .response
                .get(&format!("state {name}"))
                .copied()
                .unwrap_or(0.0);
            if own < 0.1 { own.max(param) } else { param }
        }
    }
}

/// The response in float32: a float64 recording moved its gradients by 2^29 times less.
fn single_response(case: &Case, quantity: Quantity) -> f64 {
    let scale = if case.dtype == "float64" {
        f64::from(1 << 29)
    } else {
        1.0
    };
    response(case, quantity) * scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::load_all;

    #[test]
    fn no_bound_is_vacuous() {
        for case in load_all() {
            for precision in [Precision::F64, Precision::F32] {
                let bound = bound(&case, precision, Quantity::Param);
                assert!(
                    bound.max > 0.0 && bound.max <= MOST,
                    "{}: {bound:?}",
                    case.id()
                );
            }
        }
    }
}
