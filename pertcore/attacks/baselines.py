"""What chance alone does: the figure every attack has to beat."""

from __future__ import annotations

import numpy as np

from pertcore.attacks.registry import register
from pertcore.closed_form import exact, sampling
from pertcore.oracle import Array
from pertcore.result import Status
from pertcore.solvers.descent import DRAWS_PER_RESTART, restarted
from pertcore.solvers.problem import Problem


@register("random", at_x=False)
def random(problem: Problem, *, restarts: int = 1) -> tuple[Array, Array]:
    """Baseline random-l_p: signs times eps for p = inf, a normalised Gaussian for p = 2."""

    def once(part: Problem, restart: int) -> tuple[Array, Array]:
        noise = sampling.random_on_sphere(
            part.keys, restart * DRAWS_PER_RESTART, part.eps, part.norm, part.x.shape[1],
            part.x.dtype,
        )  # fmt: skip
        if part.free is not None:
            noise = noise * part.free
        box = part.box
        points = exact.finish(part.x, part.x + noise, part.eps, part.norm, box.lo, box.hi)
        return points, np.full(len(part), Status.MAX_STEPS, dtype=np.int8)

    return restarted(problem, once, restarts)
