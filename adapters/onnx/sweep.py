"""The two sweeps over a primal graph: cotangents backwards, tangents forwards.

They, not the rules, accumulate where a value is used twice and skip what nobody needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pertcore.adapters.onnx import registry
from pertcore.adapters.onnx.bounds import blamed
from pertcore.adapters.onnx.graph import Graph
from pertcore.adapters.onnx.nodes import Node
from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.errors import CapabilityError

ALTERNATIVE = (
    "finite_differences=True approximates their derivative, or that of the whole model, instead"
)


@dataclass(frozen=True)
class Activity:
    """Which values carry a derivative from the inputs to the outputs, and the nodes on the way.

    `passed`: of values that one of these nodes alone reads, and nobody asks for, that node.
    """

    values: set[str]
    nodes: list[Node]
    passed: dict[str, Node]


def analyse(graph: Graph, wrt: Sequence[str], outputs: Sequence[str]) -> Activity:
    """The differentiable part. Raises CapabilityError listing operators without a rule, or those
    that make the gradient zero everywhere."""
    activity, stopped, relevant = _between(graph, wrt, outputs)
    if not any(name in activity.values for name in outputs):
        guilty = [n for n in stopped if any(name in relevant for name in n.outputs)]
        raise CapabilityError(_nothing_flows(guilty, wrt, outputs))
    return activity


def flow(graph: Graph, wrt: Sequence[str], outputs: Sequence[str]) -> Activity:
    """As `analyse`, where it may be that nothing flows."""
    return _between(graph, wrt, outputs)[0]


def _between(
    graph: Graph, wrt: Sequence[str], outputs: Sequence[str]
) -> tuple[Activity, list[Node], set[str]]:
    active, stopped = _reach(graph, wrt)
    relevant = set(outputs)
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if not relevant.isdisjoint(node.outputs):
            if any(name in active and name in relevant for name in node.outputs):
                nodes.append(node)
            relevant.update(node.reads)
    nodes.reverse()
    unknown = [n for n in nodes if registry.fact(n.op, n.domain) == "unknown"]
    if unknown:
        raise CapabilityError(f"no derivative rule for {_listed(unknown)}; {ALTERNATIVE}")
    for node in graph.nodes:
        if not relevant.isdisjoint(node.outputs):
            _check_still(graph, node, active)
    passed = _passed(nodes, (active & relevant).difference(wrt, outputs))
    return Activity(active & relevant, nodes, passed), stopped, relevant


def _passed(nodes: Sequence[Node], values: set[str]) -> dict[str, Node]:
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in values.intersection(node.reads):
            readers.setdefault(name, []).append(node)
    return {name: found[0] for name, found in readers.items() if len(found) == 1}


def _check_still(graph: Graph, node: Node, active: set[str]) -> None:
    """Raises CapabilityError where a rule holds still a number that moves: no shape, no index."""
    rule = registry.find(node.op, node.domain)
    if rule is None:
        return
    for index, name in enumerate(node.reads):
        if name in active and not rule.passes(index) and graph.types[name].floating:
            raise CapabilityError(
                f"no derivative rule for {_listed([node])} with respect to its input {index}; "
                f"{ALTERNATIVE}"
            )


def _reach(graph: Graph, wrt: Sequence[str]) -> tuple[set[str], list[Node]]:
    active, stopped = set(wrt), []
    for node in graph.nodes:
        rule = registry.find(node.op, node.domain)
        flowing = [
            name in active and (rule is None or rule.passes(i)) for i, name in enumerate(node.reads)
        ]
        if not any(flowing):
            continue
        floats = [name for name in node.outputs if graph.types[name].floating]
        if registry.fact(node.op, node.domain) == "zero" or not floats:
            stopped.append(node)
        else:
            active.update(floats)
    return active, stopped


def _nothing_flows(guilty: Sequence[Node], wrt: Sequence[str], outputs: Sequence[str]) -> str:
    if not guilty:
        return f"output {', '.join(outputs)} does not depend on input {', '.join(wrt)}"
    choices = [
        "choose an output before it",
        "finite_differences=True with a step that crosses it",
        "straight_through=True, which estimates the derivative of roundings, signs and "
        "quantisation",
    ]
    if not any(registry.estimate(node.op, node.domain) for node in guilty):
        del choices[2]
    return (
        f"the gradient is identically zero: from {', '.join(wrt)} to {', '.join(outputs)} every "
        f"path leads through {_listed(guilty)}; {', or '.join(choices)}"
    )


def _listed(nodes: Sequence[Node]) -> str:
    found: dict[str, list[str]] = {}
    for node in nodes:
        found.setdefault(f"{node.domain}::{node.op}".removeprefix("::"), []).append(
            node.label or node.outputs[0]
        )
    return ", ".join(
        f"{op} ({', '.join(labels[:3])}{', ...' * (len(labels) > 3)})"
        for op, labels in found.items()
    )


def reverse(
    op: Op, activity: Activity, seeds: Mapping[str, Tensor], wrt: Sequence[str]
) -> list[Tensor | None]:
    """J^T v for the cotangents `seeds` of some values; None where nothing arrives."""
    waiting: dict[str, list[Tensor]] = {name: [seed] for name, seed in seeds.items()}
    for node in reversed(activity.nodes):
        cotangents = [_total(waiting.pop(name, [])) for name in node.outputs]
        if all(cotangent is None for cotangent in cotangents):
            continue
        rule = _rule(node, "vjp")
        view = View(op, node, activity.values, activity.passed)
        with blamed(node.op, node.label):
            found = rule.vjp(op, view, *cotangents)
        for index, (name, cotangent) in enumerate(zip(node.reads, _tuple(found))):
            if cotangent is not None and name in activity.values and rule.passes(index):
                waiting.setdefault(name, []).append(cotangent)
    return [_total(waiting.get(name, [])) for name in wrt]


def forward(
    op: Op, activity: Activity, seeds: Mapping[str, Tensor], outputs: Sequence[str]
) -> list[Tensor | None]:
    """J u for the tangents `seeds` of some values; None where nothing arrives."""
    tangents: dict[str, Tensor] = dict(seeds)
    for node in activity.nodes:
        given = [tangents.get(name) for name in node.reads]
        if all(tangent is None for tangent in given):
            continue
        rule = _rule(node, "jvp")
        view = View(op, node, activity.values, activity.passed)
        with blamed(node.op, node.label):
            made = rule.jvp(op, view, *given)
        moving = [name for name in node.outputs if name in activity.values]
        if moving and node.outputs.index(moving[-1]) >= len(_tuple(made)):
            raise CapabilityError(
                f"no jvp rule for every output of {_listed([node])}; {ALTERNATIVE}"
            )
        for name, tangent in zip(node.outputs, _tuple(made)):
            if tangent is not None:
                tangents[name] = tangent
    return [tangents.get(name) for name in outputs]


def _rule(node: Node, kind: str) -> Any:
    rule = registry.find(node.op, node.domain)
    if rule is None or getattr(rule, kind) is None:
        raise CapabilityError(f"no {kind} rule for {_listed([node])}; {ALTERNATIVE}")
    return rule


def _tuple(found: Tensor | Sequence[Tensor | None] | None) -> Sequence[Tensor | None]:
    return (found,) if isinstance(found, Tensor) or found is None else found


def _total(parts: Sequence[Tensor]) -> Tensor | None:
    if not parts:
        return None
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
