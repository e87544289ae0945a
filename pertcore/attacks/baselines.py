"""What chance alone does: the figure every attack has to beat."""

from __future__ import annotations

import numpy as np

from pertcore.attacks.registry import register
from pertcore.attacks.starts import on_sphere
from pertcore.oracle import Array
from pertcore.result import Status
from pertcore.solvers.descent import restarted
from pertcore.solvers.problem import Problem


@register("random", at_x=False, blind=True, device=True)
def random(problem: Problem, *, restarts: int = 1) -> tuple[Array, Array]:
    """Baseline random-l_p: signs times eps for p = inf, a normalised Gaussian for p = 2."""

    def once(part: Problem, restart: int) -> tuple[Array, Array]:
        part.report(restart + 1, restarts, len(part))
        status = np.full_like(part.index, int(Status.MAX_STEPS), dtype=np.int8)
        return on_sphere(part, restart), status

    return restarted(problem, once, restarts)
