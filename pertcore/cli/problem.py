"""From flags to a model, its data and the attack's settings; everything wrong is refused here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pertcore.cli.arguments import AttackArguments
from pertcore.cli.models import open_models
from pertcore.constraints import parse_bounds
from pertcore.data import Inputs, read_inputs, read_labels
from pertcore.data.stored import load_array
from pertcore.errors import InputError
from pertcore.oracle import Array, Oracle


@dataclass(frozen=True)
class Problem:
    """A model and samples, ready to be attacked; `y` is targets where there are any."""

    oracle: Oracle
    inputs: Inputs
    labels: Array | None
    targets: Array | None
    settings: dict[str, Any]
    files: tuple[Path, ...]
    warnings: tuple[str, ...]

    @property
    def y(self) -> Array | None:
        return self.labels if self.targets is None else self.targets

    @property
    def left_out(self) -> Array | None:
        """(n,) bool: samples whose label is the target already; None where nobody can be."""
        if self.labels is None or self.targets is None:
            return None
        return np.asarray(self.labels == self.targets)


def pose(arguments: AttackArguments) -> Problem:
    """Load the models, open the data, read the flags. Raises InputError or ModelError."""
    if arguments.inputs is None:
        raise InputError(
            "--inputs is missing: give the samples, a .npy, .npz:KEY, folder or glob of images, "
            "or .parquet"
        )
    for name in ("batch_size", "threads", "workers"):
        given = getattr(arguments, name)
        if given is not None and given < 1:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag} {given}: expected a whole number >= 1")
    _check_engine(arguments)
    box, scale = arguments.box(), arguments.number("scale")
    settings = _settings(arguments)
    opened = open_models(arguments)
    inputs = read_inputs(
        arguments.inputs, scale=scale, layout=arguments.layout, limit=arguments.limit,
        shape=opened.sample_shape, dtype=opened.dtype,
    )  # fmt: skip
    _check_box(inputs, box, arguments, opened.dtype)
    oracle, notes = opened.oracle(inputs.shape)
    classes = _classes(oracle, arguments)
    labels = targets = None
    if arguments.labels is not None:
        labels = read_labels(arguments.labels, len(inputs), total=inputs.total, classes=classes)
    if arguments.target is not None:
        targets = _targets(arguments.target, inputs, classes)
        if labels is not None and np.array_equal(labels, targets):
            raise InputError(
                f"--target {arguments.target}: every sample has this label: nothing to attack"
            )
    settings |= {"bounds": box, "targeted": targets is not None}
    files = dict.fromkeys([*inputs.files, *_files(arguments)])
    return Problem(oracle, inputs, labels, targets, settings, tuple(files), tuple(notes))


def _check_engine(arguments: AttackArguments) -> None:
    if arguments.engine not in ("local", "ray"):
        raise InputError(f"--engine {arguments.engine}: allowed are local and ray")
    for name in ("address", "workers"):
        value = getattr(arguments, name)
        if value is not None and arguments.engine != "ray":
            raise InputError(f"--{name} {value}: needs --engine ray")


def _settings(arguments: AttackArguments) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "attack": arguments.attack, "norm": arguments.norm, "eps": arguments.eps,
        "rng": arguments.seed, "deterministic": arguments.deterministic, "task": arguments.task,
        **arguments.options(),
    }  # fmt: skip
    if arguments.save_8bit:
        if arguments.box() is None:
            raise InputError("--save-8bit needs --bounds, such as 0,1: its 256 levels lie between")
        settings["levels"] = 256
    for name in ("decision", "threshold", "peak"):
        value = arguments.number(name)
        if value is not None:
            settings[name] = value
    if arguments.partition is not None:
        settings["partition"] = (
            arguments.partition
            if arguments.partition == "pixels"
            else _partition(Path(arguments.partition))
        )
    return settings


def _partition(path: Path) -> Array:
    if path.suffix != ".npy" or not path.is_file():
        raise InputError(f"--partition {path}: allowed are pixels or an existing .npy of integers")
    return np.asarray(load_array(path, None, "--partition"))


def _check_box(
    inputs: Inputs, box: tuple[float, float] | None, arguments: AttackArguments, dtype: Any
) -> None:
    if box is None:
        return
    inner = parse_bounds(box, (), dtype)
    ends = (inputs.lowest, inputs.highest)
    for value, sample in ends:
        stored = float(np.dtype(dtype).type(value))
        if not inner.lo <= stored <= inner.hi:
            raise InputError(
                f"--inputs {arguments.inputs}: sample {sample} holds {value:g}, outside --bounds "
                f"{arguments.bounds}: rescale with --scale or give the bounds of these units"
            )


def _classes(oracle: Oracle, arguments: AttackArguments) -> int | None:
    """Number of classes, where the labels must be classes."""
    members = getattr(oracle, "ensemble_size", None)
    shape = oracle.output_shape[1:] if members else oracle.output_shape
    flat = tuple(size for size in shape if size != 1)
    if arguments.task == "regression" or arguments.loss == "squared_error" or len(flat) > 1:
        return None
    return max(2, flat[0] if flat else 1)


def _targets(text: str, inputs: Inputs, classes: int | None) -> Array:
    if classes is None:
        raise InputError(f"--target {text}: a wanted class needs a classifier, not a regression")
    if not text.lstrip("-").isdigit():
        return read_labels(text, len(inputs), total=inputs.total, classes=classes, flag="--target")
    wanted = int(text)
    if not 0 <= wanted < classes:
        raise InputError(f"--target {text}: the model has classes 0..{classes - 1}")
    return np.full(len(inputs), wanted, dtype=np.int64)


def _files(arguments: AttackArguments) -> list[Path]:
    """Files behind labels, targets, partition and frozen inputs, each FILE or FILE:KEY."""
    frozen = [text.partition("=")[2] for text in arguments.freeze]
    found = []
    for text in (arguments.labels, arguments.target, arguments.partition, *frozen):
        places = [] if text is None else [text, text.rpartition(":")[0]]
        found += [Path(place) for place in places if place and Path(place).is_file()][:1]
    return found
