"""How far a CUDA kernel may be from the Numba version, in units of the last place (ulps).

Rows for p = inf and rows that the catalogue says are equal: the same bits. Others: 2 ulps, of a
row's largest entry. BOUNDS has the exceptions, each seen on the cases of the catalogue, with g++'s
libm in the place of CUDA's. Fused multiply-adds are not among the causes: no figure changes where
g++ may form them.
"""

from __future__ import annotations

from pertcore.kernels.catalogue import ROWS

USUAL = 2

LEFT_OVER = "one entry gets what is left of the budget, less a sum that has its own order here"
SUM = "a sum has its own order here, and what is left between it and the budget is scaled up"
POWERS = "Numba takes powers by its own logarithm and exponential, within 2 ulps each"
SINGLE_POWERS = (
    "powers are float32 in both; what the open entries may spend, 1 - S with S near 1, makes their "
    "rounding large (with float64 powers here: 2 from the definition, and Numba is 26 from it)"
)
JUDGED = "Numba judges by a norm that is up to 4e-6 too large; this version equals the definition"
SINGLE_SUMS = "Numba sums in float32, this version in float64"
ITERATED = "many steps, each from the one before: the orders of the sums move apart"
STOPPED = "both stop where the norm is within 1e-12 of eps"

BOUNDS: dict[tuple[str, str], tuple[float, str]] = {
    ("lmo_box_1", "float64"): (8, LEFT_OVER),
    ("hyperplane_1", "float64"): (8, LEFT_OVER),
    ("project_1", "float64"): (8, SUM),
    ("lmo_box_2", "float64"): (4, SUM),
    ("dual_step_p", "float64"): (4, POWERS),
    ("lmo_box_p", "float32"): (16, SINGLE_POWERS),
    ("lmo_box_p", "float64"): (8, SUM),
    ("hyperplane_p", "float64"): (4, SUM),
    ("finish_p", "float32"): (68, JUDGED),
    ("finish_p", "float64"): (16, POWERS),
    ("project_box_p", "float64"): (4500, STOPPED),
    ("random_ball", "float64"): (4, POWERS),
    ("random_sphere", "float64"): (8, POWERS),
    ("reorthogonalise", "float32"): (8, SINGLE_SUMS),
    ("reorthogonalise", "float64"): (8, SUM),
    ("mixing", "float32"): (1024, SINGLE_SUMS),
    ("mixing", "float64"): (512, ITERATED),
    ("gram_mixing", "float32"): (8, SINGLE_SUMS),
    ("gram_mixing", "float64"): (16, ITERATED),
    ("cone_ascent", "float32"): (32, SINGLE_SUMS),
    ("cone_ascent", "float64"): (32, ITERATED),
    ("subset_exact", "float32"): (4, "the value is summed from the Gram matrix in its own order"),
    ("subset_exact", "float64"): (4, "the value is summed from the Gram matrix in its own order"),
}


def allowed(name: str, dtype: str) -> float:
    """The bound of kernel `name` for data of this dtype."""
    if name.endswith("_inf") or ROWS[name].ulps == 0:
        return 0
    return BOUNDS.get((name, dtype), (USUAL, ""))[0]
