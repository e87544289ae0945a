"""Several results of one model on the same samples: where they contradict each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from pertcore.attacks.registry import find
from pertcore.constraints import parse_eps
from pertcore.errors import InputError
from pertcore.oracle import Array
from pertcore.result import AttackResult


def doubts(results: Sequence[AttackResult]) -> list[str]:
    """Warnings about results of one model on the same samples in the same order, in any norm.

    "accuracy not monotone in eps": an attack fools fewer samples with a larger budget. "black-box
    beat white-box": an attack without gradients fools samples that no attack with gradients fools
    at that budget or a larger one. Results of different norms, targets or minimum-norm attacks are
    not compared. Raises InputError where the numbers of samples differ.
    """
    sizes = {len(r.success) for r in results}
    if len(sizes) > 1:
        raise InputError(f"results have {sorted(sizes)} samples: they must be of the same ones")
    budgeted = [r for r in results if r.settings.get("eps") is not None]
    groups: dict[tuple[object, ...], list[AttackResult]] = {}
    for r in budgeted:
        groups.setdefault((r.settings["norm"], r.settings["targeted"], r.task), []).append(r)
    return [text for group in groups.values() for text in (*_falling(group), *_blind(group))]


def _budget(result: AttackResult) -> Array:
    return parse_eps(result.settings["eps"], len(result.success))


def _falling(group: list[AttackResult]) -> list[str]:
    said = []
    for pair in combinations(group, 2):
        if pair[0].settings["attack"] != pair[1].settings["attack"]:
            continue
        small, large = sorted(pair, key=lambda r: float(_budget(r).sum()))
        if not np.all(_budget(small) <= _budget(large)):
            continue
        fooled = [int(np.count_nonzero(r.success)) for r in (small, large)]
        if fooled[1] < fooled[0]:
            said.append(
                f"accuracy not monotone in eps: {small.settings['attack']} fools {fooled[0]} "
                f"samples at eps={small.settings['eps']} and {fooled[1]} at "
                f"eps={large.settings['eps']}: the larger search is too weak; raise steps or "
                "restarts, or take attack='portfolio'"
            )
    return said


def _blind(group: list[AttackResult]) -> list[str]:
    blind = [r for r in group if find(r.settings["attack"]).blind]
    seeing = [r for r in group if not find(r.settings["attack"]).blind]
    said = []
    for r in blind if seeing else ():
        at_least = [s.success & (_budget(s) >= _budget(r)) for s in seeing]
        comparable = np.any([_budget(s) >= _budget(r) for s in seeing], axis=0)
        alone = int(np.count_nonzero(r.success & comparable & ~np.any(at_least, axis=0)))
        if alone:
            said.append(
                f"black-box beat white-box: {r.settings['attack']} at eps={r.settings['eps']} "
                f"fools {alone} samples that no attack with gradients does: the gradient may be "
                "masked; attack the model without the part that hides it, or raise steps"
            )
    return said
