"""Does the model answer for its gradient? Signs that a gradient lies, looked for and named."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pertcore.arrays import beside, contiguous, to_host
from pertcore.attacks.slopes import check_slopes
from pertcore.closed_form.norms import row_norms
from pertcore.constraints import Ball, Box
from pertcore.errors import InputError, ModelError
from pertcore.oracle import Array, Oracle
from pertcore.result import Stage, Status
from pertcore.solvers.problem import Goal

PROBED = 8

# How many samples that stand have their gradients looked at.
SLOPES = 4

RANDOM = "random model"

# A standing sample is idle below this share of what ball and box allow.
IDLE = 0.5


def check_model(oracle: Oracle, x: Array, value: Array, goal: Goal) -> list[str]:
    """Warnings from the clean pass (n, *out) and a run or two of at most eight samples.

    Raises InputError for a model whose output ignores the input: nothing can be attacked there.
    """
    warnings = list(getattr(oracle, "notes", ()))
    few, seen = x[:PROBED], value[:PROBED]
    again = oracle(few)
    scale = float(np.abs(seen).max()) + 1e-12
    if np.all(value == value[:1]):
        _refuse_constant(oracle, few, value[:1])
    if goal.task == "classification":
        scores = goal.scores(value)
        warnings += _saturated(scores.reshape(-1, scores.shape[-1]), goal.decision)
    if np.all(np.isfinite(seen)) and float(np.abs(again - seen).max()) > 1e-3 * scale:
        warnings.append(
            f"{RANDOM}: it gave another answer to the same input: it draws random numbers, or "
            "its derivative graph differs from its forward pass; single runs are not to be trusted",
        )
    if "exact" not in oracle.capabilities:
        warnings.append("approximated derivatives: the attack may be weaker than it could be")
    return warnings


def _refuse_constant(oracle: Oracle, few: Array, answer: Array) -> None:
    rng = np.random.default_rng(0)
    reach = 1 + 2 * float(np.abs(few).max())
    moved = beside(few, reach * rng.standard_normal((PROBED, *few.shape[1:])))
    far = (few[:1] + moved).astype(few.dtype)
    try:
        constant = bool(np.all(oracle(far) == answer))
    except ModelError:
        return  # it looks at its input closely enough to fail on it
    if constant:
        raise InputError(
            "the model's output ignores its input: every sample and every random probe gave the "
            "same values; check that the right input and output are chosen and that the file "
            "holds trained weights"
        )


def _saturated(scores: Array, decision: float) -> list[str]:
    inside = bool(np.all((scores >= 0) & (scores <= 1)))
    if scores.shape[1] == 1 and inside and decision == 0:
        return [
            "probability output: the single output lies in [0, 1], and the class boundary is "
            "at decision=0 unless you say decision=0.5"
        ]
    if scores.shape[1] > 1 and inside and np.allclose(scores.sum(axis=1), 1, atol=1e-3):
        return [
            "softmax outputs: they sum to 1, and probabilities saturate and hide gradients; attack "
            "the logits, or use loss='margin'"
        ]
    return []


def check_standing(oracle: Oracle, x: Array, status: Array) -> list[str]:
    """Warnings about the gradients at x (n, *in) of four samples, at most, that were not fooled.

    Where everybody is fooled no gradient is in doubt, and nothing is spent. Left out, too, where
    derivatives are not exact or J^T v is put together from many other products.
    """
    stands = (status == Status.MAX_STEPS) | (status == Status.NOT_ADVERSARIAL)
    few = np.flatnonzero(stands)[:SLOPES]
    cheap = getattr(oracle, "prices", (1.0, 1.0))[1] == 1
    if not len(few) or not cheap or not {"exact", "vjp"} <= oracle.capabilities:
        return []
    return check_slopes(oracle, contiguous(x[beside(x, few)]))


def check_statuses(status: Array) -> list[str]:
    """Warnings about samples whose gradient was zero or not finite, from statuses (n,)."""
    n = max(len(status), 1)
    counts = {s: int(np.count_nonzero(status == s)) for s in Status}
    warnings = []
    if counts[Status.ZERO_GRADIENT]:
        warnings.append(
            f"zero gradient: exactly zero for {counts[Status.ZERO_GRADIENT]} of {n} samples: "
            "they may look robust only because the attack cannot see; try loss='margin', logits, "
            "restarts, or a dither"
        )
    if counts[Status.NONFINITE]:
        warnings.append(
            "not finite: the model or its gradient was NaN or infinite for "
            f"{counts[Status.NONFINITE]} of {n} samples: check the input scale"
        )
    return warnings


def check_stages(stages: Sequence[Stage]) -> list[str]:
    """A warning where attacks without gradients fooled what those with gradients had left."""
    blind = [stage for stage in stages if not stage.calls.vjp and not stage.calls.jvp]
    fooled = sum(stage.fooled for stage in blind)
    if not fooled or len(blind) == len(stages):
        return []
    names = ", ".join(stage.name for stage in blind if stage.fooled)
    return [
        f"black-box beat white-box: {names} fooled {fooled} samples that the attacks with "
        "gradients could not: the gradient may be masked; attack the model without the part that "
        "hides it, or raise the steps of the portfolio"
    ]


def check_budget(
    norms: Array, status: Array, x: Array, ball: Ball, box: Box, free: Array | None
) -> list[str]:
    """A warning where most samples that stand moved less than half as far as they may.

    norms, status (n,); x (n, d); `free` None or a mask (1, d) or (n, d), 0 where frozen. What a
    sample may is the smaller of eps and the norm of the way to the farthest corner of the box.
    """
    stands = (status == Status.MAX_STEPS) | (status == Status.NOT_ADVERSARIAL)
    # A budget below the spacing of x's numbers cannot be used.
    eps, largest = to_host(ball.eps), to_host(np.abs(x).max(axis=1))
    stands &= eps > 2 * np.spacing(largest)
    wide = x.astype(np.float64)
    room = np.maximum(box.hi - wide, wide - box.lo)
    if free is not None:
        room = np.where(free != 0, room, 0)
    allowed = np.minimum(eps, to_host(row_norms(contiguous(room), ball.norm)))
    idle = int(np.count_nonzero(stands & (norms < IDLE * allowed)))
    if 2 * idle <= np.count_nonzero(stands):
        return []
    return [
        f"budget not used: {idle} of {int(stands.sum())} samples that were not fooled moved less "
        "than half of what eps and bounds allow; raise steps or step_size"
    ]
