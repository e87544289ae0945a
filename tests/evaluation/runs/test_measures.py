"""Curves and measures in folders: equal to the calls, whatever the blocks, and after a kill."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

import pertcore as pc
from pertcore.cli.app import main
from pertcore.cli.arguments import AttackArguments
from pertcore.cli.measure_problem import posed_work
from pertcore.demo import AUTOENCODER, CLASSIFIER, DATA, digits
from pertcore.evaluation.reading import as_curve, as_robustness, read_run

# Together with those of the attack, in test_resume.py.
KILLS = 25 if os.environ.get("PERTCORE_FULL") else 2
DIGITS = ["--inputs", f"{DATA}:x", "--labels", f"{DATA}:y", "--bounds", "0,1", "--deterministic"]
COMMON = [str(CLASSIFIER), *DIGITS]
SIGNAL = [str(AUTOENCODER), "--inputs", f"{DATA}:x", "--bounds", "0,1", "--deterministic"]
# A run of each sort: random starts, a search of its own for every sample, one attack for all.
RUNS = {
    "curve": ["curve", *COMMON, "--attack", "pgd", "--steps", "4", "--eps", "0.2", "--points", "8"],
    "robustness": ["robustness", *COMMON, "--attack", "pgd", "--steps", "4", "--norm", "2"],
    "deepfool": ["robustness", *COMMON],
    "regression": ["curve", *SIGNAL, "--attack", "random", "--eps", "0,0.1,0.2"],
}
CALLS: dict[str, Any] = {
    "curve": partial(pc.curve, eps=np.linspace(0, 0.2, 9), attack="pgd", steps=4),
    "robustness": partial(pc.robustness, attack="pgd", steps=4, norm=2),
    "deepfool": pc.robustness,
    "regression": partial(pc.curve, eps=[0, 0.1, 0.2], attack="random"),
}
COUNT = 90


def rows(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = parquet.read_table(folder / "results.parquet").to_pydict()
    return found


def same(one: Path, other: Path) -> None:
    np.testing.assert_equal(rows(one), rows(other))
    assert (one / "x_adv.npy").read_bytes() == (other / "x_adv.npy").read_bytes()
    assert rows(one)["index"] == list(range(len(np.load(one / "x_adv.npy"))))


def done(name: str, folder: Path, *flags: str) -> Path:
    assert main([*RUNS[name], "--out", str(folder), *flags]) == 0
    return folder


@pytest.mark.filterwarnings("ignore::pertcore.PertcoreWarning")
@pytest.mark.parametrize("name", list(RUNS))
def test_rows_are_those_of_the_call_whatever_the_blocks(name: str, tmp_path: Path) -> None:
    some = ["--limit", str(COUNT), "--batch-size"]
    folders = [done(name, tmp_path / size, *some, size) for size in ("7", "64")]
    same(*folders)
    x, y = (part[:COUNT] for part in digits())
    regression = name == "regression"
    model = pc.from_onnx(AUTOENCODER if regression else CLASSIFIER)
    given = (x,) if regression else (x, y)
    wanted = CALLS[name](model, *given, bounds=(0, 1), deterministic=True)
    kept = read_run(folders[0])
    found: Any = as_robustness(kept) if kept.kind == "robustness" else as_curve(kept)
    told = {"norms", "loss", "success", "kept", "in_vain", "attackable", "linear", "sizes",
            "before", "after", "status", "eps"}  # fmt: skip
    for field in told & set(vars(wanted)):
        np.testing.assert_array_equal(getattr(found, field), getattr(wanted, field), err_msg=field)
    for metric, values in getattr(wanted, "metrics", {}).items():
        np.testing.assert_array_equal(found.metrics[metric], values)
    np.testing.assert_array_equal(np.load(folders[0] / "x_adv.npy"), wanted.x_adv)


def begun(name: str, folder: Path, *more: str) -> subprocess.Popen[bytes]:
    code = "import sys; from pertcore.cli.app import main; sys.exit(main(sys.argv[1:]))"
    flags = [*RUNS[name], "--batch-size", "4", "--limit", "200", "--out", str(folder), *more]
    return subprocess.Popen(
        [sys.executable, "-c", code, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def wait_for_parts(folder: Path, process: subprocess.Popen[bytes], count: int) -> None:
    while process.poll() is None and len(list(folder.glob("parts/*.json"))) < count:
        time.sleep(0.005)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    small = ["--batch-size", "4", "--limit", "200"]
    return {
        name: done(name, tmp_path_factory.mktemp(name), *small) for name in ("curve", "robustness")
    }


@pytest.mark.parametrize("name", ["curve", "robustness"])
@pytest.mark.parametrize("seed", range(KILLS))
def test_killed_and_resumed_equals_unbroken(
    name: str, seed: int, tmp_path: Path, unbroken: dict[str, Path]
) -> None:
    rng = np.random.default_rng([seed, len(name)])
    process = begun(name, tmp_path)
    wait_for_parts(tmp_path, process, int(rng.integers(1, 50)))
    time.sleep(rng.uniform(0, 0.05))
    process.send_signal(signal.SIGKILL)
    assert process.wait() in (0, -signal.SIGKILL), process.stderr
    process.communicate()
    if not json.loads((tmp_path / "run.json").read_text())["complete"]:
        again = [*RUNS[name], "--batch-size", "4", "--limit", "200", "--out", str(tmp_path)]
        assert main(again) == 2
        assert main([*again, "--resume"]) == 0
    same(tmp_path, unbroken[name])
    facts, wanted = (
        json.loads((folder / "run.json").read_text()) for folder in (tmp_path, unbroken[name])
    )
    assert facts["complete"] and not (tmp_path / "parts").exists()
    for part in ("summary", "calls", "warnings", "settings"):
        spelled = [dict(f[part]) if part == "summary" else f[part] for f in (facts, wanted)]
        for figures in spelled if part == "summary" else ():
            figures.pop("seconds")
        assert spelled[0] == spelled[1], part


def test_ctrl_c_keeps_what_is_finished(tmp_path: Path) -> None:
    process = begun("curve", tmp_path, "--steps", "1000")  # too long to end before the signal
    wait_for_parts(tmp_path, process, 3)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130 and b"stopped: " in told and b"Traceback" not in told
    facts = json.loads((tmp_path / "run.json").read_text())
    assert facts["status"] == "stopped" and not facts["complete"]
    count = facts["samples_done"]
    assert 12 <= count < 200 and rows(tmp_path)["index"] == list(range(count))
    page = (tmp_path / "report.html").read_text()
    assert f"{count} of 200 samples are done" in page
    assert main(["compare", str(tmp_path), str(tmp_path)]) == 2


def test_others_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    process = begun("curve", tmp_path)
    wait_for_parts(tmp_path, process, 1)
    process.send_signal(signal.SIGSTOP)
    again = [*RUNS["curve"], "--batch-size", "4", "--limit", "200", "--out", str(tmp_path)]
    assert main([*again, "--resume"]) == 2
    assert "another run is at work" in capfd.readouterr().err
    process.kill()
    process.communicate()
    assert main([*again, "--resume", "--points", "9"]) == 2
    assert "points" in capfd.readouterr().err
    other = ["robustness", *again[1:], "--resume"]
    for flag in ("--eps", "--points"):
        place = other.index(flag)
        del other[place : place + 2]
    assert main(other) == 2
    assert "kind" in capfd.readouterr().err


def test_the_work_is_made_from_arguments_that_travel(tmp_path: Path) -> None:
    """As a worker of a cluster gets it: by pickle, with nothing opened."""
    arguments = AttackArguments(
        kind="curve", models=[CLASSIFIER], inputs=f"{DATA}:x", labels=f"{DATA}:y", attack="pgd",
        steps=4, eps="0.2", points=8, bounds="0,1", deterministic=True, limit=COUNT,
    )  # fmt: skip
    work = pickle.loads(pickle.dumps(partial(posed_work, arguments)))()
    block = work(slice(40, 50))
    whole = rows(done("curve", tmp_path, "--limit", str(COUNT)))
    assert list(block.columns) == list(whole)
    for column, values in block.columns.items():
        np.testing.assert_array_equal(values, whole[column][40:50])
    assert len(json.dumps(block.state)) < 2000
