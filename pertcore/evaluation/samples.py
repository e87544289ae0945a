"""What is known of each sample of a result, in memory or in the folder of a run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pertcore.errors import InputError
from pertcore.evaluation.curve import Curve
from pertcore.evaluation.reading import GO_ON, RESULTS, read_run
from pertcore.evaluation.regression_curve import RegressionCurve
from pertcore.evaluation.robustness import Robustness
from pertcore.oracle import Array
from pertcore.result import AttackResult, Status


@dataclass(frozen=True)
class Samples:
    """n samples of one run. kind: "attack", "curve" or "robustness".

    shares: name -> (n,) bool, measures: name -> (n,) float64, of which means are compared. norms:
    (n,) smallest perturbations, 0 where wrong before, and eps: (m,) budgets, of a curve or a
    robustness. index: (n,) places in the data set. settings: what the attack was given; data:
    name -> sha256 of its files, empty where unknown.
    """

    kind: str
    count: int
    shares: dict[str, Array]
    measures: dict[str, Array] = field(default_factory=dict)
    norms: Array | None = None
    eps: Array | None = None
    index: Array | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)


def samples_of(given: Any, name: str) -> Samples:
    """Of a result or a folder; InputError, naming the argument, for anything else."""
    if isinstance(given, str | Path):
        return _from_folder(Path(given))
    if isinstance(given, Curve):
        return _fooled("curve", given.norms, given.attackable, given.eps, given.settings)
    if isinstance(given, Robustness):
        return _fooled("robustness", given.norms, given.attackable, None, given.settings)
    if isinstance(given, RegressionCurve):
        rows = {"loss": given.loss, **given.metrics}
        measures = {
            f"{measure} at {eps:.6g}": values[i]
            for measure, values in rows.items()
            for i, eps in enumerate(given.eps)
        }
        return Samples("curve", given.loss.shape[1], {}, measures, settings=given.settings)
    if not isinstance(given, AttackResult):
        raise InputError(
            f"{name} is a {type(given).__name__}: give what attack, curve or robustness returned, "
            "or the folder of a run"
        )
    if given.task == "regression":
        measures = {"loss": given.loss_after, **given.metrics}
        return Samples("attack", len(given.success), {}, measures, settings=given.settings)
    kept = given.attackable & ~given.success & (given.status != Status.NONFINITE)
    shares = {"clean accuracy": given.attackable, "robust accuracy": kept}
    return Samples("attack", len(kept), shares, settings=given.settings)


def _fooled(
    kind: str, norms: Array, attackable: Array, eps: Array | None, settings: dict[str, Any]
) -> Samples:
    held = np.where(attackable, norms, 0.0)
    return Samples(
        kind, len(held), {"clean accuracy": attackable}, norms=held, eps=eps, settings=settings
    )


def _from_folder(folder: Path) -> Samples:
    kept = read_run(folder)
    if not kept.facts.get("complete", False):
        raise InputError(f"{folder}: the run is not complete: {GO_ON}")
    found = samples_of(RESULTS[kept.kind](kept), str(folder))
    data = kept.facts.get("data_sha256", {})
    return replace(found, index=kept.row("index"), data=dict(data))
