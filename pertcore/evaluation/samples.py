"""What is known of each sample of a result, in memory or in the folder of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pertcore.errors import InputError
from pertcore.evaluation.curve import Curve
from pertcore.evaluation.regression_curve import RegressionCurve
from pertcore.evaluation.robustness import Robustness
from pertcore.oracle import Array
from pertcore.result import AttackResult, Status

# Columns of results.parquet that are no measure of a regression.
TOLD = {"index", "name", "label", "target", "before", "after", "success", "status", "norm",
        "margin", "loss_before", "linear_value", "linear_upper", "calls"}  # fmt: skip


@dataclass(frozen=True)
class Samples:
    """n samples of one run. kind: "attack", "curve" or "robustness".

    shares: name -> (n,) bool, measures: name -> (n,) float64, of which means are compared. norms:
    (n,) smallest perturbations, 0 where wrong before, and eps: (m,) budgets, of a curve or a
    robustness. index: (n,) places in the data set. settings: what the attack was given; data,
    model: digests, empty where unknown.
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
        return _from_folder(Path(given), name)
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


def _from_folder(folder: Path, name: str) -> Samples:
    from pyarrow import ArrowException, parquet

    try:
        facts = dict(json.loads((folder / "run.json").read_text(encoding="utf-8")))
        table = parquet.read_table(folder / "results.parquet")
    except (OSError, ValueError, TypeError, ArrowException) as error:
        raise InputError(f"{name} {folder}: no folder of a finished run ({error})") from None
    if not facts.get("complete", False):
        raise InputError(f"{name} {folder}: the run is not complete: finish it with --resume")
    columns = {column: table[column].to_numpy() for column in table.column_names}
    try:
        return _from_columns(facts, columns)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{name} {folder}: run.json or its results lack {error}") from None


def _from_columns(facts: dict[str, Any], columns: dict[str, Array]) -> Samples:
    known = {
        "index": columns["index"], "settings": dict(facts["settings"]),
        "data": facts.get("data_sha256", {}),
    }  # fmt: skip
    kind, n = facts.get("kind", "attack"), len(columns["index"])
    if kind != "attack":
        eps = np.array(facts["settings"]["eps"], float) if kind == "curve" else None
        right = columns["attackable"].astype(bool)
        held = np.where(right, columns["norm"], 0.0)
        return Samples(kind, n, {"clean accuracy": right}, norms=held, eps=eps, **known)
    if facts["settings"].get("task") == "regression":
        measures = {k: v for k, v in columns.items() if k not in TOLD}
        return Samples(kind, n, {}, measures, **known)
    status = columns["status"]
    right = (status != Status.CLEAN_ERROR.name) & np.isfinite(columns["loss_before"])
    kept = right & ~columns["success"].astype(bool) & (status != Status.NONFINITE.name)
    return Samples(kind, n, {"clean accuracy": right, "robust accuracy": kept}, **known)
