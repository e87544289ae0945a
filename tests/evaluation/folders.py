"""Folders as runs leave them, small, made once a test session a kind."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

import pertcore as pc
from pertcore.cli.app import main
from pertcore.demo import AUTOENCODER, CLASSIFIER, digits
from pertcore.evaluation.records import machine, versions, write_results, write_run

COUNT = 60
WARNING = "the gradient of 3 samples was zero <b>here</b>"
BOX = (0.0, 1.0)


def attack_folder(where: Path, *flags: str, regression: bool = False, count: int = COUNT) -> Path:
    """What `pertcore attack` leaves of the bundled classifier, or of the autoencoder."""
    where.mkdir(parents=True, exist_ok=True)
    x, y = (part[:count] for part in digits())
    np.save(where / "x.npy", x)
    np.save(where / "y.npy", y)
    model = AUTOENCODER if regression else CLASSIFIER
    labels = ["--task", "regression"] if regression else ["--labels", str(where / "y.npy")]
    out = where / "run"
    common = [str(model), "--inputs", str(where / "x.npy"), "--bounds", "0,1", "--out", str(out)]
    assert main(["attack", *common, *labels, *flags]) == 0
    return out


def curve_folder(out: Path) -> Path:
    """A run of kind curve."""
    found = _run("curve", eps=np.linspace(0, 0.2, 11), norm="inf", bounds=BOX)
    return _written(out, "curve", found, {"in_vain": found.in_vain})


def robustness_folder(out: Path) -> Path:
    """A run of kind robustness."""
    found = _run("robustness", norm=2, bounds=BOX)
    return _written(out, "robustness", found, {"linear": found.linear, "size": found.sizes})


def _run(name: str, **settings: Any) -> Any:
    x, y = (part[:COUNT] for part in digits())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(pc, name)(pc.from_onnx(CLASSIFIER), x, y, **settings)


def _written(out: Path, kind: str, found: Any, own: dict[str, Any]) -> Path:
    out.mkdir(parents=True)
    x, y = (part[:COUNT] for part in digits())
    before = np.where(found.attackable, y, (y + 1) % 10)
    columns = {"index": np.arange(COUNT), "label": y, "before": before,
               "attackable": found.attackable, "norm": found.norms, **own}  # fmt: skip
    write_results(out / "results.parquet", [columns])
    some = np.flatnonzero(found.attackable)[:6]
    after = np.array([0, *(before[some] + 1)[1:] % 10])
    after[-1] = before[some][-1]
    np.savez(
        out / "examples.npz", index=some, x=x[some], x_adv=np.clip(x[some] + 0.1, 0, 1),
        before=before[some], after=after, fooled=after != before[some],
    )  # fmt: skip
    write_run(out / "run.json", {
        "kind": kind, "command": f"pertcore {kind} 'a b.onnx' --inputs x.npy",
        "arguments": {"models": ["a b.onnx"]}, "settings": found.settings, "box": BOX,
        "warnings": [WARNING], "summary": {"samples": COUNT}, "calls": vars(found.calls),
        "seconds": found.seconds, "complete": True, "model_sha256": {"a b.onnx": "12ab"},
        "data_sha256": {"x.npy": "34cd"}, "versions": versions(), "machine": machine(),
    })  # fmt: skip
    return out
