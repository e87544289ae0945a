"""What an option of an attack may be: one check a name, made before any model run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from pertcore.closed_form.losses import LOSSES
from pertcore.constraints import parse_number
from pertcore.errors import InputError
from pertcore.solvers.columns import parse_memory


def whole(name: str, value: Any, least: int) -> int:
    """`value` as an int; InputError unless it is a whole number >= `least`."""
    if isinstance(value, bool) or not hasattr(value, "__int__"):
        raise InputError(f"{name}={value!r}: a whole number >= {least}")
    number = parse_number(value, name)
    if number != math.floor(number) or number < least:
        raise InputError(f"{name}={value!r}: a whole number >= {least}")
    return int(number)


def number(name: str, value: Any, *, above: float = -math.inf, most: float = math.inf) -> float:
    """`value`, a number or text such as "2/255", as a finite float in [above, most]."""
    found = parse_number(value, name)
    if not (math.isfinite(found) and above <= found <= most):
        allowed = (
            f"a finite number >= {above:g}" if most == math.inf else f"in [{above:g}, {most:g}]"
        )
        raise InputError(f"{name}={value!r}: {allowed}")
    return found


def positive(name: str, value: Any) -> float:
    """`value` as a finite float > 0."""
    found = number(name, value, above=0)
    if found == 0:
        raise InputError(f"{name}={value!r}: a number > 0")
    return found


def named_loss(name: str, value: Any) -> Any:
    """A loss of the catalogue or a callable."""
    if callable(value) or value in LOSSES:
        return value
    raise InputError(
        f"{name}={value!r}: allowed are {', '.join(LOSSES)}, or a callable loss(f, y) -> "
        "(value, cotangent)"
    )


def one_of(*allowed: Any) -> Callable[[str, Any], Any]:
    """A check that `value` is one of those."""

    def check(name: str, value: Any) -> Any:
        if value not in allowed:
            raise InputError(f"{name}={value!r}: allowed are {', '.join(map(repr, allowed))}")
        return value

    return check


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "steps": lambda name, value: whole(name, value, 1),
    "restarts": lambda name, value: whole(name, value, 1),
    "classes": lambda name, value: whole(name, value, 1),
    "refine": lambda name, value: whole(name, value, 0),
    "step_size": positive,
    "rel_step_size": positive,
    "dither": lambda name, value: number(name, value, above=0),
    "overshoot": lambda name, value: number(name, value, above=0),
    "tolerance": lambda name, value: number(name, value, above=0),
    "rel_alpha": lambda name, value: number(name, value, above=0, most=1),
    "loss": named_loss,
    "method": one_of("best", "paper"),
    "certify": one_of(True, False),
    "max_memory": lambda _name, value: parse_memory(value),
}


def checked(given: dict[str, Any]) -> dict[str, Any]:
    """The options given, each in its one form; None stands for the default of the attack."""
    return {
        name: CHECKS[name](name, value) if name in CHECKS else value
        for name, value in given.items()
        if value is not None
    }
