"""Scan, Loop and If: the inner graph is differentiated as a function, and a Scan or If rebuilt.

States of every step are kept as one more stacked output of the node. The pullback of a Scan or
Loop is a Scan in the other direction over them: each step is computed again and pulled back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pertcore.adapters.onnx import sweep
from pertcore.adapters.onnx.nodes import Body, Node, Type
from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import jvp, vjp

FORWARD, BACKWARD = 0, 1


@dataclass(frozen=True)
class Slices:
    """A tensor that is read, or written, one slice a step."""

    tensor: Tensor
    axis: int = 0
    direction: int = FORWARD


@dataclass(frozen=True)
class Steps:
    """A Scan or Loop in one form: step(states, slices) -> states, outputs."""

    node: Node
    body: Body
    states: list[Tensor]
    slices: list[Slices]
    trace: Callable[[Any, Sequence[str], Sequence[str]], Sequence[str]]
    axes: list[int]
    directions: list[int]
    first: int


def inner(op: Op, kinds: Sequence[Type], function: Callable[..., Sequence[Tensor]]) -> Body:
    """A body with inputs of these types, written by `function(op, *tensors)`."""

    def trace(graph: Any, names: Sequence[str]) -> list[str]:
        builder = Op(graph, op.lead)
        return [t.name for t in function(builder, *map(builder.tensor, names))]

    return traced(op.graph, kinds, trace)


def traced(graph: Any, kinds: Sequence[Type], trace: Callable[..., Sequence[str]]) -> Body:
    """A body with inputs of these types, written by `trace(graph, names)`."""
    body = graph.child(inner=True)
    names = [body.input(body.fresh("in"), kind.dtype, kind.shape) for kind in kinds]
    return Body(trace, body, list(trace(body, names)))


def emit_scan(
    op: Op,
    step: Callable[..., Sequence[Tensor]],
    states: Sequence[Tensor],
    slices: Sequence[Slices],
    outputs: Sequence[tuple[int, int]],
) -> list[Tensor]:
    """A Scan of step(op, *states, *slices) -> states, outputs; `outputs`: axis and direction."""
    kinds = [op.graph.types[state.name] for state in states]
    kinds += [_slice_type(s) for s in slices]
    body = inner(op, kinds, step)
    made = op.graph.emit(
        "Scan",
        [*(t.name for t in states), *(s.tensor.name for s in slices)],
        {
            "body": body,
            "num_scan_inputs": len(slices),
            "scan_input_axes": [s.axis for s in slices],
            "scan_input_directions": [s.direction for s in slices],
            "scan_output_axes": [axis for axis, _ in outputs],
            "scan_output_directions": [direction for _, direction in outputs],
        },
        outputs=len(states) + len(outputs),
    )
    return [op.tensor(name) for name in made]


def _slice_type(s: Slices) -> Type:
    shape = list(s.tensor.shape)
    del shape[s.axis]
    return Type(s.tensor.dtype, tuple(shape))


# Scan and Loop


@vjp("Scan Loop")
def steps_vjp(op: Op, n: View, *cotangents: Tensor | None) -> list[Tensor | None]:
    s = _steps(op, n)
    stacks = [Slices(stack, 0, BACKWARD) for stack in _stacks(op, s)]
    moving = [i for i, t in enumerate(s.states) if t.dtype.kind == "f"]
    active = [i for i in _read(n, s) if n.wants(s.first + i)]
    captured = [name for name in n.node.captures if _wanted(n, name)]
    count = len(s.states)
    ends = [_or_zeros(op, cotangents[i], s.states[i]) for i in moving]
    sums = [op.zeros(op.tensor(name).shape, op.tensor(name).dtype) for name in captured]
    given = [i for i, g in enumerate(cotangents[count : s.body.width]) if g is not None]
    lead = 0 if op.lead is None else 1
    slices = [*stacks, *(Slices(q.tensor, q.axis, 1 - q.direction) for q in s.slices)]
    for i in given:
        g: Any = cotangents[count + i]
        slices.append(Slices(g, s.axes[i] + lead, 1 - s.directions[i]))

    def step(inner_op: Op, *names: Tensor) -> list[Tensor]:
        sizes = (len(ends), len(sums), count, len(s.slices), len(given))
        after, totals, states, pieces, seeds = _cut(names, *sizes)
        made = s.trace(inner_op.graph, _names(states), _names(pieces))
        wrt = [*(states[i].name for i in moving), *(pieces[i].name for i in active), *captured]
        pairs = [*zip((made[i] for i in moving), after, strict=True)]
        pairs += zip((made[count + i] for i in given), seeds, strict=True)
        found = _pulled(inner_op, pairs, wrt)
        back, rest = found[: len(moving)], found[len(moving) :]
        per_slice, kept = rest[: len(active)], rest[len(active) :]
        grown = [total + more for total, more in zip(totals, kept, strict=True)]
        return [*back, *grown, *per_slice]

    written = [(s.slices[i].axis + lead, 1 - s.slices[i].direction) for i in active]
    made = emit_scan(op, step, [*ends, *sums], slices, written)
    found: dict[str | int, Tensor] = {
        s.first - count + i: made[place] for place, i in enumerate(moving)
    }
    found.update(zip(captured, made[len(ends) :], strict=False))
    found.update(zip((s.first + i for i in active), made[len(ends) + len(sums) :], strict=True))
    return _by_place(n, found)


@jvp("Scan Loop")
def steps_jvp(op: Op, n: View, *tangents: Tensor | None) -> list[Tensor | None]:
    s = _steps(op, n)
    count, at = len(s.states), s.first - len(s.states)
    moving = [i for i, t in enumerate(s.states) if t.dtype.kind == "f"]
    starts = [_or_zeros(op, tangents[at + i], s.states[i]) for i in moving]
    active = [i for i in _read(n, s) if tangents[s.first + i] is not None]
    inputs = len(n.node.inputs)
    captured = {
        name: t for name, t in zip(n.node.captures, tangents[inputs:], strict=True) if t is not None
    }
    lead = 0 if op.lead is None else 1
    slices = [*(Slices(stack) for stack in _stacks(op, s)), *s.slices]
    for i in active:
        t: Any = tangents[s.first + i]
        q = s.slices[i]
        slices.append(Slices(t, q.axis + lead, q.direction))
    outputs = range(count, s.body.width - (n.kind == "Loop"))
    floats = [i for i in outputs if n.o[i].dtype.kind == "f"]

    def step(inner_op: Op, *names: Tensor) -> list[Tensor]:
        before, states, pieces, seeds = _cut(names, len(starts), count, len(s.slices), len(active))
        made = s.trace(inner_op.graph, _names(states), _names(pieces))
        given = {states[i].name: t for i, t in zip(moving, before, strict=True)}
        given.update({pieces[i].name: t for i, t in zip(active, seeds, strict=True)})
        wanted = [made[i] for i in (*moving, *floats)]
        return _pushed(inner_op, {**given, **_here(inner_op, captured)}, wanted)

    written = [(s.axes[i - count] + lead, s.directions[i - count]) for i in floats]
    made = emit_scan(op, step, starts, slices, written)
    found: dict[int, Tensor] = dict(zip([*moving, *floats], made, strict=True))
    return [found.get(i) for i in range(len(n.node.outputs))]


def _steps(op: Op, n: View) -> Steps:
    body: Body = n.node.attrs["body"]
    inputs = [op.tensor(name) if name else None for name in n.node.inputs]
    if n.kind == "Loop":
        states = [t for t in inputs[2:] if t is not None]

        def trace(graph: Any, names: Sequence[str], pieces: Sequence[str]) -> Sequence[str]:
            going = graph.constant(np.array(True))
            return body.trace(graph, [pieces[0], going, *names])[1:]

        outputs = body.width - 1 - len(states)
        turns = Slices(op.tensor(_stack(op, n.node, body, -1, 0)))
        zeros = [0] * outputs
        return Steps(n.node, body, states, [turns], trace, zeros, zeros, len(inputs))
    count = len(inputs) - n.attr("num_scan_inputs")
    read = _normal(n.attr("scan_input_axes"), [t.rank for t in inputs[count:]])  # type: ignore
    ways = n.attr("scan_input_directions") or [0] * len(read)
    slices = [Slices(t, a, w) for t, a, w in zip(inputs[count:], read, ways, strict=True)]  # type: ignore
    made = n.o[count : body.width]
    axes = _normal(n.attr("scan_output_axes"), [t.rank for t in made])
    out_ways = list(n.attr("scan_output_directions") or [0] * len(made))[: len(made)]

    def trace_scan(graph: Any, names: Sequence[str], pieces: Sequence[str]) -> Sequence[str]:
        return body.trace(graph, [*names, *pieces])

    return Steps(n.node, body, inputs[:count], slices, trace_scan, axes, out_ways, count)  # type: ignore


def _normal(axes: Sequence[int] | None, ranks: Sequence[int]) -> list[int]:
    given = list(axes or [0] * len(ranks))[: len(ranks)]
    return [axis % rank for axis, rank in zip(given, ranks, strict=True)]


def _stacks(op: Op, s: Steps) -> list[Tensor]:
    """Every state before every step, stacked."""
    loop = s.node.op == "Loop"
    return [
        op.tensor(_stack(op, s.node, s.body, i, i + 2 if loop else i)) for i in range(len(s.states))
    ]


def _stack(op: Op, node: Node, body: Body, key: int, place: int) -> str:
    """One input of the body as one more stacked output of the node."""
    if key not in body.stacks:
        name = body.graph.inputs[place]
        kind = op.graph.types[name]
        body.outputs.append(name)
        for attr in ("scan_output_axes", "scan_output_directions"):
            if node.attrs.get(attr):
                node.attrs[attr] = [*node.attrs[attr], 0]
        steps = _count(op, node, body)
        body.stacks[key] = op.graph.extend(node, Type(kind.dtype, (steps, *(kind.shape or ()))))
    return body.stacks[key]


def _count(op: Op, node: Node, body: Body) -> Any:
    """The number of steps: of the sequence that is read, or of another stack."""
    if node.op == "Scan":
        states = len(node.inputs) - node.attrs["num_scan_inputs"]
        axes = node.attrs.get("scan_input_axes") or [0]
        return (op.graph.types[node.inputs[states]].shape or ())[axes[0]]
    stacked = list(body.stacks.values())
    if not stacked:
        from pertcore.adapters.onnx.symbolic import symbol

        return symbol(f"?{next(op.graph.numbers)}")
    return (op.graph.types[stacked[0]].shape or ())[0]


# If


@vjp("If", still=(0,))
def if_vjp(op: Op, n: View, *cotangents: Tensor | None) -> list[Tensor | None]:
    captured = [name for name in n.node.captures if _wanted(n, name)]
    given = [(i, g) for i, g in enumerate(cotangents) if g is not None]

    def pulled(body: Body) -> Callable[..., Sequence[Tensor]]:
        def write(inner_op: Op) -> list[Tensor]:
            made = body.trace(inner_op.graph, [])
            pairs = [(made[i], inner_op.tensor(g.name)) for i, g in given]
            return _pulled(inner_op, pairs, captured)

        return write

    made = _branches(op, n, pulled, len(captured))
    for name, tensor in zip(captured, made, strict=True):
        op.reshaped_type(tensor, op.full(op.tensor(name).shape))
    return _by_place(n, dict(zip(captured, made, strict=True)))


@jvp("If")
def if_jvp(op: Op, n: View, *tangents: Tensor | None) -> list[Tensor | None]:
    captured = {
        name: t for name, t in zip(n.node.reads, tangents, strict=True) if t is not None and name
    }
    floats = [i for i, y in enumerate(n.o) if y.dtype.kind == "f"]

    def pushed(body: Body) -> Callable[..., Sequence[Tensor]]:
        def write(inner_op: Op) -> list[Tensor]:
            made = body.trace(inner_op.graph, [])
            return _pushed(inner_op, _here(inner_op, captured), [made[i] for i in floats])

        return write

    made = _branches(op, n, pushed, len(floats))
    found = dict(zip(floats, made, strict=True))
    for i, tensor in found.items():
        op.reshaped_type(tensor, op.full(n.o[i].shape))
    return [found.get(i) for i in range(len(n.node.outputs))]


def _branches(op: Op, n: View, write: Callable[[Body], Any], count: int) -> list[Tensor]:
    attrs = {k: inner(op, [], write(n.attr(k))) for k in ("then_branch", "else_branch")}
    return [op.tensor(name) for name in op.graph.emit("If", n.node.inputs, attrs, outputs=count)]


# Both sweeps inside a body


def _pulled(op: Op, pairs: Sequence[tuple[str, Tensor]], wrt: Sequence[str]) -> list[Tensor]:
    """Cotangents of `wrt` for those of some values, (value, cotangent) pairs."""
    seeds: dict[str, Tensor] = {}
    for name, cotangent in pairs:
        seeds[name] = seeds[name] + cotangent if name in seeds else cotangent
    activity = sweep.flow(op.graph, wrt, list(seeds))
    found = sweep.reverse(op, activity, seeds, wrt)
    return [_or_zeros(op, g, op.tensor(name)) for g, name in zip(found, wrt, strict=True)]


def _pushed(op: Op, seeds: dict[str, Tensor], outputs: Sequence[str]) -> list[Tensor]:
    activity = sweep.flow(op.graph, list(seeds), outputs)
    found = sweep.forward(op, activity, seeds, outputs)
    return [_or_zeros(op, t, op.tensor(name)) for t, name in zip(found, outputs, strict=True)]


def _or_zeros(op: Op, t: Tensor | None, like: Tensor) -> Tensor:
    return op.zeros(like.shape, like.dtype) if t is None else op.expand(t, like.shape)


def _here(op: Op, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: op.tensor(t.name) for name, t in tensors.items()}


def _names(tensors: Sequence[Tensor]) -> list[str]:
    return [t.name for t in tensors]


def _read(n: View, s: Steps) -> range:
    """The slices that are inputs of the node: a Loop's are the numbers of its turns."""
    return range(len(s.slices) if n.kind == "Scan" else 0)


def _wanted(n: View, name: str) -> bool:
    floating = n.op.tensor(name).dtype.kind == "f"
    return floating and n.wants(n.node.reads.index(name))


def _cut(items: Sequence[Tensor], *sizes: int) -> list[Sequence[Tensor]]:
    ends = np.cumsum(sizes).tolist()
    return [items[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def _by_place(n: View, found: Any) -> list[Tensor | None]:
    """Cotangents by the node's inputs and captures; a capture may be an input, too."""
    count = len(n.node.inputs)
    return [found.get(i) if i < count else found.get(name) for i, name in enumerate(n.node.reads)]
