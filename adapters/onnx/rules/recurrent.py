"""RNN, GRU and LSTM as a Scan over time; the product of the inputs with the weights is outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import lower, refusal
from pertcore.errors import CapabilityError

Activation = Callable[[Op, Tensor], Tensor]


@dataclass(frozen=True)
class Cell:
    """One step of one direction: projected input (N, gates H), states (N, H) -> states."""

    gates: int
    activations: tuple[str, ...]
    step: Callable[..., list[Tensor]]


@dataclass(frozen=True)
class Weights:
    """Of one direction: recurrent (H, gates H), bias of the recurrent part, peepholes."""

    recurrent: Tensor
    bias: Tensor | None
    peepholes: list[Tensor] | None


@lower("RNN")
def rnn(op: Op, n: View) -> list[Tensor]:
    return _recurrent(op, n, Cell(1, ("Tanh",), _rnn_step))


@lower("GRU")
def gru(op: Op, n: View) -> list[Tensor]:
    return _recurrent(op, n, Cell(3, ("Sigmoid", "Tanh"), _gru_step))


@lower("LSTM")
def lstm(op: Op, n: View) -> list[Tensor]:
    return _recurrent(op, n, Cell(4, ("Sigmoid", "Tanh", "Tanh"), _lstm_step))


def _rnn_step(
    op: Op, n: View, act: Sequence[Activation], w: Weights, x: Tensor, h: Tensor
) -> list[Tensor]:
    """h' = f(x + h R)."""
    return [act[0](op, x + h @ w.recurrent)]


def _gru_step(
    op: Op, n: View, act: Sequence[Activation], w: Weights, x: Tensor, h: Tensor
) -> list[Tensor]:
    """z, r = f(x + h R); h~ = g(x + (r h) R), or g(x + r (h R + b)); h' = (1 - z) h~ + z h."""
    size = n.attr("hidden_size")
    xz, xr, xh = op.Split(x, [size] * 3, axis=1, outputs=3)
    rz, rr, rh = op.Split(w.recurrent, [size] * 3, axis=1, outputs=3)
    z, r = act[0](op, xz + h @ rz), act[0](op, xr + h @ rr)
    if n.attr("linear_before_reset", 0):
        inner = h @ rh
        new = act[1](op, xh + r * (inner if w.bias is None else inner + w.bias))
    else:
        new = act[1](op, xh + (r * h) @ rh)
    return [(1.0 - z) * new + z * h]


def _lstm_step(
    op: Op, n: View, act: Sequence[Activation], w: Weights, x: Tensor, h: Tensor, c: Tensor
) -> list[Tensor]:
    """i, f = f(. + p c); c' = f c + i g(.); o = f(. + p c'); h' = o h(c')."""
    size = n.attr("hidden_size")
    i, o, f, new = op.Split(x + h @ w.recurrent, [size] * 4, axis=1, outputs=4)
    if w.peepholes is not None:
        i, f = i + w.peepholes[0] * c, f + w.peepholes[2] * c
    i = act[0](op, i)
    f = 1.0 - i if n.attr("input_forget", 0) else act[0](op, f)
    after = f * c + i * act[1](op, new)
    if w.peepholes is not None:
        o = o + w.peepholes[1] * after
    return [act[0](op, o) * act[2](op, after), after]


def _recurrent(op: Op, n: View, cell: Cell) -> list[Tensor]:
    """Every direction by itself, then joined: Y, then the last of each state."""
    batch_first = n.attr("layout", 0)
    x = op.Transpose(n.x, perm=[1, 0, 2]) if batch_first else n.x
    way = n.attr("direction", "forward")
    ways = {"forward": [0], "reverse": [1], "bidirectional": [0, 1]}[way]
    found = [_direction(op, n, cell, x, place, back) for place, back in enumerate(ways)]
    outputs = []
    for index, parts in enumerate(zip(*found, strict=True)):
        # Y is (T, directions, N, H), a state (directions, N, H).
        axis = 1 if index == 0 else 0
        wide = [op.Unsqueeze(part, [axis]) for part in parts]
        whole = op.Concat(*wide, axis=axis) if len(wide) > 1 else wide[0]
        perm = [2, 0, 1, 3] if index == 0 else [1, 0, 2]
        outputs.append(op.Transpose(whole, perm=perm) if batch_first else whole)
    return outputs


def _direction(op: Op, n: View, cell: Cell, x: Tensor, place: int, back: int) -> list[Tensor]:
    """Y (T, N, H) and the last states (N, H) of one direction."""
    projected, weights = _weights(op, n, cell, x, place)
    act = _activations(n, cell, place)
    states = [_initial(op, n, index, x, place) for index in ((5, 6) if cell.gates == 4 else (5,))]
    lengths = n.input(4)
    slices = [projected]
    if lengths is not None:
        slices.append(op.resized(op.positions(x.shape[0]), [x.shape[0]]))
    names = [t.name for t in (weights.recurrent, weights.bias) if t is not None]
    peepholes = [t.name for t in weights.peepholes or []]

    def step(inner: Op, *given: Tensor) -> list[Tensor]:
        before, now = given[: len(states)], given[len(states) :]
        recurrent, *bias = [inner.tensor(name) for name in names]
        holes = [inner.tensor(name) for name in peepholes] or None
        own = Weights(recurrent, bias[0] if bias else None, holes)
        after = cell.step(inner, n, act, own, now[0], *before)
        if lengths is None:
            return [*after, after[0]]
        running = inner.Unsqueeze(
            inner.Less(now[1], inner.Cast(inner.tensor(lengths.name), to=7)), [1]
        )
        kept = [inner.Where(running, a, b) for a, b in zip(after, before, strict=True)]
        return [*kept, inner.Where(running, after[0], inner.const(0.0, x.dtype))]

    *last, whole = op.scan(step, states, slices, back)
    return [whole, *last]


def _weights(op: Op, n: View, cell: Cell, x: Tensor, place: int) -> tuple[Tensor, Weights]:
    """The inputs times their weights, with all biases that can be added at once."""
    size = n.attr("hidden_size")

    def own(index: int) -> Tensor | None:
        given = n.input(index)
        return (
            None if given is None else op.Squeeze(op.Slice(given, [place], [place + 1], [0]), [0])
        )

    w, r, b, p = (own(index) for index in (1, 2, 3, 7))
    if w is None or r is None:
        raise refusal(n, 1)
    projected = x @ op.Transpose(w, perm=[1, 0])
    inner = None
    if b is not None:
        first, second = op.Split(b, [cell.gates * size] * 2, axis=0, outputs=2)
        if n.kind == "GRU" and n.attr("linear_before_reset", 0):
            gates, inner = op.Split(second, [2 * size, size], axis=0, outputs=2)
            second = op.Pad(gates, [0, size])
        projected = projected + first + second
    peepholes = None
    if p is not None and cell.gates == 4:
        peepholes = list(op.Split(p, [size] * 3, axis=0, outputs=3))
    return projected, Weights(op.Transpose(r, perm=[1, 0]), inner, peepholes)


def _initial(op: Op, n: View, index: int, x: Tensor, place: int) -> Tensor:
    given = n.input(index)
    shape = [x.shape[1], n.attr("hidden_size")]
    if given is None:
        return op.zeros(shape, x.dtype)
    axis = 1 if n.attr("layout", 0) else 0
    picked = op.Squeeze(op.Slice(given, [place], [place + 1], [axis]), [axis])
    return op.expand(picked, shape)


def _activations(n: View, cell: Cell, place: int) -> list[Activation]:
    """Those of one direction; each takes its parameters from the lists for all, in order."""
    count = len(cell.activations)
    given = [name.lower() for name in n.attr("activations") or cell.activations * (place + 1)]
    alphas, betas = (iter(n.attr(f"activation_{k}") or ()) for k in ("alpha", "beta"))
    limit, found = n.attr("clip", 0.0), []
    for name in given:
        if name not in ACTIVATIONS:
            raise CapabilityError(
                f"{n.kind} {n.node.label!r}: no derivative rule for its activation {name!r}, only "
                f"for {', '.join(ACTIVATIONS)}"
            )
        write, *defaults = ACTIVATIONS[name]
        numbers = [next(k, d) for k, d in zip((alphas, betas), defaults, strict=False)]
        found.append(_limited(partial(write, numbers), limit))
    return found[place * count : (place + 1) * count]


def _limited(activation: Activation, limit: float) -> Activation:
    def apply(op: Op, t: Tensor) -> Tensor:
        low, high = op.const(-limit, t.dtype), op.const(limit, t.dtype)
        return activation(op, op.Clip(t, low, high))

    return apply if limit else activation


def _named(kind: str, *names: str) -> Callable[[Sequence[float], Op, Tensor], Tensor]:
    """The operator of that name with its attributes."""

    def write(numbers: Sequence[float], op: Op, t: Tensor) -> Tensor:
        made: Tensor = getattr(op, kind)(t, **dict(zip(names, numbers, strict=True)))
        return made

    return write


# How each activation is written, then the parameters it has where none are given.
ACTIVATIONS: dict[str, tuple[Any, ...]] = {
    "sigmoid": (_named("Sigmoid"),),
    "tanh": (_named("Tanh"),),
    "relu": (_named("Relu"),),
    "softsign": (_named("Softsign"),),
    "softplus": (_named("Softplus"),),
    "elu": (_named("Elu", "alpha"), 1.0),
    "leakyrelu": (_named("LeakyRelu", "alpha"), 0.01),
    "thresholdedrelu": (_named("ThresholdedRelu", "alpha"), 1.0),
    "hardsigmoid": (_named("HardSigmoid", "alpha", "beta"), 0.2, 0.5),
    "affine": (lambda k, _, t: t * k[0] + k[1], 1.0, 0.0),
    "scaledtanh": (lambda k, op, t: op.Tanh(t * k[1]) * k[0], 1.0, 1.0),
}
