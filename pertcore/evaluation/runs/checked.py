"""What the first block of a run would refuse, refused before anything is written."""

from __future__ import annotations

from typing import Any

import numpy as np

from pertcore.attacks.registry import Attack, find
from pertcore.evaluation.curve import checked_budgets, checked_once, prepared
from pertcore.evaluation.robustness import check_task, limits
from pertcore.oracle import Oracle

# kind of a run -> the attack that it takes where none is named
DEFAULTS = {"attack": "alg1", "curve": "alg1", "robustness": "deepfool"}


def check(kind: str, oracle: Oracle, x: Any, y: Any, settings: dict[str, Any]) -> None:
    """x, y: of a few samples; settings: those of `pertcore.attack`, `curve` or `robustness`.

    Raises InputError or CapabilityError for a wrong call; runs no model.
    """
    own = {"attack": DEFAULTS[kind], "norm": "inf", **settings}
    name = own.pop("attack")
    row = name if isinstance(name, Attack) else find(name)
    own.pop("rng", None)
    if kind == "attack":
        own.pop("evaluate_on", None)
        prepared(row, oracle, x, y, own.pop("eps", None), own)
        return
    budgets = np.zeros(1)
    if kind == "curve":
        budgets = checked_budgets(own.pop("eps", None))
    else:
        limits(own.pop("tolerance", 0.05), own.pop("largest", None))
    given = checked_once(row, oracle, x, y, budgets, own)
    if kind == "robustness":
        check_task(given)
