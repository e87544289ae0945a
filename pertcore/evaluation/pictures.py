"""Samples as small PNG pictures inside a page."""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass

import numpy as np

from pertcore.oracle import Array
from pertcore.result import AttackResult


@dataclass(frozen=True)
class Example:
    """One sample before and after an attack; classes are -1 for regression."""

    index: int
    x: Array
    x_adv: Array
    delta: Array
    before: int
    after: int
    fooled: bool


def example_at(batch_x: Array, result: AttackResult, place: int, start: int = 0) -> Example:
    """Sample `place` of a batch that begins at `start`, copied so that the batch may go."""
    return Example(
        start + place,
        np.array(batch_x[place]),
        np.array(result.x_adv[place]),
        np.array(result.delta[place]),
        int(result.before[place]),
        int(result.after[place]),
        bool(result.success[place]),
    )


@dataclass(frozen=True)
class Picture:
    """One row of the gallery: data URIs of three or more images, each with a caption; group: what
    a reader may filter by, the class before."""

    title: str
    images: tuple[tuple[str, str], ...]
    fooled: bool
    group: str = ""


PICTURED = (
    "Left to right: clean, perturbation (grey is zero; scaled to the full range, the value shown "
    "as white below it), adversarial."
)


def picture(example: Example, box: tuple[float, float] | None) -> Picture:
    """Clean, perturbation and adversarial example with the predictions.

    box: the values shown as black and white; None: the smallest and largest of both.
    """
    x, x_adv = example.x, example.x_adv
    lo, hi = box or (float(min(x.min(), x_adv.min())), float(max(x.max(), x_adv.max())))
    delta, peak = delta_uri(example.delta)
    classed = example.before >= 0
    told = f"{example.before} to {example.after}" if example.fooled else f"{example.before} kept"
    images = (
        (value_uri(x, lo, hi), f"clean: {example.before}" if classed else "clean"),
        (delta, f"perturbation, white = {peak:.3g}"),
        (value_uri(x_adv, lo, hi), f"seen as: {example.after}" if classed else "perturbed"),
    )
    title = f"Sample {example.index}" + (f": {told}" if classed else "")
    return Picture(title, images, example.fooled, str(example.before) if classed else "")


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether a sample is (h, w), or has one or three channels first or last."""
    if len(shape) == 2:
        return min(shape) > 1
    return len(shape) == 3 and (shape[0] in (1, 3) or shape[-1] in (1, 3))


def value_uri(sample: Array, lo: float, hi: float) -> str:
    """PNG data URI of a sample (grey or RGB) whose values run from lo to hi."""
    span = hi - lo if hi > lo else 1.0
    return _png_uri((_channels_last(sample).astype(np.float64) - lo) / span)


def delta_uri(delta: Array) -> tuple[str, float]:
    """PNG data URI of a perturbation, zero as middle grey, and the value shown as white."""
    peak = float(np.max(np.abs(delta), initial=0.0))
    return _png_uri(0.5 + 0.5 * _channels_last(delta) / (peak or 1.0)), peak


def _channels_last(sample: Array) -> Array:
    if sample.ndim == 2:
        return sample[..., None]
    return np.moveaxis(sample, 0, -1) if sample.shape[0] in (1, 3) else sample


def _png_uri(pixels: Array) -> str:
    """pixels (h, w, 1 or 3) in [0, 1]; PNG as in its specification, section 11.2."""
    levels = np.round(np.clip(np.nan_to_num(pixels), 0, 1) * 255).astype(np.uint8)
    height, width, channels = levels.shape
    rows = np.hstack([np.zeros((height, 1), np.uint8), levels.reshape(height, -1)])
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, body)
        for kind, body in (
            (b"IHDR", header),
            (b"IDAT", zlib.compress(rows.tobytes(), 9)),
            (b"IEND", b""),
        )
    )
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
