"""A finished run's folder, read back: run.json, results.parquet and examples.npz."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pertcore.errors import InputError
from pertcore.evaluation.curve import Curve
from pertcore.evaluation.examples import read_examples
from pertcore.evaluation.pictures import Example
from pertcore.evaluation.regression_curve import RegressionCurve
from pertcore.evaluation.robustness import Robustness
from pertcore.evaluation.runs.failing import FAILED
from pertcore.oracle import Array, Calls
from pertcore.result import AttackResult, Status

KINDS = ("attack", "curve", "robustness")
GO_ON = "the same command with --resume, or the same call with resume=True, goes on"
# What a page needs of run.json.
NEEDED = {
    "settings": dict, "summary": dict, "calls": dict, "seconds": int | float, "warnings": list,
}  # fmt: skip
# Columns of results.parquet that are neither a metric nor a part of another field.
PLAIN = (
    "index", "name", "label", "target", "before", "after", "success", "status", "norm", "margin",
    "loss_before", "loss_after", "linear_value", "linear_upper", "calls",
)  # fmt: skip


@dataclass(frozen=True)
class Kept:
    """What a folder holds: facts of run.json; rows: column -> (n,), without samples on which the
    model failed; examples, None where their file is missing."""

    folder: Path
    facts: dict[str, Any]
    rows: dict[str, Array]
    examples: list[Example] | None = None

    @property
    def kind(self) -> str:
        return str(self.facts["kind"])

    def row(self, name: str) -> Array:
        """A column; InputError where the run has none of that name."""
        if name not in self.rows:
            raise _damaged(self.folder / "results.parquet", f"has no column {name!r}")
        return self.rows[name]

    def without_targets(self) -> Kept:
        """Without the samples whose label is the target already: they count nowhere."""
        if not self.facts.get("samples_left_out"):
            return self
        return self.part(self.row("label") != self.row("target"))

    def part(self, wanted: Array) -> Kept:
        """Samples `wanted`, (n,) bool, alone."""
        rows = {name: values[wanted] for name, values in self.rows.items()}
        return Kept(self.folder, self.facts, rows, self.examples)


def read_run(folder: Path) -> Kept:
    """What `pertcore attack`, `curve` or `robustness` left in the folder.

    Raises InputError, naming the file, where one is missing, damaged or of an unknown kind.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: give the folder of a run")
    facts = _facts(folder / "run.json")
    table = folder / "results.parquet"
    if not table.exists():
        raise InputError(f"{table} is missing: the run is not finished; {GO_ON}")
    return Kept(folder, facts, _rows(table), read_examples(folder / "examples.npz"))


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing: give the folder of a run") from None
    except (OSError, ValueError) as error:
        raise _damaged(path, f"cannot be read ({error})") from None
    kind = facts.get("kind") if isinstance(facts, dict) else None
    if kind not in KINDS:
        raise InputError(
            f"{path}: kind {kind!r}, and this version of pertcore shows {', '.join(KINDS)}"
        )
    if facts.get("status") == "running":
        raise InputError(f"{path}: the run is at work or was killed; {GO_ON}")
    lacking = [name for name, kind in NEEDED.items() if not isinstance(facts.get(name), kind)]
    if lacking:
        raise _damaged(path, f"lacks {', '.join(lacking)}")
    return facts


def _rows(path: Path) -> dict[str, Array]:
    import pyarrow
    from pyarrow import parquet

    try:
        names = parquet.read_schema(path).names
        # a column after the other: memory holds one of them twice
        rows = {name: _column(path, name) for name in names}
    except (OSError, pyarrow.ArrowException) as error:
        raise _damaged(path, f"cannot be read ({error})") from None
    if not rows or not len(rows[names[0]]):
        raise InputError(f"{path} has no rows: no sample was done")
    kept = rows.get("status", np.array([""])) != FAILED
    if kept.all():
        return rows
    if not kept.any():
        raise InputError(f"{path}: the model failed on all {len(kept)} samples")
    return {name: values[kept] for name, values in rows.items()}


def _column(path: Path, name: str) -> Array:
    from pyarrow import parquet, types

    column = parquet.read_table(path, columns=[name], use_threads=False)[name]
    if not types.is_string(column.type):
        return np.asarray(column.to_numpy())
    # few words over and over: no Python object a row
    known = column.dictionary_encode().combine_chunks()
    return np.array(known.dictionary.to_pylist(), dtype=str)[known.indices.to_numpy()]


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"{path} {what}: it is damaged, or was written by another version")


def as_result(kept: Kept) -> AttackResult:
    """The result of an attack without its points."""
    settings = kept.facts["settings"]
    return AttackResult(
        x_adv=None, delta=None, status=_status(kept), norms=kept.row("norm"),
        success=kept.row("success"), margin=kept.row("margin"), before=kept.row("before"),
        after=kept.row("after"), loss_before=kept.row("loss_before"),
        loss_after=kept.row("loss_after"), calls=_calls(kept),
        seconds=kept.facts["seconds"],
        exact=kept.facts["summary"].get("derivatives") == "exact",
        task=str(settings.get("task", "classification")),
        metrics={name: values for name, values in kept.rows.items() if name not in PLAIN},
        settings=settings,
    )  # fmt: skip


def as_curve(kept: Kept) -> Curve | RegressionCurve:
    """The curve without its points."""
    settings = kept.facts["settings"]
    eps = settings.get("eps")
    if not isinstance(eps, list) or not eps:
        raise _damaged(kept.folder / "run.json", "lists no budgets eps in its settings")
    common: dict[str, Any] = {
        "eps": np.array(eps, dtype=np.float64), "x_adv": None, "status": _status(kept),
        "calls": _calls(kept), "seconds": kept.facts["seconds"], "settings": settings,
    }  # fmt: skip
    if settings.get("task") == "regression":
        return RegressionCurve(
            loss=_budgets(kept, "loss"), success=_budgets(kept, "success"),
            norms=_budgets(kept, "norm"), kept=_budgets(kept, "carried"),
            metrics={name: _budgets(kept, name) for name in _measured(kept)}, **common,
        )  # fmt: skip
    return Curve(
        norms=kept.row("norm"), in_vain=kept.row("in_vain"), attackable=kept.row("attackable"),
        before=kept.row("before"), after=kept.row("after"), rounds=0, **common,
    )  # fmt: skip


def _budgets(kept: Kept, name: str) -> Array:
    """(m, n): columns name_0 to name_(m - 1), a budget each."""
    count = len(kept.facts["settings"]["eps"])
    return np.stack([kept.row(f"{name}_{place}") for place in range(count)])


def _measured(kept: Kept) -> list[str]:
    """Names of the metrics of a regression's curve."""
    own = ("loss", "success", "norm", "carried")
    names = [name.removesuffix("_0") for name in kept.rows if name.endswith("_0")]
    return [name for name in names if name not in own]


def _status(kept: Kept) -> Array:
    codes = [Status[name].value if name in Status.__members__ else -1
             for name in kept.row("status").tolist()]  # fmt: skip
    if -1 in codes:
        raise _damaged(kept.folder / "results.parquet", "has a status that is not known")
    return np.array(codes)


def as_robustness(kept: Kept) -> Robustness:
    """The measures of robustness."""
    return Robustness(
        norms=kept.row("norm"), linear=kept.row("linear"), sizes=kept.row("size"), x_adv=None,
        attackable=kept.row("attackable"), before=kept.row("before"), after=kept.row("after"),
        status=_status(kept), calls=_calls(kept), seconds=kept.facts["seconds"],
        settings=kept.facts["settings"],
    )  # fmt: skip


def _calls(kept: Kept) -> Calls:
    return Calls(*(int(kept.facts["calls"].get(name, 0)) for name in ("f", "vjp", "jvp")))


# kind of a run -> its result, without points.
RESULTS: dict[str, Callable[[Kept], Any]] = {
    "attack": as_result, "curve": as_curve, "robustness": as_robustness,
}  # fmt: skip
