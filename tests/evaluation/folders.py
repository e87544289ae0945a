"""Folders as runs leave them, small, made once a test session a kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pertcore.cli.app import main
from pertcore.demo import AUTOENCODER, CLASSIFIER, digits

COUNT = 60


def attack_folder(where: Path, *flags: str, regression: bool = False, count: int = COUNT) -> Path:
    """What `pertcore attack` leaves of the bundled classifier, or of the autoencoder."""
    return _left("attack", where, list(flags), regression=regression, count=count)


def curve_folder(where: Path, *flags: str, regression: bool = False) -> Path:
    """What `pertcore curve` leaves."""
    budgets = ["--eps", "0.2", "--points", "10"]
    return _left("curve", where, [*budgets, *flags], regression=regression)


def robustness_folder(where: Path, *flags: str) -> Path:
    """What `pertcore robustness` leaves."""
    return _left("robustness", where, ["--norm", "2", *flags])


def _left(
    kind: str, where: Path, flags: list[str], *, regression: bool = False, count: int = COUNT
) -> Path:
    where.mkdir(parents=True, exist_ok=True)
    x, y = (part[:count] for part in digits())
    np.save(where / "x.npy", x)
    np.save(where / "y.npy", y)
    model = AUTOENCODER if regression else CLASSIFIER
    labels = ["--task", "regression"] if regression else ["--labels", str(where / "y.npy")]
    out = where / "run"
    common = [str(model), "--inputs", str(where / "x.npy"), "--bounds", "0,1", "--out", str(out)]
    assert main([kind, *common, *labels, *flags]) == 0
    return out
