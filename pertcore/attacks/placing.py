"""Where an attack computes: on the device of x, or on the CPU, which is said."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pertcore.arrays import as_cupy, as_numpy, beside, lies_on_device
from pertcore.attacks.registry import Attack
from pertcore.constraints import Ball, Box
from pertcore.errors import BackendError
from pertcore.oracle import Oracle


def brought(
    x: Any, attack: Attack, oracle: Oracle, numpy_only: Iterable[str]
) -> tuple[Any, Any, list[str]]:
    """x as the attack takes it, the function that turns results back to its kind, and warnings.

    x stays on its device where every step of the attack, the model's and those between, runs
    there. `numpy_only`: what the caller uses that cannot.
    """
    if not lies_on_device(x):
        return *as_numpy(x, "x"), []
    why = _hindrance(attack, oracle, list(numpy_only))
    if not why:
        try:
            return *as_cupy(x, "x"), []
        except BackendError as error:
            why = str(error)
    note = f"x lies on a device and the steps run on the CPU, every one copied to and fro: {why}"
    return *as_numpy(x, "x"), [note]


def _hindrance(attack: Attack, oracle: Oracle, numpy_only: list[str]) -> str:
    if not attack.device:
        return f"attack {attack.name!r} has no version for a device"
    if numpy_only:
        return f"{numpy_only[0]} works on NumPy arrays"
    if "device" not in oracle.capabilities:
        return "the model takes NumPy arrays"
    return ""


def ball_beside(x: Any, ball: Ball) -> Ball:
    """The ball with its budgets where x lies."""
    return Ball(ball.norm, beside(x, ball.eps))


def box_beside(x: Any, box: Box) -> Box:
    """The box with its bounds, where they are arrays, where x lies."""
    return Box(beside(x, box.lo), beside(x, box.hi))
