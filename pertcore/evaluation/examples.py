"""The samples that a page shows, in a file, so that it can be drawn without model and data."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pertcore.errors import InputError
from pertcore.evaluation.pictures import Example, is_image
from pertcore.oracle import Array, Oracle

COLUMNS = ("index", "x", "x_adv", "before", "after", "fooled")
# Outputs of a regression, at x and at x_adv.
OUTPUTS = ("output", "output_adv")


def outputs_of(oracle: Oracle, x: Array, x_adv: Array) -> tuple[Array, Array] | None:
    """What the model makes of one sample (1, *sample) before and after, where that is a picture."""
    if not is_image(oracle.output_shape):
        return None
    return oracle(x)[0], oracle(x_adv)[0]


def write_examples(path: Path, examples: Sequence[Example]) -> None:
    """All examples as one .npz that is complete or absent."""
    arrays: dict[str, Any] = {n: np.array([getattr(e, n) for e in examples]) for n in COLUMNS}
    pairs = [example.outputs for example in examples if example.outputs is not None]
    if pairs:
        arrays |= {name: np.array(part) for name, part in zip(OUTPUTS, zip(*pairs), strict=True)}
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez(file, **arrays)
    part.replace(path)


def read_examples(path: Path) -> list[Example] | None:
    """What `write_examples` wrote, None where the file is missing; InputError where damaged."""
    if not path.exists():
        return None
    try:
        # numpy leaves a damaged archive open that it opened itself
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            parts = {name: file[name] for name in COLUMNS}
            pairs = [file[name] for name in OUTPUTS] if OUTPUTS[0] in file else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} cannot be read ({error}): it is damaged, or was written by another version"
        ) from None
    return [
        Example(
            int(parts["index"][k]), x, x_adv, x_adv.astype(np.float64) - x.astype(np.float64),
            int(parts["before"][k]), int(parts["after"][k]), bool(parts["fooled"][k]),
            None if pairs is None else (pairs[0][k], pairs[1][k]),
        )
        for k, (x, x_adv) in enumerate(zip(parts["x"], parts["x_adv"], strict=True))
    ]  # fmt: skip
