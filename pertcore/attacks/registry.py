"""One row an attack: the function, the CLI name, the docs table and the tests all read it here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pertcore.attacks.options import checked
from pertcore.errors import InputError
from pertcore.oracle import Array, Oracle
from pertcore.result import AttackResult, Certificate, Stage

# (problem, linearisation at x, **options) -> points (n, d), status (n,) and, where it has one, a
# certificate, or its stages; a recipe registered with at_x=False takes the problem alone.
Recipe = Callable[
    ...,
    tuple[Array, Array] | tuple[Array, Array, Certificate] | tuple[Array, Array, tuple[Stage, ...]],
]
# A decorated recipe keeps its own type.
Own = TypeVar("Own", bound=Recipe)


@dataclass(frozen=True)
class Attack:
    """A named recipe with its options; call it like a function.

    `options` maps the recipe's own keyword options to their defaults. `at_x`: the first
    linearisation is at x itself, so the one that gave the clean prediction is used for it.
    `minimum_norm`: eps may be left out. `subset`: works on a partition, with p = inf only.
    `blind`: asks for no derivative. `own_loss`: the loss of a recipe without an option for it.
    `regression`: without y the task is a regression, whatever the outputs look like. `aims`: it
    can go for a target, not only away from y. `tangents`: asks for J u beside J^T v. `counts`: also
    takes norm = 0, the number of changed features. `device`: its steps run where x lies.
    """

    name: str
    summary: str
    recipe: Recipe
    options: dict[str, Any]
    at_x: bool = True
    minimum_norm: bool = False
    subset: bool = False
    blind: bool = False
    own_loss: str | None = None
    regression: bool = False
    aims: bool = True
    tangents: bool = False
    counts: bool = False
    device: bool = False

    def __call__(self, oracle: Oracle, x: Any, y: Any = None, **settings: Any) -> AttackResult:
        """The same as `pertcore.attack(oracle, x, y, attack=<this name>, ...)`."""
        from pertcore.attacks.run import attack

        return attack(oracle, x, y, attack=self.name, **settings)

    def checked(self, given: dict[str, Any]) -> dict[str, Any]:
        """The options given, merged over the defaults; InputError for one it does not have."""
        unknown = sorted(set(given) - set(self.options))
        if unknown:
            raise InputError(
                f"{unknown[0]}={given[unknown[0]]!r}: attack {self.name!r} has no such option; "
                f"it has {', '.join(sorted(self.options)) or 'none'}"
            )
        return {**self.options, **checked(given)}


ATTACKS: dict[str, Attack] = {}


def register(name: str, **traits: Any) -> Callable[[Own], Own]:
    """Add a recipe to the registry; its first docstring line is its summary."""

    def add(recipe: Own) -> Own:
        parameters = inspect.signature(recipe).parameters.values()
        options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        summary = inspect.getdoc(recipe) or ""
        ATTACKS[name] = Attack(name, summary.split("\n")[0], recipe, options, **traits)
        return recipe

    return add


def find(name: Any) -> Attack:
    """The attack of that name, with - or _; InputError with all names otherwise."""
    name = name.replace("_", "-") if isinstance(name, str) else name
    if name not in ATTACKS:
        raise InputError(f"attack={name!r}: allowed are {', '.join(ATTACKS)}")
    return ATTACKS[name]
