"""ONNX files opened for an attack: what they take, and then the oracle with its derivatives."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import pertcore
from pertcore.adapters.onnx.load import load
from pertcore.adapters.onnx.select import free_inputs, input_dims
from pertcore.cli.arguments import AttackArguments, numbers
from pertcore.constraints import parse_number
from pertcore.data.stored import load_array, split_key
from pertcore.errors import InputError, PertcoreWarning
from pertcore.oracle import Array, Oracle

DOUBLE = 11  # onnx.TensorProto.DOUBLE


@dataclass(frozen=True)
class Opened:
    """Parsed models, not differentiated yet: their sample shape, free sizes None, is known."""

    arguments: AttackArguments
    models: Sequence[Any]
    sample_shape: tuple[int | None, ...] | None
    dtype: np.dtype[Any]
    freeze: dict[str, Array]

    def oracle(self, shape: tuple[int, ...]) -> tuple[Oracle, list[str]]:
        """The model, or the ensemble, for samples of that shape, and what it warns of."""
        free = self.sample_shape is not None and None in self.sample_shape
        chosen: dict[str, Any] = {"input_shape": shape} if free else {}
        for name in ("input", "output", "threads"):
            if getattr(self.arguments, name) is not None:
                chosen[name] = getattr(self.arguments, name)
        if self.arguments.weights is not None:
            chosen["weights"] = numbers(self.arguments.weights, "--weights")
        if self.arguments.output is not None and "," in self.arguments.output:
            chosen["output"] = [name.strip() for name in self.arguments.output.split(",")]
        if self.arguments.finite_differences:
            chosen["finite_differences"] = True
        if self.arguments.straight_through:
            chosen["straight_through"] = True
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", PertcoreWarning)
            oracles = [pertcore.from_onnx(m, freeze=self.freeze, **chosen) for m in self.models]
        oracle = oracles[0] if len(oracles) == 1 else pertcore.ensemble(oracles)
        notes = [str(w.message) for w in caught if issubclass(w.category, PertcoreWarning)]
        if self.arguments.straight_through:
            said = [note for one in oracles for note in getattr(one, "notes", ())]
            notes += [note for note in dict.fromkeys(said) if note not in notes]
        return _normalised(oracle, self.arguments), notes


def open_models(arguments: AttackArguments) -> Opened:
    """Parse the files. Raises InputError or ModelError for what is missing, broken or refused."""
    models = [load(path) for path in arguments.models]
    freeze = dict(_frozen(text) for text in arguments.freeze)
    inputs = free_inputs(models[0])
    names = [name for name in inputs if name not in freeze]
    name = arguments.input or (names[0] if len(names) == 1 else None)
    if name not in names:
        return Opened(arguments, models, None, np.dtype(np.float32), freeze)
    _, *sizes = input_dims(inputs[name]) or [1]
    shape = tuple(size if isinstance(size, int) else None for size in sizes)
    double = inputs[name].type.tensor_type.elem_type == DOUBLE
    return Opened(arguments, models, shape, np.dtype(np.float64 if double else np.float32), freeze)


def _frozen(text: str) -> tuple[str, Array]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise InputError(f"--freeze {text}: expected NAME=FILE.npy or NAME=NUMBER")
    try:
        return name, np.asarray(parse_number(value, "--freeze"))
    except InputError:
        path, key = split_key(value, "--freeze")
    if path is None or path.suffix not in (".npy", ".npz"):
        raise InputError(f"--freeze {text}: expected NAME=FILE.npy, NAME=FILE.npz:KEY or a number")
    return name, np.asarray(load_array(Path(path), key, "--freeze"))


def _normalised(oracle: Oracle, arguments: AttackArguments) -> Oracle:
    if arguments.mean is None and arguments.std is None:
        return oracle
    mean, std = numbers(arguments.mean or "0", "--mean"), numbers(arguments.std or "1", "--std")
    return pertcore.normalized(oracle, _one_or_all(mean), _one_or_all(std))


def _one_or_all(values: list[float]) -> float | list[float]:
    return values[0] if len(values) == 1 else values
