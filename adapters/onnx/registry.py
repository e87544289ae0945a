"""Which operator has a derivative rule, which is zero by nature; every other one is unknown.

A rule is written in one of five forms: `elementwise` and `reductions` take tables of formulas,
`vjp` and `jvp` decorate functions for everything else, `lower` those that write an operator in
others, `zero` lists what has no derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pertcore.errors import CapabilityError

Fact = Literal["rule", "zero", "unknown"]
Formula = Callable[..., Any]
# A domain of ONNX's operators in all but the derivative, which is a straight-through estimate.
STRAIGHT = "straight"


@dataclass(frozen=True)
class Rule:
    """The derivative of one operator, both ways.

    `vjp(op, node, *cotangents)` gives a cotangent or None for every input, `jvp(op, node,
    *tangents)` a tangent or None for every output; None stands for zero. `still` lists inputs
    through which no derivative flows. `since` is the opset the rule is written for.
    """

    op: str
    vjp: Formula | None = None
    jvp: Formula | None = None
    still: frozenset[int] = frozenset()
    since: int = 1

    def passes(self, index: int) -> bool:
        return index not in self.still


RULES: dict[tuple[str, str], Rule] = {}
LOWERED: dict[tuple[str, str], Formula] = {}
ZERO: set[tuple[str, str]] = set()


def find(op: str, domain: str = "") -> Rule | None:
    """The rule of an operator, None where it has none."""
    return RULES.get((domain, op))


def fact(op: str, domain: str = "") -> Fact:
    """What is known about an operator: a rule, a zero derivative, or nothing."""
    if (domain, op) in RULES or (domain, op) in LOWERED:
        return "rule"
    return "zero" if (domain, op) in ZERO else "unknown"


def lowering(op: str, domain: str = "") -> Formula | None:
    """How an operator is written in others, None where it stays as it is."""
    return LOWERED.get((domain, op))


def estimate(op: str, domain: str = "") -> Formula | None:
    """How an operator is written in others that have a straight-through estimate."""
    return LOWERED.get((f"{STRAIGHT}.{domain}" if domain else STRAIGHT, op))


def lower(names: str, *, domain: str = "") -> Callable[[Formula], Formula]:
    """Registers `function(op, node) -> outputs`: the operator written in others that have rules,
    when the model is emitted; None keeps the node as it is."""

    def add(function: Formula) -> Formula:
        LOWERED.update({(domain, name): function for name in names.split()})
        return function

    return add


def zero(names: str, *, domain: str = "") -> None:
    """Declares operators (blank-separated) whose derivative is zero wherever it exists."""
    ZERO.update((domain, name) for name in names.split())


def vjp(names: str, *, still: Sequence[int] = (), domain: str = "") -> Callable[[Formula], Formula]:
    """Registers `function(op, node, *cotangents) -> [cotangent or None for each input]`."""

    def add(function: Formula) -> Formula:
        for name in names.split():
            _extend(domain, name, vjp=function, still=frozenset(still))
        return function

    return add


def jvp(names: str, *, domain: str = "") -> Callable[[Formula], Formula]:
    """Registers `function(op, node, *tangents) -> tangent of the output, or one for each`."""

    def add(function: Formula) -> Formula:
        for name in names.split():
            _extend(domain, name, jvp=function)
        return function

    return add


def _extend(domain: str, name: str, **parts: Any) -> None:
    rule = RULES.get((domain, name), Rule(name))
    doubled = [key for key in parts if key != "still" and getattr(rule, key) is not None]
    if doubled:
        raise ValueError(f"two rules ({doubled[0]}) for {name}")
    RULES[domain, name] = replace(rule, **parts)


def elementwise(table: Mapping[str, Formula | Sequence[Formula | None]]) -> None:
    """Registers operators that act entry by entry, with broadcasting.

    The entry for input i is `formula(op, node, t)`: the partial derivative times t, linear in t,
    None where no derivative flows. It serves both ways, since a diagonal map is its transpose.
    """
    for name, entry in table.items():
        formulas = entry if isinstance(entry, Sequence) else (entry,)
        still = frozenset(i for i, formula in enumerate(formulas) if formula is None)
        _register_partials(name, _by_position(formulas), still)


def elementwise_each(table: Mapping[str, Formula]) -> None:
    """As `elementwise`, for any number of inputs: `formula(op, node, t, i)` for input i."""
    for name, formula in table.items():
        _register_partials(name, formula, frozenset())


def _by_position(formulas: Sequence[Formula | None]) -> Formula:
    def partial(op: Any, n: Any, t: Any, index: int) -> Any:
        formula = formulas[index] if index < len(formulas) else None
        if formula is None:
            raise refusal(n, index)
        return formula(op, n, t)

    return partial


def _register_partials(name: str, partial: Formula, still: frozenset[int]) -> None:
    def backward(op: Any, n: Any, g: Any, *_: Any) -> Any:
        wanted = [i for i in range(len(n.i)) if n.wants(i) and i not in still]
        found = {i: op.sum_to(partial(op, n, g, i), n.i[i].shape) for i in wanted}
        return [found.get(i) for i in range(len(n.i))]

    def ahead(op: Any, n: Any, *tangents: Any) -> Any:
        total = None
        for i, t in enumerate(tangents):
            if t is not None and i not in still:
                term = partial(op, n, op.align(t, n.i[i].shape, n.y.rank), i)
                total = term if total is None else total + term
        return None if total is None else op.expand(total, n.y.shape)

    _extend("", name, vjp=backward, still=still)
    _extend("", name, jvp=ahead)


def reductions(table: Mapping[str, Formula]) -> None:
    """Registers reductions over axes: `formula(op, node, y)` is dy/dx for each entry, to be
    broadcast against x, where `y` is the output with the reduced axes kept."""
    for name, formula in table.items():
        _register_reduction(name, formula)


def _register_reduction(name: str, formula: Formula) -> None:
    def backward(op: Any, n: Any, g: Any) -> Any:
        _, kept = n.reduced()
        factor = formula(op, n, op.resized(n.y, kept))
        return op.expand(_times(op.reshape(g, kept), factor), n.x.shape)

    def ahead(op: Any, n: Any, t: Any, *_: Any) -> Any:
        axes, kept = n.reduced()
        factor = formula(op, n, op.resized(n.y, kept))
        return op.reduce_sum(_times(t, factor), axes, keep=n.attr("keepdims", 1))

    _extend("", name, vjp=backward, still=frozenset({1}))
    _extend("", name, jvp=ahead)


def _times(t: Any, factor: Any) -> Any:
    return t if factor is None else t * factor


def refusal(n: Any, index: int) -> CapabilityError:
    """The error of a rule that has no derivative with respect to one of its inputs."""
    return CapabilityError(
        f"{n.kind} {n.node.label or n.node.outputs[0]!r}: no derivative rule for its input "
        f"{index}; finite_differences=True approximates the derivative of the whole model instead"
    )
