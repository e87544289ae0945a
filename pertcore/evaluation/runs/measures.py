"""Curves and measures of robustness as the rows of a run, block after block, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pertcore.evaluation.curve import Curve, curve, gathered
from pertcore.evaluation.records import named_rows
from pertcore.evaluation.regression_curve import RegressionCurve
from pertcore.evaluation.robustness import Robustness, robustness
from pertcore.evaluation.runs.state import decoded, encoded
from pertcore.oracle import Array, Calls
from pertcore.result import Status

Measured = Curve | RegressionCurve | Robustness

# kind of a run -> what is called on each block.
MEASURES: dict[str, Callable[..., Any]] = {"curve": curve, "robustness": robustness}


@dataclass(frozen=True)
class Told:
    """What is known of a run, or of a block of it, beside the rows."""

    calls: Calls
    seconds: float
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Measured) -> Told:
        return cls(found.calls, found.seconds, found.warnings, found.settings)

    @classmethod
    def read(cls, state: dict[str, Any]) -> Told:
        """Back from the state of a block."""
        parts = decoded(state)
        return cls(Calls(*parts["calls"]), parts["seconds"], parts["warnings"], parts["settings"])

    def state(self) -> dict[str, Any]:
        """Plain JSON."""
        calls = (self.calls.f, self.calls.vjp, self.calls.jvp)
        parts = {"calls": calls, "seconds": self.seconds, "warnings": self.warnings,
                 "settings": self.settings}  # fmt: skip
        return dict(encoded(parts))


def joined(blocks: Sequence[Told]) -> Told:
    """Of all blocks in order: calls and seconds add up, warnings are said once a kind."""
    calls = Calls(*(sum(getattr(b.calls, kind) for b in blocks) for kind in ("f", "vjp", "jvp")))
    said = [text for block in blocks for text in block.warnings]
    seconds = sum(block.seconds for block in blocks)
    return Told(calls, seconds, gathered(said), blocks[0].settings)


def measured_columns(
    found: Measured,
    first_index: int,
    labels: Array | None = None,
    targets: Array | None = None,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """The rows of `results.parquet` for one block, a column a key, in order.

    label: the given label, else the clean prediction; target: the wanted class of a targeted
    attack. Of a curve: norm, the smallest perturbation that fools, and in_vain; of a robustness:
    norm, linear (Theorem 1) and size; of a regression's curve a column a budget, from loss_0 to
    carried_(m - 1), and no label.
    """
    columns = named_rows(first_index, len(found.status), names)
    status = np.array([Status(code).name for code in found.status], dtype=str)
    if isinstance(found, RegressionCurve):
        return {**columns, "status": status, **_a_column_a_budget(found)}
    columns["label"] = found.before if labels is None else labels
    if targets is not None:
        columns["target"] = targets
    columns |= {"before": found.before, "after": found.after, "attackable": found.attackable,
                "status": status, "norm": found.norms}  # fmt: skip
    if isinstance(found, Curve):
        return {**columns, "in_vain": found.in_vain}
    return {**columns, "linear": found.linear, "size": found.sizes}


def _a_column_a_budget(found: RegressionCurve) -> dict[str, Array]:
    rows = {"loss": found.loss, "success": found.success, "norm": found.norms,
            **found.metrics, "carried": found.kept}  # fmt: skip
    return {
        f"{name}_{place}": values
        for name, budgets in rows.items()
        for place, values in enumerate(budgets)
    }


def spread_over(order: Array, count: int) -> list[int]:
    """At most `count` of the entries of `order`, evenly spread, with its ends."""
    if len(order) <= count:
        return [int(place) for place in order]
    chosen = np.linspace(0, len(order) - 1, count).round().astype(int)
    return [int(order[place]) for place in chosen]


def rows_of(parts: Iterable[dict[str, Any]]) -> dict[str, Array]:
    """The columns of blocks, put together in the order given."""
    blocks = list(parts)
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
