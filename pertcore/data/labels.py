"""Labels and targets for samples: one number a sample, checked for length and range."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from pertcore.data.stored import load_array, split_key
from pertcore.data.tables import parquet_column
from pertcore.errors import InputError
from pertcore.oracle import Array


def read_labels(
    text: str,
    n: int,
    *,
    total: int | None = None,
    classes: int | None = None,
    flag: str = "--labels",
) -> Array:
    """Labels (n,) int64, or targets of a regression (n, ...) float64.

    Sources: .npy, .npz ("FILE:key"), .csv or .txt (one number a line, or "FILE:column" with a
    header), Parquet ("FILE:column"). A file for all `total` samples is cut to the first n.
    `classes` is the number of classes of a classifier: labels must be integers in 0..classes-1.
    Raises InputError naming the file, the index and the value.
    """
    path, key = split_key(text, flag)
    if path is None or path.is_dir():
        raise InputError(f"{flag} {text}: give one file (.npy, .npz:key, .csv, .txt or .parquet)")
    labels = _stored(path, key, flag)
    if labels.dtype.kind not in "biuf":
        raise InputError(f"{flag} {text}: holds {labels.dtype} values: expected numbers")
    if labels.ndim == 2 and labels.shape[1] == 1 and labels.dtype.kind in "biu":
        labels = labels[:, 0]
    if labels.ndim == 0 or len(labels) not in (n, n if total is None else total):
        size = "one number" if labels.ndim == 0 else f"{len(labels)} labels"
        raise InputError(f"{flag} {text}: {size} for {n if total is None else total} samples")
    return _checked(np.asarray(labels[:n]), text, flag, classes)


def _stored(path: Path, key: str | None, flag: str) -> Array:
    if path.suffix in (".npy", ".npz"):
        return load_array(path, key, flag)
    if path.suffix == ".parquet":
        return parquet_column(path, key)
    if path.suffix in (".csv", ".txt"):
        return _text_column(path, key, flag)
    raise InputError(
        f"{flag} {path}: cannot read {path.suffix or 'this file'}: give .npy, .npz:key, .csv, "
        ".txt or .parquet"
    )


def _text_column(path: Path, column: str | None, flag: str) -> Array:
    try:
        rows = [row for row in csv.reader(path.read_text().splitlines()) if row]
    except (UnicodeDecodeError, csv.Error, OSError):
        raise InputError(f"{flag} {path}: not a text file of numbers") from None
    header = [cell.strip() for cell in rows[0]] if rows else []
    named = bool(rows) and not _numeric(header[-1])
    if column is not None and column not in header:
        raise InputError(f"{flag} {path}:{column}: no such column: {', '.join(header)}")
    if column is None and len(header) > 1:
        raise InputError(f"{flag} {path}: several columns, name one as {path}:COLUMN")
    place = header.index(column) if column is not None else 0
    cells = [row[place].strip() if place < len(row) else "" for row in rows[named:]]
    for line, cell in enumerate(cells):
        if not _numeric(cell):
            raise InputError(f"{flag} {path}: label {line} is {cell!r}: expected a number")
    whole = all(cell.lstrip("+-").isdigit() for cell in cells)
    return np.array([int(c) if whole else float(c) for c in cells], np.int64 if whole else float)


def _numeric(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _checked(labels: Array, text: str, flag: str, classes: int | None) -> Array:
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        bad = int(np.argmin(np.isfinite(labels).reshape(len(labels), -1).all(axis=1)))
        raise InputError(f"{flag} {text}: label {bad} is not a finite number")
    if classes is None:
        return labels.astype(np.float64 if labels.dtype.kind == "f" else np.int64)
    if labels.ndim != 1 or not np.array_equal(labels, np.round(labels)):
        raise InputError(
            f"{flag} {text}: shape {labels.shape}, dtype {labels.dtype}: a classifier needs one "
            f"whole number a sample, 0..{classes - 1}; for targets of a regression say --task "
            "regression"
        )
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        bad = int(np.argmax(outside))
        raise InputError(
            f"{flag} {text}: label {labels[bad]:g} of sample {bad} is outside 0..{classes - 1}, "
            "the classes of the model"
        )
    return labels.astype(np.int64)
