"""Runs that are killed at random moments end like unbroken ones; folders are never shared."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pertcore.cli.app import main
from pertcore.demo import CLASSIFIER, DATA
from pertcore.evaluation.runs import parts

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")

KILLS = 50 if os.environ.get("PERTCORE_FULL") else 4
ATTACK = [
    "attack", str(CLASSIFIER), "--inputs", f"{DATA}:x", "--labels", f"{DATA}:y", "--eps", "0.1",
    "--bounds", "0,1", "--attack", "rfgsm-dithered", "--deterministic", "--batch-size",
]  # fmt: skip
SMALL = [*ATTACK, "4"]


def _rows(folder: Path) -> dict[str, Any]:
    from pyarrow import parquet

    rows: dict[str, Any] = parquet.read_table(folder / "results.parquet").to_pydict()
    return rows


def _same(one: Path, other: Path) -> None:
    np.testing.assert_equal(_rows(one), _rows(other))
    assert (one / "x_adv.npy").read_bytes() == (other / "x_adv.npy").read_bytes()
    assert _rows(one)["index"] == list(range(len(np.load(one / "x_adv.npy"))))


def _begun(folder: Path) -> subprocess.Popen[bytes]:
    code = "import sys; from pertcore.cli.app import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *SMALL, "--out", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _wait_for_parts(folder: Path, process: subprocess.Popen[bytes], count: int) -> None:
    while process.poll() is None and len(list(folder.glob("parts/*.json"))) < count:
        time.sleep(0.005)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    assert main([*SMALL, "--out", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("seed", range(KILLS))
def test_killed_and_resumed_equals_unbroken(seed: int, tmp_path: Path, unbroken: Path) -> None:
    rng = np.random.default_rng(seed)
    process = _begun(tmp_path)
    _wait_for_parts(tmp_path, process, int(rng.integers(1, 100)))
    time.sleep(rng.uniform(0, 0.02))
    process.send_signal(signal.SIGKILL)
    assert process.wait() in (0, -signal.SIGKILL)
    if json.loads((tmp_path / "run.json").read_text())["complete"]:  # it was faster
        return _same(tmp_path, unbroken)
    assert main([*SMALL, "--out", str(tmp_path)]) == 2
    assert main([*SMALL, "--out", str(tmp_path), "--resume"]) == 0
    _same(tmp_path, unbroken)
    facts = json.loads((tmp_path / "run.json").read_text())
    assert facts["complete"] and facts["status"] == "finished"
    wanted = json.loads((unbroken / "run.json").read_text())["summary"]
    assert facts["summary"] | {"seconds": 0} == wanted | {"seconds": 0}
    assert not (tmp_path / "parts").exists()
    return None


def test_a_folder_in_use_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    process = _begun(tmp_path)
    _wait_for_parts(tmp_path, process, 1)
    process.send_signal(signal.SIGSTOP)
    assert main([*SMALL, "--out", str(tmp_path), "--resume"]) == 2
    assert "another run is at work" in capfd.readouterr().err
    process.kill()
    process.wait()


def _stopped_by_full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    placed, calls = parts._placed, []

    def full(path: Path, write: Any) -> str:
        calls.append(path)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return placed(path, write)

    with monkeypatch.context() as patch:
        patch.setattr(parts, "_placed", full)
        assert main([*ATTACK, "100", "--out", str(folder)]) == 1


def test_full_disk_damage_and_other_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, whole = tmp_path / "broken", tmp_path / "whole"
    _stopped_by_full_disk(folder, monkeypatch, after=7)
    said = capfd.readouterr().err
    assert "No space left" in said and "--resume" in said and "Traceback" not in said
    assert len(list(folder.glob("parts/*.json"))) == 2
    other = [*ATTACK, "100", "--out", str(folder), "--resume", "--seed", "5"]
    assert main(other) == 2
    assert "seed" in capfd.readouterr().err
    damaged = folder / "parts" / "000000000000.npy"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert main([*ATTACK, "100", "--out", str(folder), "--resume"]) == 0
    assert main([*ATTACK, "100", "--out", str(whole)]) == 0
    _same(folder, whole)
    assert main([*ATTACK, "100", "--out", str(folder), "--resume"]) == 2
    shown = np.load(folder / "examples.npz")
    kept = shown["index"]
    assert len(kept) and np.array_equal(np.load(whole / "x_adv.npy")[kept], shown["x_adv"])
