"""What a module returns, a tensor, tuple, dict or object, read as one tensor (n, *out)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pertcore.adapters.parts import Part, weights_by_name
from pertcore.errors import InputError

Name = int | str


@dataclass(frozen=True)
class Reader:
    """Chooses and checks: one output by name or place, or several laid side by side (n, K)."""

    weights: dict[Any, float]
    several: bool
    dtype: torch.dtype

    def __call__(self, returned: Any, n: int) -> torch.Tensor:
        """One tensor (n, *out) of `dtype` in the graph of what was returned for n samples."""
        found = [(_floats(_picked(returned, name), name, n), w) for name, w in self._wanted]
        if self.several:
            flat = [t.reshape(n, -1).to(self.dtype) * math.sqrt(w) for t, w in found]
            return torch.cat(flat, dim=1)
        value = found[0][0].to(self.dtype)
        return value.reshape(n, 1) if value.ndim == 1 else value

    def parts(self, returned: Any) -> dict[str, Part]:
        """Where each of several outputs lies in the one that is attacked; empty for one."""
        places, begin = {}, 0
        for name, weight in self._wanted if self.several else ():
            shape = tuple(_picked(returned, name).shape[1:])
            end = begin + math.prod(shape)
            places[str(name)] = Part(slice(begin, end), shape, math.sqrt(weight))
            begin = end
        return places

    @property
    def _wanted(self) -> list[tuple[Any, float]]:
        return list(self.weights.items())


def reader(output: Any, weights: Any, dtype: torch.dtype) -> Reader:
    """The reader of output=: None, a name, a place, or a list of them with their weights."""
    if output is not None and not isinstance(output, int | str):
        names = list(output)
        if not names or len(set(names)) < len(names):
            raise InputError(f"output={names!r}: name one output or more, each once")
        return Reader(weights_by_name(names, weights), True, dtype)
    if weights is not None:
        raise InputError(f"weights={weights!r}: they are for a list of outputs, output=[...]")
    return Reader({output: 1.0}, False, dtype)


def _picked(returned: Any, name: Name | None) -> Any:
    if isinstance(returned, torch.Tensor) and name in (None, 0):
        return returned
    known = _named(returned)
    if name is None and len(known) == 1:
        return next(iter(known.values()))
    if name in known:
        return known[name]
    if isinstance(name, int) and isinstance(returned, Sequence) and -len(returned) <= name < 0:
        return returned[name]
    if isinstance(name, str) and isinstance(getattr(returned, name, None), torch.Tensor):
        return getattr(returned, name)
    said = "names none" if name is None else f"says output={name!r}"
    raise InputError(
        f"the model returns a {type(returned).__name__} with outputs {list(known)!r}, and the call "
        f"{said}: choose with output=, a name, a place or a list of them"
    )


def _named(returned: Any) -> dict[Any, Any]:
    if isinstance(returned, Mapping):
        return {k: v for k, v in returned.items() if isinstance(v, torch.Tensor)}
    if isinstance(returned, Sequence) and not isinstance(returned, str):
        return {i: v for i, v in enumerate(returned) if isinstance(v, torch.Tensor)}
    return {}


def _floats(value: Any, name: Name | None, n: int) -> torch.Tensor:
    said = "the output" if name is None else f"output {name!r}"
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        kind = getattr(value, "dtype", type(value).__name__)
        raise InputError(f"{said} is {kind}: a real float tensor is expected")
    if value.ndim == 0 or value.shape[0] != n:
        raise InputError(
            f"{said} has shape {tuple(value.shape)} for {n} samples: expected ({n}, ...), samples "
            "along the first axis"
        )
    return value
