"""From the shape a sample is stored in to the shape the model takes, or a refusal that says how."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from pertcore.errors import InputError
from pertcore.oracle import Array

Shape = Sequence[int | str | None]


def matches(got: Sequence[int], want: Shape) -> bool:
    """Whether the sizes agree; entries of `want` that are no positive integer are free."""
    return len(got) == len(want) and all(
        g == w for g, w in zip(got, want, strict=True) if _fixed(w)
    )


def fitted(
    stored: tuple[int, ...], want: Shape | None, layout: str, source: str, samples: int
) -> Callable[[Array], Array]:
    """Function (n, *stored) -> (n, *sample of the model); InputError where none is safe.

    Safe are: the same shape, axes of length one added or dropped, one-channel images flattened,
    and flat rows unfolded into the model's shape (channels last first, where `layout` says so).
    """
    nhwc = layout == "nhwc"
    if nhwc and len(stored) == 1 and want is not None and len(want) == 3 and _size(want):
        rows = (*_ints(want)[1:], _ints(want)[0])
        if math.prod(rows) == stored[0]:
            return lambda x: np.moveaxis(x.reshape(len(x), *rows), -1, 1)
    if nhwc and len(stored) not in (2, 3):
        raise InputError(
            f"{source}: --layout nhwc needs samples of (height, width, channels), got {stored}"
        )
    # a model that takes channels last itself has nothing to move
    last_already = want is not None and stored[-1] in (1, 3, 4) and matches(stored, want)
    moved = nhwc and len(stored) == 3 and not last_already
    sample = (stored[-1], *stored[:-1]) if moved else stored
    target = _target(sample, want)
    if target is None:
        raise InputError(f"{source}: {_refusal(stored, sample, want or (), nhwc, samples)}")

    def arrange(x: Array) -> Array:
        first = np.moveaxis(x, -1, 1) if moved else x
        return first if sample == target else first.reshape(len(x), *target)

    return arrange


def _target(sample: tuple[int, ...], want: Shape | None) -> tuple[int, ...] | None:
    if want is None or matches(sample, want):
        return sample
    core = tuple(s for s in sample if s != 1)
    frame = [w for w in want if w != 1]
    if matches(core, frame):
        filled = iter(core)
        return tuple(1 if w == 1 else next(filled) for w in want)
    foldable = len(sample) == 1 or (len(frame) == 1 and len(core) == 2)
    if foldable and _size(want) == math.prod(sample):
        return tuple(_ints(want))
    return None


def _refusal(
    stored: tuple[int, ...], sample: tuple[int, ...], want: Shape, nhwc: bool, samples: int
) -> str:
    wanted = "(" + ", ".join(str(w) if _fixed(w) else "any" for w in want) + ")"
    turned = f", {sample} with channels first" if sample != stored else ""
    text = f"samples have shape {stored}{turned}; the model takes {wanted}"
    if nhwc and _target(stored, want) is not None:
        return f"{text}: drop --layout nhwc, the channels are first already"
    if not nhwc and len(stored) == 3 and _target((stored[-1], *stored[:-1]), want) is not None:
        return f"{text}: channels are last here, give --layout nhwc"
    if matches((samples, *stored), want):
        return f"{text}: one sample needs a first axis of length 1, (1, ...)"
    if len(stored) != len(want):
        return f"{text}: wrong rank, give (samples, *{wanted}); see --layout for channel order"
    if math.prod(sample) == _size(want):
        return f"{text}: the order of the axes differs, see --layout (nchw or nhwc)"
    return f"{text}: resize or crop the data first"


def _fixed(size: int | str | None) -> bool:
    return isinstance(size, int) and size > 0


def _ints(want: Shape) -> list[int]:
    return [int(w) for w in want if w is not None]


def _size(want: Shape) -> int:
    """Number of entries of a sample, 0 when a size is free."""
    return math.prod(_ints(want)) if all(_fixed(w) for w in want) else 0
