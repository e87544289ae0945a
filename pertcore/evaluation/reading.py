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
        with np.load(path, allow_pickle=False) as file:
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
    same = ("success", "margin", "before", "after", "loss_before", "loss_after")
    settings = _given(kept, "settings")
    return AttackResult(
        x_adv=None, delta=None, status=np.array(codes), norms=kept.row("norm"),
        **{name: kept.row(name) for name in same}, calls=_calls(kept),
        seconds=float(_given(kept, "seconds")),
        exact=_given(kept, "summary").get("derivatives") == "exact",
        task=str(settings.get("task", "classification")),
        metrics={name: values for name, values in kept.rows.items() if name not in PLAIN},
        settings=settings,
    )  # fmt: skip


def as_curve(kept: Kept) -> Curve:
    """The curve without its points."""
    settings = _given(kept, "settings")
    return Curve(
        eps=np.array([float(eps) for eps in settings.get("eps", [])]), norms=kept.row("norm"),
        in_vain=kept.row("in_vain"), x_adv=None, attackable=kept.row("attackable"),
        calls=_calls(kept), seconds=float(_given(kept, "seconds")),
        rounds=0, settings=settings,
    )  # fmt: skip


def as_robustness(kept: Kept) -> Robustness:
    """The measures of robustness."""
    return Robustness(
        norms=kept.row("norm"), linear=kept.row("linear"), sizes=kept.row("size"),
        attackable=kept.row("attackable"), calls=_calls(kept),
        seconds=float(_given(kept, "seconds")), settings=_given(kept, "settings"),
    )  # fmt: skip


def _calls(kept: Kept) -> Calls:
    given = _given(kept, "calls")
    return Calls(*(int(given.get(name, 0)) for name in ("f", "vjp", "jvp")))


def _given(kept: Kept, name: str) -> Any:
    if name not in kept.facts:
        raise _damaged(kept.folder / "run.json", f"has no {name!r}")
    return kept.facts[name]
