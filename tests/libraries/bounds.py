"""How near a rule must come to a library's optimizer: the only table of tolerances, each with its reason.

A distance is the largest difference of two elements of a parameter over how far the parameter has moved.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

# Half the distance from 1 to the next number.
ROUNDING = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.bfloat16: 2.0**-9}


@dataclass(frozen=True)
class Bound:
    double: float
    single: float

    def at(self, dtype: torch.dtype, step: int, largest: float) -> float:
        """A parameter that moved little still rounds at each step: at its decay, at its update and at an average."""
        fixed = self.double if dtype == torch.float64 else self.single
        return max(fixed, 4 * step * ROUNDING[dtype] * largest)


# Some ten roundings in each of sixteen steps, divided by square roots that stay away from zero.
ELEMENTWISE = Bound(1e-12, 2e-5)

# The library keeps learning rates, betas, masks or sums in float32 whatever the parameter's dtype is: 2^-24 of each, and
# of a parameter that is a hundred times as large as its first movement.
SINGLE_NUMBERS = Bound(1e-5, 2e-5)

# The library adds a constant of its own where rule and paper have none: 1e-15 under a root, 1e-8 to a norm or to a beta.
OWN_CONSTANT = Bound(1e-4, 1e-4)

# Another LAPACK and another order of summation, amplified by inverse roots of factors whose smallest eigenvalues are
# a thousandth of their largest.
MATRIX = Bound(1e-9, 1e-3)

# The library factorizes, or solves with triangles, in float32 inside of a float64 run.
SINGLE_FACTORS = Bound(1e-5, 1e-3)

# Products in bf16: eight bits of mantissa, which the iteration amplifies about tenfold.
BF16_PRODUCTS = Bound(0.1, 0.1)

# The parameter itself has eight bits; arithmetic is in float32 on both sides and is rounded once.
BF16_STORAGE = Bound(1e-2, 1e-2)

# Eight steps of Polar Express take singular values above a thousandth of the norm to 1 within this.
POLAR = Bound(1e-4, 1e-4)
