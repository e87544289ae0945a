"""Blocks on workers of a Ray cluster: the same rows, whoever dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pertcore.cli.app import main
from pertcore.demo import CLASSIFIER, DATA
from pertcore.errors import InputError
from pertcore.evaluation.runs.engine import DEATHS, RayEngine, Task, _again
from pertcore.evaluation.runs.parts import Block

pytest.importorskip("ray", reason="ray is not installed")
psutil = pytest.importorskip("psutil", reason="psutil is not installed")

# What Ray leaves open and warns of is not ours.
pytestmark = pytest.mark.filterwarnings("ignore")

ATTACK = [
    "attack", str(CLASSIFIER), "--inputs", f"{DATA}:x", "--labels", f"{DATA}:y", "--eps", "0.1",
    "--bounds", "0,1", "--attack", "rfgsm-dithered", "--deterministic", "--batch-size", "4",
]  # fmt: skip
RAY = [*ATTACK, "--engine", "ray", "--workers", "2"]


def _workers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The actors of the cluster that the process began: they name themselves."""
    found = psutil.Process(process.pid).children(recursive=True)
    return [child for child in found if "ray::_Worker" in " ".join(child.cmdline())]


def test_rows_equal_a_local_run_though_a_worker_is_killed(tmp_path: Path) -> None:
    local, cluster = tmp_path / "local", tmp_path / "ray"
    code = "import sys; from pertcore.cli.app import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen([sys.executable, "-c", code, *RAY, "--out", str(cluster)])
    while process.poll() is None and len(list(cluster.glob("parts/*.json"))) < 3:
        time.sleep(0.01)
    workers = _workers(process)
    assert len(workers) == 2
    workers[0].send_signal(signal.SIGKILL)
    assert process.wait(120) == 0
    assert main([*ATTACK, "--out", str(local)]) == 0
    from pyarrow import parquet

    one, other = (parquet.read_table(folder / "results.parquet") for folder in (local, cluster))
    np.testing.assert_equal(one.to_pydict(), other.to_pydict())
    assert (local / "x_adv.npy").read_bytes() == (cluster / "x_adv.npy").read_bytes()


@pytest.mark.parametrize("kind", ["curve", "robustness"])
def test_measures_are_the_same_on_workers(kind: str, tmp_path: Path) -> None:
    words = [kind, *ATTACK[1:], "--points", "5", "--limit", "24"]
    if kind == "robustness":
        for flag in ("--eps", "--points"):
            del words[words.index(flag) : words.index(flag) + 2]
    assert main([*words, "--out", str(tmp_path / "local")]) == 0
    assert main([*words, "--engine", "ray", "--workers", "2", "--out", str(tmp_path / "ray")]) == 0
    from pyarrow import parquet

    one, other = (
        parquet.read_table(tmp_path / name / "results.parquet") for name in ("local", "ray")
    )
    np.testing.assert_equal(one.to_pydict(), other.to_pydict())


def _lost(index: int, reason: str) -> Block:
    return Block(index, {"index": [index]}, None, {}, {index: reason})


def test_a_sample_that_kills_its_workers_is_lost_alone() -> None:
    def make():
        def work(rows: slice) -> Block:
            if rows.start <= 5 < rows.stop:
                os.kill(os.getpid(), signal.SIGKILL)
            return Block(
                rows.start, {"index": list(range(rows.start, rows.stop))}, None,
                {"by": os.getpid()},
            )  # fmt: skip

        return work

    todo = [slice(0, 4), slice(4, 8), slice(8, 12), slice(12, 13)]
    blocks = sorted(RayEngine(make, _lost, workers=2)(todo), key=lambda block: block.start)
    assert [k for block in blocks for k in block.columns["index"]] == list(range(13))
    failed = {index: why for block in blocks for index, why in block.failed.items()}
    assert list(failed) == [5] and f"{DEATHS} workers died" in failed[5]
    assert {block.state["by"] for block in blocks if not block.failed} - {os.getpid()}


def test_what_the_work_raises_is_raised_here() -> None:
    def make():
        def work(rows: slice) -> Block:
            raise InputError(f"wrong at {rows.start}")

        return work

    with pytest.raises(InputError, match=r"^wrong at 0$"):
        list(RayEngine(make, _lost, workers=1)([slice(0, 4)]))


def test_a_death_is_tried_again_then_halved_then_given_up() -> None:
    rows = slice(0, 8)
    assert _again(Task(rows, 1)) == [Task(rows, 1)]
    assert [task.rows for task in _again(Task(rows, 2))] == [slice(0, 4), slice(4, 8)]
    assert _again(Task(slice(3, 4), 2)) == []


def test_flags_of_the_engine_are_checked_before_any_work(capfd, tmp_path: Path) -> None:
    for more, said in (
        (["--engine", "dask"], "allowed are local and ray"),
        (["--workers", "2"], "needs --engine ray"),
        (["--engine", "ray", "--workers", "0"], "--workers 0"),
    ):
        assert main([*ATTACK, *more, "--out", str(tmp_path)]) == 2
        assert said in capfd.readouterr().err
