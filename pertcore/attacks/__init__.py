"""Attacks as functions: `pertcore.attacks.pgd(oracle, x, y, eps=8/255)`; one module a family."""

from __future__ import annotations

from typing import Any

from pertcore.attacks import (  # noqa: F401  (they register)
    adaptive,
    baselines,
    black_box,
    gradient,
    minimum_norm,
    pixels,
    regression,
    staged,
)
from pertcore.attacks.registry import ATTACKS


def __getattr__(name: str) -> Any:
    attack = ATTACKS.get(name.replace("_", "-"))
    if attack is None:
        raise AttributeError(
            f"pertcore.attacks has no attack {name!r}; it has {', '.join(ATTACKS)}"
        )
    return attack


def __dir__() -> list[str]:
    return [name.replace("-", "_") for name in ATTACKS]
