"""Runs over loaders: rows of the command, whatever the batches; resumed, refused, failing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pertcore as pc
from pertcore.cli.app import main
from pertcore.demo import AUTOENCODER, CLASSIFIER, DATA
from pertcore.errors import InputError, ModelError
from pertcore.evaluation.runs import run

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")

N = 48
KILLS = 20 if os.environ.get("PERTCORE_FULL") else 2
ATTACK: dict[str, Any] = {
    "attack": "rfgsm-dithered", "eps": 0.1, "bounds": (0, 1), "deterministic": True,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "attack": ATTACK,
    "curve": {"eps": [0, 0.05, 0.1], "attack": "pgd", "steps": 3, "bounds": (0, 1),
              "deterministic": True},
    "robustness": {"bounds": (0, 1), "deterministic": True},
}  # fmt: skip
FLAGS = {
    "attack": ["--eps", "0.1", "--attack", "rfgsm-dithered"],
    "curve": ["--eps", "0,0.05,0.1", "--attack", "pgd", "--steps", "3"],
    "robustness": [],
}


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    held = np.load(DATA)
    return held["x"][:N], held["y"][:N]


def oracle(model: Path = CLASSIFIER) -> Any:
    return pc.from_onnx(model)


def batches(x: np.ndarray, y: np.ndarray | None, size: int) -> Iterator[Any]:
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        yield x[part] if y is None else (x[part], y[part])


def rows(folder: Path) -> dict[str, Any]:
    found = parquet.read_table(folder / "results.parquet").to_pydict()
    found.pop("calls", None)  # the mean of the batch
    return dict(found)


def facts(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "run.json").read_text()))


@pytest.mark.parametrize("kind", KINDS)
def test_the_rows_are_those_of_the_command(kind: str, digits: Any, tmp_path: Path) -> None:
    x, y = digits
    result = pc.run(oracle(), batches(x, y, 7), tmp_path / "run", kind=kind, **KINDS[kind])
    words = [kind, str(CLASSIFIER), "--inputs", f"{DATA}:x", "--labels", f"{DATA}:y", "--limit",
             str(N), "--bounds", "0,1", "--deterministic", "--batch-size", "20"]  # fmt: skip
    assert main([*words, *FLAGS[kind], "--out", str(tmp_path / "command")]) == 0
    np.testing.assert_equal(rows(tmp_path / "run"), rows(tmp_path / "command"))
    points = [np.load(tmp_path / name / "x_adv.npy") for name in ("run", "command")]
    np.testing.assert_array_equal(*points)
    one, other = (facts(tmp_path / name) for name in ("run", "command"))
    assert one["complete"] and one["samples_asked"] == N and not (tmp_path / "run/parts").exists()
    others = [name for name in one["summary"] if "second" in name or "a sample" in name
              or "per sample" in name]  # fmt: skip
    for name in set(one["summary"]) - set(others):
        assert one["summary"][name] == other["summary"][name], name
    assert result.summary().keys() == one["summary"].keys()
    assert len(np.load(tmp_path / "run/examples.npz")["index"]) > 3
    page = (tmp_path / "run/report.html").read_text()
    assert ("pertcore.run(oracle, loader" in page and "rfgsm" in page) or kind != "attack"


def test_a_torch_loader_and_a_module(digits: Any, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, y = map(torch.as_tensor, digits)
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()
    model = pc.from_torch(module, input_shape=tuple(x.shape[1:]))
    data = torch.utils.data.TensorDataset(x, y)
    loader = torch.utils.data.DataLoader(data, batch_size=10)
    result = pc.run(model, loader, tmp_path / "run", attack="pgd", eps=0.1, bounds=(0, 1))
    wanted = pc.attack(model, *digits, attack="pgd", eps=0.1, bounds=(0, 1))
    np.testing.assert_array_equal(result.success, wanted.success)
    np.testing.assert_allclose(np.load(tmp_path / "run/x_adv.npy"), wanted.x_adv, atol=1e-6)
    mixed = torch.utils.data.DataLoader(data, batch_size=10, shuffle=True)
    found = pc.run(model, mixed, tmp_path / "mixed", attack="fgsm", eps=0.1)
    assert any("shuffles" in text for text in found.warnings)
    assert not any("shuffles" in text for text in result.warnings)


def test_a_regression_without_labels(digits: Any, tmp_path: Path) -> None:
    x = digits[0]
    model, out = pc.from_onnx(AUTOENCODER), tmp_path / "run"
    shape = model.input_shape
    own: dict[str, Any] = {"attack": "linear", "eps": 0.1, "norm": 2, "deterministic": True,
                           "bounds": (0, 1)}  # fmt: skip
    result = pc.run(model, batches(x.reshape(-1, *shape), None, 9), out, **own)
    wanted = pc.attack(model, x.reshape(-1, *shape), **own)
    np.testing.assert_array_equal(result.loss_after, wanted.loss_after)
    np.testing.assert_array_equal(np.load(out / "x_adv.npy"), wanted.x_adv)
    curve = pc.run(model, batches(x.reshape(-1, *shape), None, 9), tmp_path / "curve",
                   kind="curve", **{**own, "eps": [0, 0.05, 0.1]})  # fmt: skip
    assert np.all(np.diff(curve.loss, axis=0) >= 0) and curve.loss.shape == (3, N)


def test_wanted_classes_and_levels(digits: Any, tmp_path: Path) -> None:
    x, y = digits
    x = (np.rint(x * 15) / 15).astype(np.float32)
    own: dict[str, Any] = {"attack": "pgd", "eps": 0.3, "bounds": (0, 1), "levels": 16,
                           "targeted": True, "deterministic": True}  # fmt: skip
    result = pc.run(oracle(), batches(x, (y + 1) % 10, 11), tmp_path, **own)
    found, held = rows(tmp_path), np.load(tmp_path / "x_adv.npy")
    assert found["target"] == ((y + 1) % 10).tolist() and held.dtype == np.uint8
    wanted = pc.attack(oracle(), x, (y + 1) % 10, **own)
    assert held.max() <= 15 and np.allclose(held / 15, wanted.x_adv, atol=1e-6)
    np.testing.assert_array_equal(result.success, wanted.success)
    shown = np.load(tmp_path / "examples.npz")
    assert np.allclose(shown["x_adv"], wanted.x_adv[shown["index"]], atol=1e-6)


class BrokenError(Exception):
    """What a loader's own code raises."""


def breaking(given: Iterator[Any], after: int, error: type[BaseException]) -> Iterator[Any]:
    for count, batch in enumerate(given):
        if count == after:
            raise error("no more")
        yield batch


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenError])
def test_stopped_and_resumed_equals_unbroken(
    kind: str,
    error: type[BaseException],
    digits: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, (x, y) = KINDS[kind], digits
    pc.run(oracle(), batches(x, y, 7), tmp_path / "whole", kind=kind, **own)
    out = tmp_path / "out"
    with pytest.raises(error):
        pc.run(oracle(), breaking(batches(x, y, 7), 3, error), out, kind=kind, **own)
    held = facts(out)
    assert held["samples_done"] == 21 and held["status"] == "stopped" and not held["complete"]
    assert len(rows(out)["index"]) == 21 and "not complete" in (out / "report.html").read_text()
    with pytest.raises(InputError, match="resume=True"):
        pc.run(oracle(), batches(x, y, 7), out, kind=kind, **own)
    begun: list[int] = []
    work = run.block_work
    monkeypatch.setattr(run, "block_work", lambda batch, *more: (
        begun.append(batch.rows.start), work(batch, *more))[1])  # fmt: skip
    pc.run(oracle(), batches(x, y, 7), out, kind=kind, resume=True, **own)
    assert begun == [21, 28, 35, 42]  # what was finished was not done again
    np.testing.assert_equal(rows(out), rows(tmp_path / "whole"))
    assert (out / "x_adv.npy").read_bytes() == (tmp_path / "whole/x_adv.npy").read_bytes()
    assert facts(out)["data_sha256"] == facts(tmp_path / "whole")["data_sha256"]
    with pytest.raises(InputError, match="complete"):
        pc.run(oracle(), batches(x, y, 7), out, kind=kind, resume=True, **own)


def test_another_loader_model_or_argument_is_refused(digits: Any, tmp_path: Path) -> None:
    x, y = digits
    with pytest.raises(BrokenError):
        pc.run(oracle(), breaking(batches(x, y, 7), 3, BrokenError), tmp_path, **ATTACK)
    other = x.copy()
    other[10] = 1 - other[10]
    labels = np.where(np.arange(N) == 15, 9 - y, y)

    def refused(match: str, given: Iterator[Any], model: Any = None, **more: Any) -> None:
        with pytest.raises(InputError, match=match):
            pc.run(model or oracle(), given, tmp_path, resume=True, **{**ATTACK, **more})

    refused("samples 7 to 13", batches(other, y, 7))
    refused("samples 14 to 20", batches(x, labels, 7))
    refused("samples 0 to 5", batches(x, y, 6))
    refused("ended after 14", batches(x[:14], y[:14], 7))
    refused("eps: 0.1 then, 0.2 now", batches(x, y, 7), eps=0.2)
    weights = np.random.default_rng(0).standard_normal((10, 64))
    shape = tuple(x.shape[1:])
    linear = pc.from_function(
        lambda z: z.reshape(len(z), -1) @ weights.T.astype(z.dtype),
        vjp=lambda z, v: (v @ weights.astype(v.dtype)).reshape(z.shape),
        input_shape=shape, output_shape=(10,),
    )  # fmt: skip
    refused("the model answers", batches(x, y, 7), linear)
    pc.run(oracle(), batches(x, y, 7), tmp_path, resume=True, **ATTACK)
    assert len(rows(tmp_path)["index"]) == N


def test_wrong_calls_are_refused_before_anything_is_written(digits: Any, tmp_path: Path) -> None:
    x, y = digits

    def refused(match: str, given: Any, **own: Any) -> None:
        with pytest.raises(InputError, match=match):
            pc.run(oracle(), given, tmp_path, **own)

    refused("kind='walk'", batches(x, y, 7), kind="walk")
    refused("steps", batches(x, y, 7), **{**ATTACK, "attack": "pgd", "steps": -1})
    refused("eps", batches(x, y, 7), kind="curve", eps=0.1)
    refused("first_index", batches(x, y, 7), first_index=3, **ATTACK)
    refused("rng", batches(x, y, 7), rng=np.random.default_rng(0), **ATTACK)
    refused("loader is a int", 3, **ATTACK)
    refused("no batch", iter(()), **ATTACK)
    refused("a batch is a dict", [{"x": x}], **ATTACK)
    refused("7 samples and 6", [(x[:7], y[:6])], **ATTACK)
    refused("nan", [(np.full_like(x[:7], np.nan), y[:7])], **ATTACK)
    assert list(tmp_path.iterdir()) == []


class Picky:
    """The bundled model, which fails on samples whose first entry is 1 and counts nothing else."""

    def __init__(self) -> None:
        self.held = oracle()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.held, name)

    def deterministic(self) -> Picky:
        return self

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self._check(x)
        return np.asarray(self.held(x))

    def linearize(self, x: np.ndarray) -> Any:
        self._check(x)
        return self.held.linearize(x)

    def _check(self, x: np.ndarray) -> None:
        if np.any(x.reshape(len(x), -1)[:, 0] == 1):
            raise ModelError("cannot bear it")


@pytest.mark.parametrize("kind", KINDS)
def test_samples_that_fail_have_rows(kind: str, digits: Any, tmp_path: Path) -> None:
    x, y = digits[0].copy(), digits[1].copy()
    x[17].flat[0] = x[30].flat[0] = 1
    x[25].flat[3], y[40] = np.nan, 12
    bad = [17, 25, 30, 40]
    own = {**KINDS[kind], "bounds": (0, 1)}
    if kind == "attack":
        own["attack"], own["mask"] = "pgd", np.arange(64).reshape(x.shape[1:]) > 0
    result = pc.run(Picky(), batches(x, y, 10), tmp_path, kind=kind, **own)
    found = rows(tmp_path)
    assert [k for k, status in enumerate(found["status"]) if status == "FAILED"] == bad
    assert found["index"] == list(range(N)) and len(result.status) == N - len(bad)
    why = facts(tmp_path)["failed"]
    assert "cannot bear" in why["17"] and "nan" in why["25"] and "12" in why["40"]
    np.testing.assert_array_equal(np.load(tmp_path / "x_adv.npy")[17], x[17])
    assert "failed on 4 samples" in result.warnings[0]


SCRIPT = """
import sys, numpy as np, pertcore as pc
from pertcore.demo import CLASSIFIER, DATA
held = np.load(DATA)
parts = [slice(k, k + 3) for k in range(0, 300, 3)]
pc.run(pc.from_onnx(CLASSIFIER), [(held["x"][p], held["y"][p]) for p in parts], sys.argv[1],
       resume=len(sys.argv) > 2, attack="rfgsm-dithered", eps=0.1, bounds=(0, 1),
       deterministic=True)
"""


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    subprocess.run([sys.executable, "-c", SCRIPT, str(folder)], check=True)
    return folder


@pytest.mark.parametrize("seed", range(KILLS))
def test_killed_and_resumed_equals_unbroken(seed: int, unbroken: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)])
    wanted = int(rng.integers(1, 90))
    while process.poll() is None and len(list(tmp_path.glob("parts/*.json"))) < wanted:
        time.sleep(0.005)
    time.sleep(rng.uniform(0, 0.02))
    process.send_signal(signal.SIGKILL)
    assert process.wait() in (0, -signal.SIGKILL)
    if not facts(tmp_path)["complete"]:
        subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path), "resume"], check=True)
    np.testing.assert_equal(rows(tmp_path), rows(unbroken))
    assert (tmp_path / "x_adv.npy").read_bytes() == (unbroken / "x_adv.npy").read_bytes()
