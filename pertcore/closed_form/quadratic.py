"""max norm_2(J eta)^2 over norm_inf(eta) <= eps on stored columns: signs, bounds, subsets.

(12) and (17) of Balda et al. with `columns` = J^T, see `quadratic_signs` for their form.
"""

from __future__ import annotations

from pertcore.closed_form.quadratic_bounds import dual_bound, dual_weights
from pertcore.closed_form.quadratic_cones import ENOUGH, cone_bound
from pertcore.closed_form.quadratic_search import best_signs, certified_signs
from pertcore.closed_form.quadratic_signs import (
    column_norms,
    greedy_signs,
    hyperplane_round,
    mixing,
    one_opt,
    sign_ascent,
)
from pertcore.closed_form.quadratic_subsets import (
    best_subset_quadratic,
    enumerate_subset,
    subset_signs,
)

__all__ = [
    "ENOUGH",
    "best_signs",
    "best_subset_quadratic",
    "certified_signs",
    "column_norms",
    "cone_bound",
    "dual_bound",
    "dual_weights",
    "enumerate_subset",
    "greedy_signs",
    "hyperplane_round",
    "mixing",
    "one_opt",
    "sign_ascent",
    "subset_signs",
]
