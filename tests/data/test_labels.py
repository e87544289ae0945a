"""read_labels: one number a sample from every source, length and range checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from pertcore.data import read_labels
from pertcore.errors import InputError

Y = [3, 1, 4, 1, 5]


@pytest.fixture
def room(tmp_path: Path) -> Path:
    np.save(tmp_path / "y.npy", np.array(Y, np.uint8))
    np.save(tmp_path / "column.npy", np.array(Y)[:, None])
    np.savez(tmp_path / "set.npz", x=np.zeros((5, 2)), y=np.array(Y))
    (tmp_path / "y.txt").write_text("\n".join(map(str, Y)) + "\n")
    (tmp_path / "y.csv").write_text("label\n" + "\n".join(map(str, Y)))
    (tmp_path / "two.csv").write_text(
        "file,label\n" + "\n".join(f"{i}.png,{k}" for i, k in enumerate(Y))
    )
    table = pyarrow.table({"label": Y, "file": list("abcde")})
    parquet.write_table(table, tmp_path / "two.parquet")
    parquet.write_table(table.select(["label"]), tmp_path / "y.parquet")
    return tmp_path


@pytest.mark.parametrize(
    "name",
    ["y.npy", "column.npy", "set.npz:y", "y.txt", "y.csv", "y.csv:label", "two.csv:label",
     "two.parquet:label", "y.parquet"],
)  # fmt: skip
def test_every_source_gives_the_same_labels(name: str, room: Path) -> None:
    labels = read_labels(str(room / name), 5, classes=10)
    assert labels.dtype == np.int64 and labels.tolist() == Y
    assert read_labels(str(room / name), 2, total=5, classes=10).tolist() == Y[:2]


@pytest.mark.parametrize(
    ("name", "n", "message"),
    [
        ("y.npy", 4, "5 labels for 4 samples"),
        ("set.npz", 5, "several arrays"),
        ("two.csv", 5, "several columns"),
        ("two.csv:none", 5, "no such column: file, label"),
        ("two.csv:file", 5, "label 0 is '0.png'"),
        ("two.parquet", 5, "several columns, name one as .*: label, file"),
        ("two.parquet:file", 5, "holds string, not numbers"),
        ("nowhere.npy", 5, "no such file"),
        (".", 5, "give one file"),
    ],
)
def test_wrong_labels_are_refused(name: str, n: int, message: str, room: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_labels(str(room / name), n, classes=10)


def test_labels_out_of_range_are_named(room: Path) -> None:
    with pytest.raises(InputError, match=r"label 5 of sample 4 is outside 0\.\.4"):
        read_labels(str(room / "y.npy"), 5, classes=5)
    np.save(room / "y.npy", np.array([0, -1, 2]))
    with pytest.raises(InputError, match="label -1 of sample 1"):
        read_labels(str(room / "y.npy"), 3, classes=5)


def test_whole_numbers_stored_as_floats_are_classes(room: Path) -> None:
    np.save(room / "y.npy", np.array([1.0, 2.0]))
    assert read_labels(str(room / "y.npy"), 2, classes=5).dtype == np.int64
    np.save(room / "y.npy", np.array([1.0, 2.5]))
    with pytest.raises(InputError, match="one whole number a sample"):
        read_labels(str(room / "y.npy"), 2, classes=5)


def test_targets_of_a_regression_stay_floats(room: Path) -> None:
    targets = np.random.default_rng(0).random((3, 2, 2))
    np.save(room / "t.npy", targets)
    np.testing.assert_array_equal(read_labels(str(room / "t.npy"), 3), targets)
    targets[1, 0, 1] = np.nan
    np.save(room / "t.npy", targets)
    with pytest.raises(InputError, match="label 1 is not a finite number"):
        read_labels(str(room / "t.npy"), 3)
