"""Types of what Scan, Loop and If make, from those of their inner graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pertcore.adapters.onnx.known import Known, normal_axis
from pertcore.adapters.onnx.nodes import Body, Type
from pertcore.errors import CapabilityError


def scan(k: Known) -> Any:
    """Final states as the first ones are, then the outputs of every step stacked."""
    count = k.attrs["num_scan_inputs"]
    states = len(k) - count
    made = _types(k, k.attrs["body"])
    _same_states(k, range(states), made)
    axes = k.attrs.get("scan_input_axes") or [0] * count
    first = k.shape(states)
    steps = first[normal_axis(axes[0], len(first))]
    stacked = made[states:]
    places = k.attrs.get("scan_output_axes") or [0] * len(stacked)
    return [
        *[(k.dtype(i), k.shape(i)) for i in range(states)],
        *[_stacked(kind, steps, axis) for kind, axis in zip(stacked, places, strict=True)],
    ]


def loop(k: Known) -> Any:
    states = range(2, len(k))
    made = _types(k, k.attrs["body"])[1:]
    _same_states(k, states, made)
    steps = k.fresh()
    stacked = made[len(states) :]
    return [
        *[(k.dtype(i), k.shape(i)) for i in states],
        *[_stacked(kind, steps, 0) for kind in stacked],
    ]


def branch(k: Known) -> Any:
    """The sizes that both branches agree on."""
    return [
        _either(k, a, b)
        for a, b in zip(
            _types(k, k.attrs["then_branch"]), _types(k, k.attrs["else_branch"]), strict=True
        )
    ]


def _types(k: Known, body: Body) -> list[Type]:
    return [k.graph.types[name] for name in body.outputs[: body.width]]


def _stacked(kind: Type, steps: Any, axis: int) -> Any:
    shape = list(_shape(kind))
    shape.insert(normal_axis(axis, len(shape) + 1), steps)
    return kind.dtype, shape


def _shape(kind: Type) -> Sequence[Any]:
    if kind.dtype.kind == "O":
        raise CapabilityError(
            "an inner graph makes a sequence, whose tensors are only known at run time"
        )
    if kind.shape is None:
        raise CapabilityError("an inner graph makes a tensor of unknown rank")
    return kind.shape


def _same_states(k: Known, places: Any, made: Sequence[Type]) -> None:
    for place, kind in zip(places, made, strict=False):
        before, after = k.shape(place), _shape(kind)
        pairs = zip(before, after, strict=False)
        fixed = [a == b for a, b in pairs if isinstance(a, int) and isinstance(b, int)]
        if len(before) != len(after) or not all(fixed) or kind.dtype != k.dtype(place):
            raise CapabilityError(
                f"{k.node.op} {k.node.label!r} carries a state that changes from "
                f"{k.dtype(place)} {_text(before)} to {kind.dtype} {_text(after)}"
            )


def _text(shape: Sequence[Any]) -> str:
    return f"({', '.join(map(str, shape))})"


def _either(k: Known, a: Type, b: Type) -> Any:
    first, second = _shape(a), _shape(b)
    if len(first) != len(second) or a.dtype != b.dtype:
        raise CapabilityError(f"the branches of {k.node.label!r} make tensors of different rank")
    return a.dtype, [m if m == n else k.fresh() for m, n in zip(first, second, strict=True)]
