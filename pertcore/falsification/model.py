"""The model of a property: fast batches with slopes to search on, the untouched file to judge."""

from __future__ import annotations

import gzip
import math
import warnings
import zlib
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.adapters.onnx.load import load
from pertcore.adapters.onnx.replay import Replay
from pertcore.adapters.onnx.softened import softened
from pertcore.errors import InputError, PertcoreError, PertcoreWarning
from pertcore.falsification.vnnlib import Property
from pertcore.oracle import Array, Linearization

MOST_BYTES = 1 << 31
# Smaller files run on one thread: starting more costs them more than it saves.
SMALL_BYTES = 1 << 23


class Model:
    """Flat samples (n, inputs) in `dtype`, flat outputs (n, outputs) in float64.

    `slopes` is False where nothing differentiates the model: it then runs sample by sample.
    `notes` says what is approximated. Raises ModelError, CapabilityError or InputError where the
    file cannot be run, or has not as many inputs and outputs as the property.
    """

    def __init__(self, path: str | Path, prop: Property, *, threads: int | None) -> None:
        source = _unpacked(path)
        size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
        threads = threads or (1 if size < SMALL_BYTES else None)
        load(source)  # refuses what would harm ONNX Runtime
        self.replay = Replay(source, threads=threads)
        self.dtype, self.notes = self.replay.dtype, []  # type: tuple[np.dtype[Any], list[str]]
        _agree(path, "input", "X", self.replay.inputs, prop.inputs)
        found = self.replay(np.zeros(prop.inputs))
        _agree(path, "output", "Y", len(found), prop.outputs)
        self._source, self._threads = source, threads
        self._oracle = self._opened(source, prop)
        self.slopes = self._oracle is not None

    @cached_property
    def soft(self) -> Model | None:
        """The model with dead units that pull (`softened`), to climb on and never to judge; None
        where there is nothing to soften."""
        if self._oracle is None:
            return None
        try:
            made = softened(self._source)
            oracle = None if made is None else self._differentiated(made, {})
        except PertcoreError:
            return None  # the search goes on without: nothing is claimed from it
        if oracle is None:
            return None
        other = copy(self)
        other._oracle = oracle
        return other

    def _differentiated(self, source: Any, way: dict[str, Any]) -> Any:
        names = self.replay.outputs
        output = names if len(names) > 1 else names[0]
        return from_onnx(source, output=output, threads=self._threads, **way)

    def _opened(self, source: Any, prop: Property) -> Any:
        ways: list[dict[str, Any]] = [
            {}, {"straight_through": True}, {"finite_differences": True}
        ]  # fmt: skip
        reason = ""
        for way in ways:
            try:
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always", PertcoreWarning)
                    oracle = self._differentiated(source, way)
            except PertcoreError as error:
                reason = reason or str(error)
                continue
            sizes = math.prod(oracle.input_shape), math.prod(oracle.output_shape)
            if sizes == (prop.inputs, prop.outputs):
                self.notes += [str(w.message) for w in caught]
                self.notes += [note for note in oracle.notes if note not in self.notes]
                return oracle
            reason = reason or "the property spans the batch of the model"
        self.notes.append(f"searched without derivatives, sample by sample: {reason}")
        return None

    def __call__(self, x: Array) -> Array:
        if self._oracle is None:
            return np.stack([self.replay(row) for row in x])
        return self._wide(self._oracle(self._shaped(x)))

    def linearize(self, x: Array) -> tuple[Array, Linearization | None]:
        """f(x) and what `pull` takes; None where nothing differentiates the model."""
        if self._oracle is None:
            return self(x), None
        point = self._oracle.linearize(self._shaped(x))
        return self._wide(point.value), point

    def pull(self, point: Linearization, cotangent: Array) -> Array:
        """J^T cotangent, (n, outputs) -> (n, inputs), float64; what is not finite is zero."""
        value = np.asarray(point.value)
        with np.errstate(over="ignore"):
            given = cotangent.astype(value.dtype).reshape(value.shape)
        found = np.asarray(point.vjp(given), np.float64).reshape(len(cotangent), -1)
        return np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)

    def _shaped(self, x: Array) -> Array:
        return x.astype(self._oracle.dtype, copy=False).reshape(len(x), *self._oracle.input_shape)

    @staticmethod
    def _wide(value: Any) -> Array:
        return np.asarray(value, np.float64).reshape(len(value), -1)


def _unpacked(path: str | Path) -> str | Path | bytes:
    """The path of a model, or the content of one that gzip has compressed."""
    if not Path(path).is_file():
        raise InputError(f"model={str(path)!r}: no such file")
    with Path(path).open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return path
    try:
        with gzip.open(path) as file:
            content = file.read(MOST_BYTES + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"model {Path(path).name}: cannot be read: {error}") from error
    if len(content) > MOST_BYTES:
        raise InputError(f"model {Path(path).name}: more than {MOST_BYTES >> 30} GiB")
    return content


def _agree(path: Any, what: str, letter: str, has: int, declared: int) -> None:
    if has != declared:
        raise InputError(
            f"{Path(path).name} has {has} {what} numbers, the property declares {declared}: "
            f"{letter}_0 to {letter}_{declared - 1}"
        )
