"""Fourier transforms as products with matrices of cosines and sines."""

from __future__ import annotations

from typing import Any

import numpy as np

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import lower, refusal
from pertcore.adapters.onnx.rules.lowered import constant_ints
from pertcore.errors import CapabilityError, ModelError

# Entries of a matrix of cosines, of 4,096 frequencies.
LARGEST = 1 << 24


@lower("DFT")
def dft(op: Op, n: View) -> Tensor:
    """X_k = sum_t x_t exp(-+2 pi i k t / L), the inverse divided by L; last axis (re, im)."""
    axis = _axis(n)
    length = constant_ints(n, 1)[0] if n.input(1) is not None else n.x.shape[axis]
    inverse, half = n.attr("inverse", 0), n.attr("onesided", 0)
    if inverse and half:
        length = length if n.input(1) is not None else 2 * (n.x.shape[axis] - 1)
    if not isinstance(length, int) or not isinstance(n.x.shape[axis], int):
        raise refusal(n, 0)
    read = length // 2 + 1 if inverse and half else length
    x = _fitted(op, n.x, axis, read)
    _bounded(n, length * read)
    if inverse and half:
        return _real_inverse(op, x, axis, length)
    made = length // 2 + 1 if half else length
    _bounded(n, length * made)
    angle = 2.0 * np.pi * np.outer(np.arange(length), np.arange(made)) / length
    return _transformed(op, x, axis, angle if inverse else -angle, 1.0 / length if inverse else 1.0)


def _bounded(n: View, entries: int) -> None:
    """Raises CapabilityError for constants beyond what is made when the model is emitted."""
    if not 0 < entries <= LARGEST:
        raise CapabilityError(
            f"{n.kind} {n.node.label!r}: a matrix of {entries} entries, at most {LARGEST} are made"
        )


def _axis(n: View) -> int:
    """Negative; an attribute before opset 20, an input since."""
    given = n.input(2)
    axis = constant_ints(n, 2)[0] if given is not None else n.attr("axis", None)
    if axis is None:
        axis = 1 if n.op.graph.opset < 20 else -2
    return axis - n.x.rank if axis >= 0 else axis


def _fitted(op: Op, x: Tensor, axis: int, size: int) -> Tensor:
    """Cut, or filled up with zeros, to `size` entries."""
    have = x.shape[axis]
    pads: list[Any] = [0] * (2 * x.rank)
    pads[axis] = size - have
    return op.Pad(x, pads) if size != have else x


def _transformed(op: Op, x: Tensor, axis: int, angle: Any, scale: float) -> Tensor:
    """(re + i im) exp(i angle), along the axis."""
    cosine = op.const(np.cos(angle) * scale, x.dtype)
    sine = op.const(np.sin(angle) * scale, x.dtype)
    if x.shape[-1] == 1:
        return op.Concat(op.along(x, cosine, axis), op.along(x, sine, axis), axis=-1)
    real, imaginary = op.Split(x, [1, 1], axis=-1, outputs=2)
    first = op.along(real, cosine, axis) - op.along(imaginary, sine, axis)
    second = op.along(real, sine, axis) + op.along(imaginary, cosine, axis)
    return op.Concat(first, second, axis=-1)


def _real_inverse(op: Op, x: Tensor, axis: int, length: int) -> Tensor:
    """x_t = (1/L) sum_k w_k (re_k cos - im_k sin): w is 2 where the other half has a twin."""
    half = length // 2 + 1
    twice = np.full((half, 1), 2.0)
    twice[0] = 1.0
    if length % 2 == 0:
        twice[-1] = 1.0
    angle = 2.0 * np.pi * np.outer(np.arange(half), np.arange(length)) / length
    real, imaginary = op.Split(x, [1, 1], axis=-1, outputs=2)
    cosine = op.const(twice * np.cos(angle) / length, x.dtype)
    sine = op.const(twice * np.sin(angle) / length, x.dtype)
    return op.along(real, cosine, axis) - op.along(imaginary, sine, axis)


@lower("STFT")
def stft(op: Op, n: View) -> Tensor:
    """Frames every `step` entries, windowed, each transformed: (N, frames, frequencies, 2)."""
    step = constant_ints(n, 1)[0]
    window, size = n.input(2), n.x.shape[1]
    length = constant_ints(n, 3)[0] if n.input(3) is not None else (window or n.x).shape[0]
    if not isinstance(size, int) or not isinstance(length, int):
        raise refusal(n, 0)
    if step < 1 or not 0 < length <= size:
        raise ModelError(f"STFT {n.node.label!r}: frames of {length} of {size}, every {step}")
    frames = (size - length) // step + 1
    _bounded(n, max(frames, length) * length)
    index = step * np.arange(frames)[:, None] + np.arange(length)
    x = n.x if n.x.rank == 3 else op.Unsqueeze(n.x, [2])
    cut = op.Gather(x, index, axis=1)
    if window is not None:
        cut = cut * op.resized(window, [length, 1])
    made = length // 2 + 1 if n.attr("onesided", 1) else length
    angle = -2.0 * np.pi * np.outer(np.arange(length), np.arange(made)) / length
    return _transformed(op, cut, -2, angle, 1.0)
