"""Samples for a page, taken while the blocks of a run go by."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pertcore.evaluation.examples import outputs_of
from pertcore.evaluation.pictures import Example
from pertcore.evaluation.runs.failing import FAILED
from pertcore.evaluation.runs.parts import Block
from pertcore.evaluation.runs.rows import Posed, restored
from pertcore.oracle import Array
from pertcore.result import Status

FOOLED, HELD = 9, 3


@dataclass
class Shown:
    """The first samples that were fooled and that stand, at most FOOLED and HELD of them."""

    fooled: list[Example] = field(default_factory=list)
    held: list[Example] = field(default_factory=list)

    @property
    def examples(self) -> list[Example]:
        return [*self.fooled, *self.held]

    def see(self, problem: Posed, block: Block) -> None:
        """Keep what is wanted of a block, whose samples the problem holds."""
        fooled, usable = _judged(block)
        for wanted, allowed, kept in ((True, FOOLED, self.fooled), (False, HELD, self.held)):
            for row in np.flatnonzero(usable & (fooled == wanted))[: allowed - len(kept)]:
                kept.append(_example(problem, block, int(row), wanted))


def _judged(block: Block) -> tuple[Array, Array]:
    """(n,) bool twice: fooled, and right before the attack."""
    columns, status = block.columns, np.asarray(block.columns["status"])
    usable = ~np.isin(status, (FAILED, Status.CLEAN_ERROR.name))
    if "success" in columns:
        return np.asarray(columns["success"]), usable
    if "norm" in columns:
        return np.isfinite(columns["norm"]), usable
    budgets = [name for name in columns if name.startswith("success_")]
    if not budgets:  # the model failed on all of them
        return usable, usable
    return np.asarray(columns[f"success_{len(budgets) - 1}"]), usable


def _example(problem: Posed, block: Block, row: int, fooled: bool) -> Example:
    index = block.start + row
    x = np.array(problem.inputs[slice(index, index + 1)])
    assert block.points is not None  # every kind of run keeps them
    x_adv = restored(problem, np.array(block.points[row : row + 1]))
    delta = x_adv[0].astype(np.float64) - x[0].astype(np.float64)
    before, after = (int(block.columns[name][row]) if name in block.columns else -1
                     for name in ("before", "after"))  # fmt: skip
    outputs = outputs_of(problem.oracle, x, x_adv) if before < 0 else None
    return Example(index, x[0], x_adv[0], delta, before, after, fooled, outputs)
