"""The files of a run are complete or absent, and hold what the result held."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from pertcore.errors import InputError
from pertcore.evaluation.records import (
    ArrayWriter,
    fingerprint,
    machine,
    ready_folder,
    result_columns,
    versions,
    write_results,
    write_run,
    write_text,
)
from pertcore.oracle import Calls
from pertcore.result import AttackResult, Status


def a_result(n: int = 3) -> AttackResult:
    return AttackResult(
        x_adv=np.zeros((n, 2)),
        delta=np.zeros((n, 2)),
        success=np.arange(n) % 2 == 0,
        status=np.array([Status.OK, Status.MAX_STEPS, Status.CLEAN_ERROR][:n], np.int8),
        norms=np.linspace(0, 1, n),
        margin=np.linspace(-1, 1, n),
        before=np.arange(n),
        after=np.arange(n) + 1,
        loss_before=np.zeros(n),
        loss_after=np.ones(n),
        calls=Calls(2 * n, n, 0),
        seconds=0.5,
        exact=True,
        task="classification",
    )


@pytest.mark.parametrize("sizes", [[1], [3, 4, 2], [0, 5], [1000] * 12])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_array_writer_grows_to_what_was_appended(
    sizes: list[int], dtype: type, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    blocks = [rng.random((n, 2, 3)).astype(dtype) for n in sizes]
    with ArrayWriter(tmp_path / "x.npy", (2, 3), dtype) as writer:
        for block in blocks:
            writer.append(block)
        assert not (tmp_path / "x.npy").exists()
    stored = np.load(tmp_path / "x.npy")
    assert stored.dtype == dtype
    np.testing.assert_array_equal(stored, np.concatenate(blocks))
    assert [p.name for p in tmp_path.iterdir()] == ["x.npy"]


def test_array_writer_keeps_finished_batches_of_a_stopped_run(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ArrayWriter(tmp_path / "x.npy", (2,), float) as writer:
        writer.append(np.ones((4, 2)))
        raise KeyboardInterrupt
    assert np.load(tmp_path / "x.npy").shape == (4, 2)
    with pytest.raises(KeyboardInterrupt), ArrayWriter(tmp_path / "y.npy", (2,), float):
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["x.npy"]


def test_result_rows_survive_parquet(tmp_path: Path) -> None:
    result = a_result()
    labels = np.array([7, 8, 9])
    batches = [result_columns(result, 0, labels), result_columns(result, 3, labels)]
    write_results(tmp_path / "results.parquet", batches)
    table = parquet.read_table(tmp_path / "results.parquet").to_pydict()
    assert list(table)[:4] == ["index", "label", "before", "after"]
    assert table["index"] == list(range(6)) and table["label"] == [7, 8, 9] * 2
    assert table["status"] == ["OK", "MAX_STEPS", "CLEAN_ERROR"] * 2
    assert table["norm"] == result.norms.tolist() * 2
    assert table["calls"] == [3.0] * 6


def test_optional_columns() -> None:
    plain = result_columns(a_result(), 0)
    assert plain["label"].tolist() == [0, 1, 2] and "target" not in plain and "name" not in plain
    full = result_columns(a_result(), 0, None, np.array([5, 5, 5]), ["a", "b", "c"])
    assert full["target"].tolist() == [5, 5, 5] and full["name"].tolist() == ["a", "b", "c"]
    regression = result_columns(a_result(), 0, np.zeros((3, 4)))
    assert regression["label"].tolist() == [0, 1, 2]


def test_run_json_is_plain_json(tmp_path: Path) -> None:
    facts = {
        "nan": float("nan"), "inf": float("inf"), "array": np.arange(2), "number": np.float32(0.5),
        "path": tmp_path, "nested": {1: (np.int64(3), None, True)},
    }  # fmt: skip
    write_run(tmp_path / "run.json", facts)
    assert json.loads((tmp_path / "run.json").read_text()) == {
        "nan": None, "inf": "inf", "array": [0, 1], "number": 0.5, "path": str(tmp_path),
        "nested": {"1": [3, None, True]},
    }  # fmt: skip


def test_writers_replace_in_one_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "page.html"
    write_text(target, "old")

    def fails(self: Path, to: Path) -> Path:
        raise OSError("the disk is gone")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OSError, match="disk is gone"):
        write_text(target, "new")
    assert target.read_text() == "old"


def test_fingerprint_is_sha256(tmp_path: Path) -> None:
    paths = []
    for i in range(9):
        paths.append(tmp_path / f"{i}.bin")
        paths[-1].write_bytes(bytes([i]) * 5000)
    assert fingerprint(paths[:2]) == {
        str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths[:2]
    }
    (name, digest), *rest = fingerprint(paths).items()
    assert not rest and name.startswith("9 files")
    paths[4].write_bytes(b"changed")
    assert fingerprint(paths)[name] != digest


def test_ready_folder(tmp_path: Path) -> None:
    assert ready_folder(tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").write_text("")
    for text in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        with pytest.raises(InputError, match=f"--out {text}: cannot write"):
            ready_folder(text)


def test_facts_of_the_machine() -> None:
    assert {"python", "pertcore", "numpy"} <= set(versions())
    assert machine()["cores"] >= 1 and machine()["processor"]
