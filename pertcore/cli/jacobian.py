"""`pertcore jacobian`: norms of the Jacobian with their bounds, singular values and vectors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import pertcore
from pertcore.cli.arguments import AttackArguments
from pertcore.cli.console import say, show_table, warn
from pertcore.cli.models import open_models
from pertcore.constraints import parse_norm
from pertcore.data import Inputs, read_inputs
from pertcore.errors import InputError, PertcoreWarning
from pertcore.evaluation.records import ready_folder
from pertcore.oracle import Array, Oracle
from pertcore.solvers.columns import parse_memory

# Directions that the memory should hold for every sample in flight.
DIRECTIONS, IN_FLIGHT = 64, 32


@dataclass
class Findings:
    """What is written and shown: arrays a name, their first axis the samples."""

    arrays: dict[str, list[Array]] = field(default_factory=dict)
    sayings: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, values: Any) -> None:
        self.arrays.setdefault(name, []).append(np.asarray(values))

    def joined(self) -> dict[str, Array]:
        return {name: np.concatenate(parts) for name, parts in self.arrays.items()}


def run(
    arguments: AttackArguments, *, norm: str, count: int, index: int | None, max_memory: str
) -> None:
    """Linearise the model at the samples, print what its Jacobians do, and save the vectors."""
    orders = {f"{order:g}": order for order in (parse_norm(one) for one in norm.split(","))}
    memory = parse_memory(max_memory)
    target = _target(arguments.out)
    oracle, samples, notes = _opened(arguments)
    chosen = _chosen(samples, index)
    most = int(min(np.prod(oracle.input_shape), np.prod(oracle.output_shape)))
    if not 1 <= count <= most:
        raise InputError(f"--count {count}: a Jacobian of this model has {most} singular values")
    warn(notes)
    found = Findings()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PertcoreWarning)
        for part in _batches(chosen, oracle, memory):
            x = samples[part.start : part.stop]
            _add_norms(found, oracle, x, orders, memory, arguments.seed)
            _add_vectors(found, oracle, x, count, memory, arguments.seed, target is not None)
    warn(str(w.message) for w in caught if issubclass(w.category, PertcoreWarning))
    _show(found, orders, chosen, oracle)
    if target is not None:
        _save(target, found, chosen)


def _opened(arguments: AttackArguments) -> tuple[Oracle, Inputs, list[str]]:
    if arguments.inputs is None:
        raise InputError(
            "--inputs is missing: give the samples, a .npy, .npz:KEY, folder or glob of images, "
            "or .parquet"
        )
    if arguments.threads is not None and arguments.threads < 1:
        raise InputError(f"--threads {arguments.threads}: expected a whole number >= 1")
    opened = open_models(arguments)
    samples = read_inputs(
        arguments.inputs, scale=arguments.number("scale"), layout=arguments.layout,
        limit=arguments.limit, shape=opened.sample_shape, dtype=opened.dtype,
    )  # fmt: skip
    oracle, notes = opened.oracle(samples.shape)
    return oracle, samples, notes


def _target(out: str | None) -> Path | None:
    if out is None:
        return None
    target = Path(out)
    if target.suffix != ".npz" or target.is_dir():
        raise InputError(f"--out {out}: expected a file such as vectors.npz")
    ready_folder(target.parent)
    return target


def _chosen(samples: Inputs, index: int | None) -> range:
    if index is None:
        return range(len(samples))
    if not 0 <= index < len(samples):
        raise InputError(f"--index {index}: the data has samples 0 to {len(samples) - 1}")
    return range(index, index + 1)


def _batches(chosen: range, oracle: Oracle, memory: int) -> Iterator[range]:
    vector = int(np.prod(oracle.input_shape) + np.prod(oracle.output_shape))
    size = memory // (DIRECTIONS * vector * np.dtype(oracle.dtype).itemsize)
    step = max(1, min(IN_FLIGHT, size))
    for begin in range(chosen.start, chosen.stop, step):
        yield range(begin, min(begin + step, chosen.stop))


def _add_norms(
    found: Findings, oracle: Oracle, x: Array, orders: dict[str, float], memory: int, seed: int
) -> None:
    for name, order in orders.items():
        norm = pertcore.operator_norm(oracle, x, order, max_memory=memory, rng=seed)
        found.add(f"norm_{name}", norm.value)
        found.add(f"upper_{name}", norm.upper)
        found.add(f"vector_{name}", norm.vector)
        found.sayings[f"norm {name}: {norm.kind}; {norm.method}"] = ""


def _add_vectors(
    found: Findings, oracle: Oracle, x: Array, count: int, memory: int, seed: int, kept: bool
) -> None:
    vectors = pertcore.singular_vectors(oracle, x, count, max_memory=memory, rng=seed)
    found.add("singular_values", vectors.values)
    found.add("residual", vectors.residual)
    if kept:
        found.add("right", vectors.right)
        found.add("left", vectors.left)


def _show(found: Findings, orders: dict[str, float], chosen: range, oracle: Oracle) -> None:
    held = found.joined()
    values = held["singular_values"]
    outputs, d = int(np.prod(oracle.output_shape)), int(np.prod(oracle.input_shape))
    header = ["sample"]
    for name in orders:
        header += [f"norm {name} -> 2", "at most"]
    header += [f"sigma {i + 1}" for i in range(values.shape[1])]
    rows = []
    for row, sample in enumerate(chosen):
        cells = [str(sample)]
        for name in orders:
            cells += [f"{held[f'{kind}_{name}'][row]:.6g}" for kind in ("norm", "upper")]
        rows.append([*cells, *(f"{value:.6g}" for value in values[row])])
    show_table(f"Jacobian, {outputs} outputs by {d} inputs", header, rows)
    for line in found.sayings:
        say(line)
    share = held["residual"].max(axis=1) / np.maximum(values[:, 0], np.finfo(float).tiny)
    say(f"singular values: residual at most {share.max():.1e} of the largest")


def _save(target: Path, found: Findings, chosen: range) -> None:
    arrays: dict[str, Any] = {"index": np.array(chosen), **found.joined()}
    with target.open("wb") as file:
        np.savez(file, **arrays)
    say(f"written to {target}")
