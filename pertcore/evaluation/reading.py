"""A finished run's folder, read back: run.json, results.parquet and examples.npz."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pertcore.errors import InputError
from pertcore.evaluation.curve import Curve
from pertcore.evaluation.pictures import Example
from pertcore.evaluation.robustness import Robustness
from pertcore.oracle import Array, Calls
from pertcore.result import AttackResult, Status

KINDS = ("attack", "curve", "robustness")
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
    """What a folder holds: facts of run.json; rows: column -> (n,); examples, None where their
    file is missing."""

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

    def part(self, wanted: Array) -> Kept:
        """Samples `wanted`, (n,) bool, alone."""
        rows = {name: values[wanted] for name, values in self.rows.items()}
        return Kept(self.folder, self.facts, rows, self.examples)


def read_run(folder: Path) -> Kept:
    """What `pertcore attack`, `curve` or `robustness` left in the folder.

    Raises InputError, naming the file, where one is missing, damaged or of an unknown kind.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: give the --out of a run")
    facts = _facts(folder / "run.json")
    table = folder / "results.parquet"
    if not table.exists():
        raise InputError(f"{table} is missing: the run is not finished, --resume goes on with it")
    return Kept(folder, facts, _rows(table), _examples(folder / "examples.npz"))


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing: give the --out of a run") from None
    except (OSError, ValueError) as error:
        raise _damaged(path, f"cannot be read ({error})") from None
    kind = facts.get("kind") if isinstance(facts, dict) else None
    if kind not in KINDS:
        raise InputError(
            f"{path}: kind {kind!r}, and this version of pertcore shows {', '.join(KINDS)}"
        )
    if facts.get("status") == "running":
        raise InputError(f"{path}: the run is at work or was killed; --resume goes on with it")
    lacking = [name for name, kind in NEEDED.items() if not isinstance(facts.get(name), kind)]
    if lacking:
        raise _damaged(path, f"lacks {', '.join(lacking)}")
    return facts


def _rows(path: Path) -> dict[str, Array]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise _damaged(path, f"cannot be read ({error})") from None
    if not table.num_rows:
        raise InputError(f"{path} has no rows: no sample was done")
    return {name: table[name].to_numpy() for name in table.column_names}


def _examples(path: Path) -> list[Example] | None:
    if not path.exists():
        return None
    try:
        # numpy leaves a damaged archive open that it opened itself
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            parts = {name: file[name] for name in ("index", "x", "x_adv", "before", "after",
                                                   "fooled")}  # fmt: skip
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path, f"cannot be read ({error})") from None
    return [
        Example(
            int(parts["index"][k]), x, x_adv, x_adv.astype(np.float64) - x.astype(np.float64),
            int(parts["before"][k]), int(parts["after"][k]), bool(parts["fooled"][k]),
        )
        for k, (x, x_adv) in enumerate(zip(parts["x"], parts["x_adv"], strict=True))
    ]  # fmt: skip


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"{path} {what}: it is damaged, or was written by another version")


def as_result(kept: Kept) -> AttackResult:
    """The result of an attack without its points."""
    codes = [Status[name].value if name in Status.__members__ else -1
             for name in kept.row("status").tolist()]  # fmt: skip
    if -1 in codes:
        raise _damaged(kept.folder / "results.parquet", "has a status that is not known")
    settings = kept.facts["settings"]
    return AttackResult(
        x_adv=None, delta=None, status=np.array(codes), norms=kept.row("norm"),
        success=kept.row("success"), margin=kept.row("margin"), before=kept.row("before"),
        after=kept.row("after"), loss_before=kept.row("loss_before"),
        loss_after=kept.row("loss_after"), calls=_calls(kept),
        seconds=kept.facts["seconds"],
        exact=kept.facts["summary"].get("derivatives") == "exact",
        task=str(settings.get("task", "classification")),
        metrics={name: values for name, values in kept.rows.items() if name not in PLAIN},
        settings=settings,
    )  # fmt: skip


def as_curve(kept: Kept) -> Curve:
    """The curve without its points."""
    eps = kept.facts["settings"].get("eps")
    if not isinstance(eps, list) or not eps:
        raise _damaged(kept.folder / "run.json", "lists no budgets eps in its settings")
    return Curve(
        eps=np.array(eps, dtype=np.float64), norms=kept.row("norm"), in_vain=kept.row("in_vain"),
        x_adv=None, attackable=kept.row("attackable"), calls=_calls(kept),
        seconds=kept.facts["seconds"], rounds=0, settings=kept.facts["settings"],
    )  # fmt: skip


def as_robustness(kept: Kept) -> Robustness:
    """The measures of robustness."""
    return Robustness(
        norms=kept.row("norm"), linear=kept.row("linear"), sizes=kept.row("size"),
        attackable=kept.row("attackable"), calls=_calls(kept), seconds=kept.facts["seconds"],
        settings=kept.facts["settings"],
    )  # fmt: skip


def _calls(kept: Kept) -> Calls:
    return Calls(*(int(kept.facts["calls"].get(name, 0)) for name in ("f", "vjp", "jvp")))
